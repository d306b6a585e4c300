//! Many messages of a subject by one question.
//!
//! The answers come from any replica of the stream, which may be behind but never says anything else than the leader: who must know the end asks the leader
//! for that ([`crate::leader`]), and for what a replica does not have yet.

use std::time::Duration;

use async_nats::StatusCode;
use async_nats::jetstream::message::StreamMessage;
use futures::StreamExt;
use muster_contracts::Fault;
use serde_json::json;

use crate::publish::unavailable;
use crate::{Bus, headers};

/// How many messages are asked for at once.
const BATCH: usize = 512;
/// How many bytes are asked for at once: less than a subscription may hold.
const BYTES: usize = 16 * 1024 * 1024;
/// How long the next answer may take.
const SILENCE: Duration = Duration::from_secs(2);
/// The sequence of the answer before, in an answer.
const BEFORE: &str = "Nats-Last-Sequence";

impl Bus {
    /// Some messages of `subject` from this sequence on, without a gap between them. There may be more, also where there is none.
    ///
    /// # Errors
    /// UNAVAILABLE where the connection is away.
    pub(crate) async fn some_messages(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Vec<StreamMessage>, Fault> {
        self.unless_down(Box::pin(self.ask_any_replica(stream, subject, from))).await
    }

    async fn ask_any_replica(
        &self,
        stream: &str,
        subject: &str,
        from: u64,
    ) -> Result<Vec<StreamMessage>, Fault> {
        let inbox = self.client().new_inbox();
        let mut answers =
            self.client().subscribe(inbox.clone()).await.map_err(|error| unavailable(&error))?;
        let question =
            json!({"seq": from, "next_by_subj": subject, "batch": BATCH, "max_bytes": BYTES});
        self.client()
            .publish_with_reply(
                format!("$JS.API.DIRECT.GET.{stream}"),
                inbox,
                question.to_string().into(),
            )
            .await
            .map_err(|error| unavailable(&error))?;
        let mut messages: Vec<StreamMessage> = Vec::new();
        // Whatever ends the answers: the leader is asked for what is missing.
        while let Ok(Some(answer)) = tokio::time::timeout(SILENCE, answers.next()).await {
            if answer.status.is_some_and(|status| status != StatusCode::OK) {
                break;
            }
            let before = headers::get(answer.headers.as_ref(), BEFORE)
                .and_then(|sequence| sequence.parse::<u64>().ok());
            let is_next = messages.last().is_none_or(|last| before == Some(last.sequence));
            match StreamMessage::try_from(answer) {
                Ok(message) if is_next => messages.push(message),
                _ => break,
            }
        }
        Ok(messages)
    }
}
