//! Sessions whose client has gone: what is asked a provider for them is dropped.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt;
use muster_bus::Bus;
use muster_contracts::llm::v1::{CompleteRequest, SessionAbandoned};
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};
use tracing::{debug, warn};

/// How many abandoned sessions are remembered: one may be abandoned before its request has begun.
const KEPT: usize = 10_000;
const PAUSE: Duration = Duration::from_secs(1);

/// The sessions that this process asks providers for. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Sessions(Arc<Mutex<Known>>);

#[derive(Default)]
struct Known {
    open: HashMap<String, CancellationToken>,
    /// Abandoned ones that were not open here.
    abandoned: HashSet<String>,
    /// The same in the order in which they were heard.
    order: VecDeque<String>,
}

impl Sessions {
    /// The session of a request begins.
    pub(crate) fn begin(&self, request: &CompleteRequest) -> Session {
        let name =
            if request.session.is_empty() { &request.idempotency_key } else { &request.session };
        let token = CancellationToken::new();
        let mut known = self.known();
        if known.abandoned.contains(name) {
            token.cancel();
        }
        // Several requests of an execution have the same session; it is never abandoned.
        known.open.insert(name.clone(), token.clone());
        Session { sessions: self.clone(), name: name.clone(), token }
    }

    /// Hears which sessions are abandoned, until the process ends.
    pub(crate) async fn listen(self, bus: Bus) {
        loop {
            match bus.listen::<SessionAbandoned>().await {
                Ok(events) => {
                    let mut events = std::pin::pin!(events);
                    while let Some(event) = events.next().await {
                        self.abandon(event.session);
                    }
                }
                Err(error) => warn!(%error, "abandoned sessions cannot be heard, will try again"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn abandon(&self, session: String) {
        let mut known = self.known();
        if let Some(token) = known.open.get(&session) {
            debug!(session, "nobody wants the reply any more");
            token.cancel();
            return;
        }
        if known.order.len() >= KEPT
            && let Some(oldest) = known.order.pop_front()
        {
            known.abandoned.remove(&oldest);
        }
        if known.abandoned.insert(session.clone()) {
            known.order.push_back(session);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A session that is open; it has ended when this is dropped.
pub(crate) struct Session {
    sessions: Sessions,
    name: String,
    token: CancellationToken,
}

impl Session {
    /// Waits until nobody wants its reply.
    pub(crate) fn abandoned(&self) -> WaitForCancellationFuture<'_> {
        self.token.cancelled()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.sessions.known().open.remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(session: &str, key: &str) -> CompleteRequest {
        CompleteRequest {
            session: session.into(),
            idempotency_key: key.into(),
            ..Default::default()
        }
    }

    #[test]
    fn a_session_is_abandoned_while_it_is_open_and_before() {
        let sessions = Sessions::default();
        let (open, other) =
            (sessions.begin(&request("s1", "k1")), sessions.begin(&request("", "k2")));
        sessions.abandon("s1".into());
        assert!(open.token.is_cancelled() && !other.token.is_cancelled());
        sessions.abandon("k2".into());
        assert!(other.token.is_cancelled());
        sessions.abandon("s3".into());
        assert!(sessions.begin(&request("s3", "k3")).token.is_cancelled());
        drop((open, other));
        assert!(sessions.known().open.is_empty());
    }
}
