//! What replicas tell each other of their claims.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{Request, Subscriber};
use bytes::Bytes;
use futures::StreamExt;
use tracing::debug;

use super::Key;
use super::known::{Known, State};
use crate::Bus;

/// How long an owner may take to answer.
const ANSWER_WAIT: Duration = Duration::from_millis(500);

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
