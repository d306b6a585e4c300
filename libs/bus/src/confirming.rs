//! Acknowledgements that are known to have arrived.
//!
//! A plain acknowledgement is told and forgotten: one that is lost with its connection brings the message again, and with it the handler. A confirmed one is told until the broker answers
//! that it has it. Its answer comes into the inbox that all replies share, so it costs a message and no subscription. Until then the process has the message in hand: a delivery of it that
//! comes meanwhile does not run the handler beside or after the first.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Request, Subject};
use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::Bus;
use crate::origin::Place;

/// How long one try waits for the broker's answer at most; a third of what a message may go without a sign of life, where that is less.
const LONGEST_TRY: Duration = Duration::from_secs(1);
/// How long it is tried while there is a connection: longer than the election of a consumer's leader takes (4 to 9 s). For a lost connection it is waited without an end.
const TRIED_FOR: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// The messages of one consumer that this process has in hand.
#[derive(Default)]
pub(crate) struct InHand {
    messages: Mutex<HashMap<Place, Stage>>,
}

/// How far a message in hand is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its handler runs.
    Running,
    /// It has ended, and the broker has still to confirm that it knows.
    Ended,
}

/// A message in hand, for as long as this lives.
pub(crate) struct Held<'a> {
    all: &'a InHand,
    place: Place,
}

impl InHand {
    /// Takes a message in hand, unless another delivery of it is.
    ///
    /// # Errors
    /// How far the other is.
    pub(crate) fn take(&self, place: Place) -> Result<Held<'_>, Stage> {
        let mut messages = self.messages();
        if let Some(stage) = messages.get(&place) {
            return Err(*stage);
        }
        messages.insert(place, Stage::Running);
        Ok(Held { all: self, place })
    }

    /// A message in hand has ended.
    pub(crate) fn ended(&self, place: Place) {
        if let Some(stage) = self.messages().get_mut(&place) {
            *stage = Stage::Ended;
        }
    }

    fn messages(&self) -> MutexGuard<'_, HashMap<Place, Stage>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.all.messages().remove(&self.place);
    }
}

/// Whether the broker knows how a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmed {
    Yes,
    /// There is nobody to tell: the message's stream is gone.
    Gone,
    /// Nobody knows.
    No,
}

/// Tells the broker how a message ended until it says that it has it: until `cut` is cancelled, or for [`TRIED_FOR`] with a connection. Before each try `is_gone` is asked whether the message's
/// stream is.
pub(crate) async fn confirm<G>(
    bus: &Bus,
    reply: &Subject,
    how: &Bytes,
    cut: &CancellationToken,
    is_gone: impl Fn() -> G,
) -> Confirmed
where
    G: Future<Output = Result<bool, async_nats::Error>>,
{
    let mut link = bus.link();
    let mut tried = Duration::ZERO;
    while tried < TRIED_FOR {
        let up = async { link.wait_for(|link| link.up).await.map(|link| link.generation) };
        let generation = tokio::select! {
            biased;
            Ok(generation) = up => generation,
            // Where the connection is closed for good as well.
            () = cut.cancelled() => return Confirmed::No,
        };
        let began = Instant::now();
        let told = async {
            if is_gone().await? {
                return Ok(Confirmed::Gone);
            }
            tell(bus, reply, how).await
        };
        tokio::select! {
            biased;
            told = told => match told {
                Ok(Confirmed::No) => {}
                Ok(confirmed) => return confirmed,
                // While a new leader is elected nobody takes it.
                Err(error) => debug!(%reply, %error, "acknowledgement is not confirmed yet"),
            },
            // What was told on a connection that is gone is answered by nobody.
            _ = link.wait_for(|link| link.generation != generation) => continue,
            () = cut.cancelled() => return Confirmed::No,
        }
        tried += began.elapsed() + PAUSE;
        tokio::time::sleep(PAUSE).await;
    }
    Confirmed::No
}

/// One try.
async fn tell(bus: &Bus, reply: &Subject, how: &Bytes) -> Result<Confirmed, async_nats::Error> {
    let longest = (bus.inner.settings.ack_wait / 3).min(LONGEST_TRY);
    let question = Request::new().payload(how.clone()).timeout(None);
    match tokio::time::timeout(longest, bus.client().send_request(reply.clone(), question)).await {
        Ok(answer) => answer.map(|_confirmed| Confirmed::Yes).map_err(Into::into),
        Err(_elapsed) => Ok(Confirmed::No),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_in_hand_until_its_end_is_known_or_given_up() {
        let messages = InHand::default();
        let held = messages.take((1, 10)).ok().unwrap();
        assert_eq!(messages.take((1, 10)).err(), Some(Stage::Running));
        assert!(messages.take((2, 11)).is_ok(), "another message is another matter");
        messages.ended((1, 10));
        messages.ended((2, 11));
        assert_eq!(messages.take((1, 10)).err(), Some(Stage::Ended));
        assert!(messages.take((1, 12)).is_ok(), "of a stream that began anew");
        drop(held);
        assert!(messages.take((1, 10)).is_ok(), "its end is known, or it was given up");
    }
}
