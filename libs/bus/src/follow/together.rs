//! Messages that are read together: whoever writes them into a database does so by one statement, which costs little more than one for each of them.

use std::time::Duration;

use futures::{FutureExt, Stream as Items, StreamExt};
use muster_contracts::subject;
use tokio::task::unconstrained;

use super::Recorded;

/// How long a message waits for others to come with it, where they do not come faster. An execution has several within some milliseconds.
const LINGER: Duration = Duration::from_millis(100);

/// How much is read together at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Messages.
    pub messages: usize,
    /// Bytes of their bodies; the last one may go beyond.
    pub bytes: usize,
}

/// What comes, as it comes together.
pub(super) fn together(
    messages: impl Items<Item = Recorded> + Send,
    most: Most,
) -> impl Items<Item = Vec<Recorded>> + Send {
    async_stream::stream! {
        // On the heap: whoever reads would have room for it.
        let mut messages = Box::pin(messages);
        let mut is_behind = false;
        while let Some(first) = messages.next().await {
            if !is_behind {
                tokio::time::sleep(LINGER).await;
            }
            let (mut bytes, mut found) = (first.body.len(), vec![first]);
            loop {
                is_behind = found.len() >= most.messages || bytes >= most.bytes;
                if is_behind {
                    break;
                }
                // What is there is taken, however much a task may do in one go.
                let next = unconstrained(messages.next()).now_or_never();
                let Some(Some(next)) = next else { break };
                bytes += next.body.len();
                found.push(next);
            }
            yield found;
        }
    }
}

/// Most patterns are subjects, and a look at their tokens takes longer than one at the whole.
pub(super) fn is_wanted(patterns: &[String], subject: &str) -> bool {
    patterns.iter().any(|pattern| pattern == subject)
        || patterns.iter().any(|pattern| subject::covers(pattern, subject))
}
