//! How a message ends: acknowledged, sent back to be tried again, or kept as a dead letter.

use std::time::Duration;

use async_nats::jetstream::{self, AckKind};
use bytes::Bytes;
use muster_contracts::{Code, Fault, OnEvent, Storage};
use tracing::{debug, error, warn};

use super::{Fate, LOOK_EVERY, Line};
use crate::confirming::{self, Confirmed, Held, Stage};
use crate::damage;
use crate::origin::{Place, Spot};
use crate::trace::Trace;

const SHORTEST_DELAY: Duration = Duration::from_millis(250);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// What the stream is told of a message that is done with.
pub(super) const DONE: Bytes = Bytes::from_static(b"+ACK");

impl Line {
    pub(super) async fn settle(
        &self,
        message: &jetstream::Message,
        spot: Spot,
        attempt: u32,
        fate: Fate,
    ) -> Result<(), async_nats::Error> {
        let count = match fate {
            Fate::Done => &self.metrics.done,
            Fate::Elsewhere => &self.metrics.elsewhere,
            Fate::GivenBack => &self.metrics.given_back,
        };
        count.increment(1);
        match fate {
            Fate::Done => self.end(message, spot, DONE).await,
            // What is rare is on the heap: every message would have room for it.
            Fate::Elsewhere => {
                Box::pin(message.ack_with(AckKind::Nak(Some(backoff(attempt))))).await
            }
            Fate::GivenBack => Box::pin(message.ack_with(AckKind::Nak(None))).await,
        }
    }

    pub(super) async fn failed(
        &self,
        message: &jetstream::Message,
        spot: Spot,
        attempt: u32,
        fault: &Fault,
    ) -> Result<(), async_nats::Error> {
        let hopeless = fault.code.on_event() == OnEvent::DeadLetter
            || damage::is(fault)
            || self.was_last(spot.place, attempt, fault);
        if !hopeless {
            let delay = delay(attempt, fault);
            self.metrics.again.increment(1);
            warn!(consumer = self.durable, subject = %message.subject, trace_id = Trace::current_id(), attempt, code = %fault.code, error = %fault, delay_ms = delay.as_millis() as u64, "handler failed, will try again");
            return message.ack_with(AckKind::Nak(Some(delay))).await;
        }
        error!(consumer = self.durable, subject = %message.subject, trace_id = Trace::current_id(), attempt, code = %fault.code, error = %fault, "handler failed, message becomes a dead letter");
        match self.bus.bury(self, message, fault).await {
            Ok(letter) => {
                self.metrics.dead_letters.increment(1);
                self.give_up(message, spot, letter, fault).await
            }
            Err(error) => {
                warn!(consumer = self.durable, %error, "dead letter could not be recorded, will try again");
                message.ack_with(AckKind::Nak(Some(SHORTEST_DELAY))).await
            }
        }
    }

    /// Whether this try was the message's last.
    fn was_last(&self, place: Place, attempt: u32, fault: &Fault) -> bool {
        let settings = &self.consumer.settings;
        if settings.postpone > 0 && fault.code == Code::Exhausted {
            self.postponed.note(place);
            return attempt >= self.most_deliveries();
        }
        let tries = attempt.saturating_sub(self.postponed.times_of(place));
        let last = tries >= settings.max_deliver;
        if last {
            self.postponed.forget(place);
        }
        last
    }

    /// Ends the deliveries; the broker's advisory then has the reason.
    async fn give_up(
        &self,
        message: &jetstream::Message,
        spot: Spot,
        letter: u64,
        fault: &Fault,
    ) -> Result<(), async_nats::Error> {
        let reason: String =
            fault.message.chars().filter(|letter| !letter.is_control()).take(256).collect();
        let term = format!("+TERM dead letter {letter}: {} {reason}", fault.code);
        self.end(message, spot, term.into()).await
    }

    pub(super) const fn confirms(&self) -> bool {
        self.consumer.settings.confirm_acks
    }

    /// The message's place among those in hand, where acknowledgements are confirmed; else, what became of it. On its last try it waits for the delivery whose handler runs: it would not come again,
    /// and become a dead letter although the first may end well.
    pub(super) async fn hold(&self, place: Place, attempt: u32) -> Result<Option<Held<'_>>, Fate> {
        if !self.confirms() {
            return Ok(None);
        }
        let last = attempt >= self.consumer.settings.max_deliver;
        loop {
            match self.in_hand.take(place) {
                Ok(held) => return Ok(Some(held)),
                Err(Stage::Ended) => return Err(Fate::Done),
                Err(Stage::Running) if !last => return Err(Fate::Elsewhere),
                Err(Stage::Running) => tokio::select! {
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                    () = self.cut.cancelled() => return Err(Fate::GivenBack),
                },
            }
        }
    }

    /// Tells the stream that the message has ended, and how; a stream that has taken the place of the message's is told nothing.
    async fn end(
        &self,
        message: &jetstream::Message,
        spot: Spot,
        how: Bytes,
    ) -> Result<(), async_nats::Error> {
        let Some(reply) = &message.reply else { return Ok(()) };
        let sequence = spot.place.0;
        if !self.confirms() {
            if !self.outlives_its_messages() && Box::pin(self.is_gone(spot)).await? {
                debug!(consumer = self.durable, sequence, "the message's stream is gone");
                return Ok(());
            }
            return Ok(self.bus.client().publish(reply.clone(), how).await?);
        }
        self.in_hand.ended(spot.place);
        let is_gone = || self.is_gone(spot);
        // On the heap: most consumers do not do this, and every task would have room for it.
        match Box::pin(confirming::confirm(&self.bus, reply, &how, &self.cut, is_gone)).await {
            Confirmed::Yes => {}
            Confirmed::Gone => {
                debug!(consumer = self.durable, sequence, "the message's stream is gone");
            }
            Confirmed::No => {
                self.metrics.unconfirmed.increment(1);
                warn!(
                    consumer = self.durable,
                    sequence,
                    "acknowledgement is not confirmed, the message may be delivered again"
                );
            }
        }
        Ok(())
    }

    /// Whether the stream is there as long as its messages.
    pub(super) const fn outlives_its_messages(&self) -> bool {
        matches!(self.consumer.stream.settings().storage, Storage::File)
    }

    async fn is_gone(&self, spot: Spot) -> Result<bool, async_nats::Error> {
        spot.is_gone(&self.bus, self.stream(), self.origin.get()).await
    }
}

fn backoff(attempt: u32) -> Duration {
    SHORTEST_DELAY.saturating_mul(1 << attempt.saturating_sub(1).min(7)).min(LONGEST_DELAY)
}

fn delay(attempt: u32, fault: &Fault) -> Duration {
    // The fault's own wait is the least: whoever stays away is asked less and less often.
    fault
        .retry_after_ms
        .map_or_else(|| backoff(attempt), |wait| Duration::from_millis(wait).max(backoff(attempt)))
}

#[cfg(test)]
mod tests {
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
