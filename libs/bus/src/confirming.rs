//! Acknowledgements that are known to have arrived.
//!
//! A plain acknowledgement is told and forgotten: one that is lost with its connection brings the message again, and with it the handler. A confirmed one is told until the broker answers
//! that it has it. Its answer comes into the inbox that all replies share, so it costs a message and no subscription. Until then the process has the message in hand: a delivery of it that
//! comes meanwhile does not run the handler beside or after the first.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Request, Subject};
use bytes::Bytes;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::Bus;

/// How long one try waits for the broker's answer at most; a third of what a message may go without a sign of life, where that is less.
const LONGEST_TRY: Duration = Duration::from_secs(1);
/// How long it is tried while there is a connection: longer than the election of a consumer's leader takes (4 to 9 s). For a lost connection it is waited without an end.
const TRIED_FOR: Duration = Duration::from_secs(30);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(100);

/// The messages of one consumer that this process has in hand, by their sequence.
#[derive(Default)]
pub(crate) struct InHand {
    messages: Mutex<HashMap<u64, Stage>>,
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
    sequence: u64,
}

impl InHand {
    /// Takes a message in hand, unless another delivery of it is.
    ///
    /// # Errors
    /// How far the other is.
    pub(crate) fn take(&self, sequence: u64) -> Result<Held<'_>, Stage> {
        let mut messages = self.messages();
        if let Some(stage) = messages.get(&sequence) {
            return Err(*stage);
        }
        messages.insert(sequence, Stage::Running);
        Ok(Held { all: self, sequence })
    }

    /// A message in hand has ended.
    pub(crate) fn ended(&self, sequence: u64) {
        if let Some(stage) = self.messages().get_mut(&sequence) {
            *stage = Stage::Ended;
        }
    }

    fn messages(&self) -> MutexGuard<'_, HashMap<u64, Stage>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.all.messages().remove(&self.sequence);
    }
}

/// Tells the broker how a message ended until it says that it has it. False where it does not: until `cut` is cancelled, or for [`TRIED_FOR`] with a connection.
pub(crate) async fn confirm(
    bus: &Bus,
    reply: &Subject,
    how: &Bytes,
    cut: &CancellationToken,
) -> bool {
    let one = (bus.inner.settings.ack_wait / 3).min(LONGEST_TRY);
    let mut link = bus.link();
    let mut tried = Duration::ZERO;
    while tried < TRIED_FOR {
        let up = async { link.wait_for(|link| link.up).await.map(|link| link.generation) };
        let generation = tokio::select! {
            biased;
            Ok(generation) = up => generation,
            // Where the connection is closed for good as well.
            () = cut.cancelled() => return false,
        };
        let (began, question) = (Instant::now(), Request::new().payload(how.clone()).timeout(None));
        tokio::select! {
            biased;
            answer = bus.client().send_request(reply.clone(), question) => match answer {
                Ok(_confirmed) => return true,
                // While a new leader is elected nobody takes it.
                Err(error) => debug!(%reply, %error, "acknowledgement is not confirmed yet"),
            },
            // What was told on a connection that is gone is answered by nobody.
            _ = link.wait_for(|link| link.generation != generation) => continue,
            () = tokio::time::sleep(one) => {}
            () = cut.cancelled() => return false,
        }
        tried += began.elapsed() + PAUSE;
        tokio::time::sleep(PAUSE).await;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_in_hand_until_its_end_is_known_or_given_up() {
        let messages = InHand::default();
        let held = messages.take(1).ok().unwrap();
        assert_eq!(messages.take(1).err(), Some(Stage::Running));
        assert!(messages.take(2).is_ok(), "another message is another matter");
        messages.ended(1);
        messages.ended(2);
        assert_eq!(messages.take(1).err(), Some(Stage::Ended));
        drop(held);
        assert!(messages.take(1).is_ok(), "its end is known, or it was given up");
    }
}
