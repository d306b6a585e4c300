//! Durable consumers: bounded, idempotent, retried by the fault's code, and never a silent loss.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::{AckPolicy, pull};
use async_nats::jetstream::{self, AckKind};
use chrono::{DateTime, Utc};
use muster_contracts::{Durable, Fault, OnEvent, Stream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use crate::idempotency::Handled;
use crate::incoming::Incoming;
use crate::pull::Puller;
use crate::routes::{Work, durable_name, parse};
use crate::tasks::Tasks;
use crate::trace::Trace;
use crate::{Bus, headers};

/// How a consumer works.
#[derive(Clone, Debug)]
pub struct Consume {
    /// Messages handled at the same time by one process.
    pub concurrency: usize,
    /// Tries until a message becomes a dead letter.
    pub max_deliver: u32,
    /// Who makes sure that a second delivery changes nothing.
    pub idempotency: Idempotency,
}

/// Who makes sure that a second delivery changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// The bus: it records the ids of handled messages for 24 hours.
    Bus,
    /// The handler itself, for this reason.
    Handler(&'static str),
}

impl Default for Consume {
    fn default() -> Self {
        Self { concurrency: 32, max_deliver: 16, idempotency: Idempotency::Bus }
    }
}

/// A consumer of every message that fits some patterns.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The consumer's name within the service.
    pub name: &'static str,
    /// The stream.
    pub stream: Stream,
    /// Subjects of the stream.
    pub patterns: Vec<String>,
    /// How it works.
    pub settings: Consume,
}

/// An event or a command as it came.
#[derive(Clone, Debug)]
pub struct Delivery<M> {
    /// The message.
    pub message: M,
    /// Its id: the same for every delivery.
    pub id: String,
    /// Its place in the stream.
    pub sequence: u64,
    /// When the stream stored it.
    pub time: DateTime<Utc>,
    /// Which delivery this is, from 1.
    pub attempt: u32,
}

impl<M> Deref for Delivery<M> {
    type Target = M;
    fn deref(&self) -> &M {
        &self.message
    }
}

impl<M: Durable> Delivery<M> {
    pub(crate) fn parse(incoming: &Incoming) -> Result<Self, Fault> {
        Ok(Self {
            message: parse(&incoming.subject, &incoming.body)?,
            id: incoming.id(),
            sequence: incoming.sequence,
            time: incoming.time,
            attempt: incoming.attempt,
        })
    }
}

/// A consumer with its handler, erased.
pub(crate) struct Consumer {
    pub(crate) name: String,
    pub(crate) stream: Stream,
    pub(crate) patterns: Vec<String>,
    pub(crate) settings: Consume,
    pub(crate) handle: Arc<dyn Fn(Incoming) -> Work + Send + Sync>,
}

/// What every message of one consumer shares.
struct Line {
    bus: Bus,
    durable: String,
    consumer: Consumer,
    handled: Option<Handled>,
}

const SHORTEST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(30);

/// Consumes until `shutdown`, and returns when the last message is handled.
pub(crate) async fn run(bus: Bus, consumer: Consumer, tasks: Tasks, shutdown: CancellationToken) {
    let durable = durable_name(bus.service(), &consumer.name);
    let handled =
        (consumer.settings.idempotency == Idempotency::Bus).then(|| Handled::new(&bus, &durable));
    let slots = Arc::new(Semaphore::new(consumer.settings.concurrency));
    let line = Arc::new(Line { bus, durable, consumer, handled });
    while !shutdown.is_cancelled() {
        if let Err(error) = pull_until_broken(&line, &slots, &tasks, &shutdown).await {
            debug!(consumer = line.durable, %error, "pull broke, will open it again");
            // Reopening without a pause floods the servers during an election.
            tokio::time::sleep(Duration::from_millis(200 + rand::random::<u64>() % 100)).await;
        }
    }
    tasks.finish().await;
}

async fn pull_until_broken(
    line: &Arc<Line>,
    slots: &Arc<Semaphore>,
    tasks: &Tasks,
    shutdown: &CancellationToken,
) -> Result<(), async_nats::Error> {
    let mut link = line.bus.link();
    let generation = link.borrow_and_update().generation;
    line.ensure().await?;
    let stream = line.consumer.stream.name();
    let mut puller = Puller::open(
        &line.bus,
        stream,
        &line.durable,
        slots.clone(),
        line.consumer.settings.concurrency,
    )
    .await?;
    loop {
        let (message, slot) = tokio::select! {
            biased;
            () = shutdown.cancelled() => return puller.stop().await,
            // A new connection: the server has forgotten the pulls.
            () = async { drop(link.wait_for(|link| link.generation != generation).await) } => return Ok(()),
            pulled = puller.next() => pulled?,
        };
        let line = line.clone();
        tasks.spawn(async move {
            line.take(&message).await;
            drop(slot);
        });
    }
}

impl Line {
    /// Creates the consumer, or gives it the settings of this version.
    async fn ensure(&self) -> Result<(), async_nats::Error> {
        let stream = self.bus.jetstream().get_stream_no_info(self.consumer.stream.name()).await?;
        let config = pull::Config {
            durable_name: Some(self.durable.clone()),
            filter_subjects: self.consumer.patterns.clone(),
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.bus.inner.settings.ack_wait,
            // One more than ours: the last try is for us to record the dead letter.
            max_deliver: i64::from(self.consumer.settings.max_deliver) + 1,
            max_ack_pending: 65_536,
            ..Default::default()
        };
        stream.create_consumer(config).await?;
        Ok(())
    }

    /// Handles one message and tells the stream what became of it.
    async fn take(&self, message: &jetstream::Message) {
        let incoming = match Incoming::from_message(message) {
            Ok(incoming) => incoming,
            Err(error) => {
                warn!(consumer = self.durable, subject = %message.subject, %error, "not a message of a stream");
                return;
            }
        };
        let (attempt, sequence) = (incoming.attempt, incoming.sequence);
        let trace = Trace::continued(incoming.header(headers::TRACEPARENT));
        let settled = match trace.run(self.handle(message, incoming)).await {
            Ok(Handling::Done) => message.double_ack().await,
            Ok(Handling::Elsewhere) => message.ack_with(AckKind::Nak(Some(SHORTEST_DELAY))).await,
            Err(fault) => self.failed(message, attempt, &fault).await,
        };
        if let Err(error) = settled {
            debug!(consumer = self.durable, sequence, %error, "could not be acknowledged, will be delivered again");
        }
    }

    async fn handle(
        &self,
        message: &jetstream::Message,
        incoming: Incoming,
    ) -> Result<Handling, Fault> {
        let Some(handled) = &self.handled else { return self.work(message, incoming).await };
        let Some(claim) = handled.claim(&incoming.id()) else { return Ok(Handling::Elsewhere) };
        if claim.is_done().await? {
            return Ok(Handling::Done);
        }
        let handling = self.work(message, incoming).await?;
        claim.done().await?;
        Ok(handling)
    }

    /// Runs the handler and tells the stream meanwhile that somebody works.
    async fn work(
        &self,
        message: &jetstream::Message,
        incoming: Incoming,
    ) -> Result<Handling, Fault> {
        let mut work = (self.consumer.handle)(incoming);
        let every = self.bus.inner.settings.ack_wait / 3;
        let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + every, every);
        loop {
            tokio::select! {
                biased;
                result = &mut work => return result.map(|()| Handling::Done),
                _ = clock.tick() => {
                    if let Err(error) = message.ack_with(AckKind::Progress).await {
                        debug!(consumer = self.durable, %error, "sign of life could not be sent");
                    }
                }
            }
        }
    }

    async fn failed(
        &self,
        message: &jetstream::Message,
        attempt: u32,
        fault: &Fault,
    ) -> Result<(), async_nats::Error> {
        let hopeless = fault.code.on_event() == OnEvent::DeadLetter
            || attempt >= self.consumer.settings.max_deliver;
        if !hopeless {
            let delay = delay(attempt, fault);
            warn!(consumer = self.durable, subject = %message.subject, attempt, code = %fault.code, error = %fault, delay_ms = delay.as_millis() as u64, "handler failed, will try again");
            return message.ack_with(AckKind::Nak(Some(delay))).await;
        }
        error!(consumer = self.durable, subject = %message.subject, attempt, code = %fault.code, error = %fault, "handler failed, message becomes a dead letter");
        if let Err(error) = self.bus.bury(&self.durable, message, fault).await {
            warn!(consumer = self.durable, %error, "dead letter could not be recorded, will try again");
            return message.ack_with(AckKind::Nak(Some(SHORTEST_DELAY))).await;
        }
        message.ack_with(AckKind::Term).await
    }
}

/// What became of a message.
enum Handling {
    Done,
    /// Another task of this process has it.
    Elsewhere,
}

fn delay(attempt: u32, fault: &Fault) -> Duration {
    let backoff =
        SHORTEST_DELAY.saturating_mul(1 << attempt.saturating_sub(1).min(7)).min(LONGEST_DELAY);
    // The fault's own wait is the least: whoever stays away is asked less and less often.
    fault.retry_after_ms.map_or(backoff, |wait| Duration::from_millis(wait).max(backoff))
}

#[cfg(test)]
mod tests {
    use muster_contracts::Code;

    use super::*;

    #[test]
    fn delays_double_up_to_the_longest_and_heed_the_fault() {
        let fault = Fault::new(Code::Unavailable, "x");
        assert_eq!(delay(1, &fault), Duration::from_millis(250));
        assert_eq!(delay(3, &fault), Duration::from_secs(1));
        assert_eq!(delay(60, &fault), LONGEST_DELAY);
        assert_eq!(delay(1, &fault.with_retry_after_ms(5000)), Duration::from_secs(5));
    }
}
