//! What a process knows of its own claims, and what it tells the other replicas.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Request, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tracing::debug;

use super::Key;
use crate::Bus;

/// How many handled ids a process remembers; the log knows the others.
const REMEMBERED: usize = 16_384;
/// How long an owner may take to answer.
const ANSWER_WAIT: Duration = Duration::from_millis(500);

/// What a process knows of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Done,
    Unknown,
}

/// The ids that this process handles and those that it knows to be handled.
#[derive(Default)]
pub(super) struct Known {
    ids: Mutex<Ids>,
}

#[derive(Default)]
struct Ids {
    running: HashSet<Key>,
    done: HashSet<Key>,
    /// The oldest first.
    order: VecDeque<Key>,
}

impl Known {
    /// Marks an unknown id as running, and tells what it was.
    pub(super) fn begin(&self, key: Key) -> State {
        let mut ids = self.ids();
        let state = ids.state(key);
        if state == State::Unknown {
            ids.running.insert(key);
        }
        state
    }

    /// A running id is no longer running.
    pub(super) fn end(&self, key: Key) {
        self.ids().running.remove(&key);
    }

    pub(super) fn done(&self, key: Key) {
        let mut ids = self.ids();
        if ids.done.insert(key) {
            ids.order.push_back(key);
        }
        if ids.order.len() > REMEMBERED
            && let Some(oldest) = ids.order.pop_front()
        {
            ids.done.remove(&oldest);
        }
    }

    fn state(&self, key: Key) -> State {
        self.ids().state(key)
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ids {
    fn state(&self, key: Key) -> State {
        if self.done.contains(&key) {
            State::Done
        } else if self.running.contains(&key) {
            State::Running
        } else {
            State::Unknown
        }
    }
}

/// Answers other replicas that meet a claim of this process.
pub(super) async fn answer(bus: Bus, known: Arc<Known>, mut questions: Subscriber) {
    while let Some(question) = questions.next().await {
        let (Some(inbox), Ok(key)) =
            (question.reply, <[u8; Key::SIZE]>::try_from(question.payload.as_ref()))
        else {
            continue;
        };
        let state: &[u8] = match known.state(Key(key)) {
            State::Running => b"running",
            State::Done => b"done",
            State::Unknown => b"unknown",
        };
        if let Err(error) = bus.client().publish(inbox, Bytes::from_static(state)).await {
            debug!(%error, "another replica could not be answered");
        }
    }
}

/// What the owner of a claim says; nothing where it does not answer.
pub(super) async fn ask(bus: &Bus, owner: &[u8], key: Key) -> Option<State> {
    let inbox = String::from_utf8_lossy(owner).into_owned();
    let request = Request::new().payload(Bytes::copy_from_slice(&key.0)).timeout(Some(ANSWER_WAIT));
    let reply = bus.client().send_request(inbox, request).await.ok()?;
    match reply.payload.as_ref() {
        b"running" => Some(State::Running),
        b"done" => Some(State::Done),
        b"unknown" => Some(State::Unknown),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_runs_once_until_it_ends_and_never_again_once_it_is_done() {
        let (known, key) = (Known::default(), Key::of("a"));
        assert_eq!(known.begin(key), State::Unknown);
        assert_eq!(known.begin(key), State::Running);
        known.end(key);
        assert_eq!(known.begin(key), State::Unknown);
        known.done(key);
        known.end(key);
        assert_eq!(known.begin(key), State::Done);
    }

    #[test]
    fn only_so_many_handled_ids_are_remembered() {
        let known = Known::default();
        for n in 0..REMEMBERED + 2 {
            known.done(Key::of(&n.to_string()));
        }
        assert_eq!(known.state(Key::of("1")), State::Unknown);
        assert_eq!(known.state(Key::of("2")), State::Done);
        assert_eq!(known.ids().done.len(), REMEMBERED);
    }
}
