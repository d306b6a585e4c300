//! What the bus counts and measures, named after OpenTelemetry's messaging conventions. Nothing is done with it where the process has no recorder.

use ::metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use async_nats::jetstream::consumer::Info;
use tracing::warn;

/// From so many waiting messages on a lag that grows is worth a word.
const NOTABLE_LAG: u64 = 1_000;
/// So many samples in a row that grow are no coincidence.
const GROWING: u32 = 3;

/// The figures of one consumer.
pub(crate) struct ConsumerMetrics {
    pub(crate) done: Counter,
    pub(crate) again: Counter,
    pub(crate) elsewhere: Counter,
    pub(crate) given_back: Counter,
    pub(crate) dead_letters: Counter,
    pub(crate) redeliveries: Counter,
    pub(crate) unconfirmed: Counter,
    pub(crate) duration: Histogram,
    slow: Counter,
    pending: Gauge,
    unacknowledged: Gauge,
}

impl ConsumerMetrics {
    pub(crate) fn new(service: &str, stream: &str, consumer: &str) -> Self {
        let labels = [
            ("service", service.to_owned()),
            ("stream", stream.to_owned()),
            ("consumer", consumer.to_owned()),
        ];
        let consumed = |outcome: &'static str| {
            let mut labels = labels.to_vec();
            labels.push(("outcome", outcome.to_owned()));
            counter!("messaging_client_consumed_messages_total", &labels)
        };
        Self {
            done: consumed("done"),
            again: consumed("again"),
            elsewhere: consumed("elsewhere"),
            given_back: consumed("given_back"),
            dead_letters: consumed("dead_letter"),
            redeliveries: counter!("muster_bus_redeliveries_total", &labels),
            unconfirmed: counter!("muster_bus_unconfirmed_acks_total", &labels),
            duration: histogram!("messaging_process_duration_seconds", &labels),
            slow: counter!("muster_bus_slow_consumers_total", &labels),
            pending: gauge!("muster_bus_consumer_pending", &labels),
            unacknowledged: gauge!("muster_bus_consumer_unacknowledged", &labels),
        }
    }
}

/// The lag of one consumer over time.
#[derive(Default)]
pub(crate) struct Lag {
    last: u64,
    growing: u32,
}

impl Lag {
    /// Takes a sample; a consumer that falls behind more and more is named in the log.
    pub(crate) fn sample(&mut self, metrics: &ConsumerMetrics, consumer: &str, info: &Info) {
        metrics.pending.set(info.num_pending as f64);
        metrics.unacknowledged.set(info.num_ack_pending as f64);
        if self.falls_behind(info.num_pending) {
            metrics.slow.increment(1);
            warn!(
                consumer,
                pending = info.num_pending,
                "slow consumer: more messages come than are handled"
            );
        }
    }

    fn falls_behind(&mut self, pending: u64) -> bool {
        self.growing = if pending > self.last { self.growing + 1 } else { 0 };
        self.last = pending;
        let behind = pending >= NOTABLE_LAG && self.growing >= GROWING;
        if behind {
            self.growing = 0;
        }
        behind
    }
}

/// A subscription of the connection lost messages, because they were not read fast enough.
pub(crate) fn messages_dropped(service: &str) {
    counter!("muster_bus_slow_subscriptions_total", "service" => service.to_owned()).increment(1);
}

/// A connection was made.
pub(crate) fn connected(service: &str) {
    counter!("muster_bus_connections_total", "service" => service.to_owned()).increment(1);
    gauge!("muster_bus_connected", "service" => service.to_owned()).set(1.0);
}

/// The connection was lost.
pub(crate) fn disconnected(service: &str) {
    gauge!("muster_bus_connected", "service" => service.to_owned()).set(0.0);
}

/// Requests that were asked again.
pub(crate) fn asked_again(service: &str, method: String) -> Counter {
    counter!("muster_bus_asked_again_total", "service" => service.to_owned(), "method" => method)
}

/// How long the answer to a request took, as its server saw it.
pub(crate) fn answering(service: &str, method: &str) -> Histogram {
    let labels = [("service", service.to_owned()), ("method", method.to_owned())];
    histogram!("rpc_server_call_duration_seconds", &labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_told_once_it_has_grown_for_a_while() {
        let mut lag = Lag::default();
        let told: Vec<bool> = [500, 1500, 2500, 3500, 3000, 10, 20, 30]
            .map(|pending| lag.falls_behind(pending))
            .into();
        assert_eq!(told, [false, false, true, false, false, false, false, false]);
    }
}
