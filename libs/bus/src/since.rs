//! Events from a place in their stream on, as the leader of the stream has them: for who must not miss one that was just published.

use muster_contracts::{Code, Event, Fault, subject};
use tracing::warn;

use crate::Bus;

impl Bus {
    /// The first event of this type behind a place in its stream, with its own place. What cannot be read is passed over: it is a dead letter of those who consume it.
    ///
    /// # Errors
    /// UNAVAILABLE where no leader answers.
    pub async fn next_event<M: Event>(&self, after: u64) -> Result<Option<(u64, M)>, Fault> {
        let (stream, pattern) = (M::STREAM.name(), subject::pattern(M::SUBJECT));
        let mut from = after + 1;
        while let Some(message) = self.next_message(stream, &pattern, from).await? {
            match self.read(Some(&message.headers), message.payload.clone()).await {
                Ok(event) => return Ok(Some((message.sequence, event))),
                Err(fault) if matches!(fault.code, Code::Unavailable | Code::Deadline) => {
                    return Err(fault);
                }
                Err(fault) => {
                    warn!(sequence = message.sequence, %fault, "event cannot be read, passed over");
                }
            }
            from = message.sequence + 1;
        }
        Ok(None)
    }
}
