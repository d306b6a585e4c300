//! Dead letters.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{DateTime, Utc};
use muster_bus::{Batch, Letter, Recorded, Replayed};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{some, when};

/// Some dead letters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetters {
    /// Oldest first, without the headers and bodies of their messages.
    pub dead_letters: Vec<DeadLetter>,
    /// The `cursor` of the next page; absent at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A message that its consumer gave up.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// By it the letter is shown, replayed and purged.
    pub sequence: u64,
    /// The service that gave the message up, and would replay it.
    pub service: String,
    /// Its consumer.
    pub consumer: String,
    /// Why: a fault's code, or MAX_DELIVERIES where the service crashed each time.
    pub code: String,
    /// Why, in words.
    pub reason: String,
    /// How often it was tried, replays included.
    pub deliveries: u32,
    /// When the message was published.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_at: Option<DateTime<Utc>>,
    /// When it was given up for the last time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_at: Option<DateTime<Utc>>,
    /// The message.
    pub message: Message,
}

/// The message of a dead letter.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Message {
    /// Its stream.
    pub stream: String,
    /// Its place there.
    pub sequence: u64,
    /// Its subject; empty where the broker had removed the message before the letter was written.
    pub subject: String,
    /// Its id, under which it is replayed; absent where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Its type: the full name; absent where it has none.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub message_type: Option<String>,
    /// The execution that it belongs to; absent where it belongs to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_id: Option<String>,
    /// Its headers; only where one letter is asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Its body, sealed fields as they are sealed; only where one letter is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object)]
    pub body: Option<Value>,
    /// Its body where that is not JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_base64: Option<String>,
}

/// How a replay ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Replay {
    /// `handled`: the message is handled and the letter gone; `failed`: its handler gave it up again; `running`: the handler still works.
    pub outcome: String,
    /// The letter that is there now; absent where it is handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// Why it failed, as a fault's code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it failed, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How the replay of several letters went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Replays {
    /// Letters whose message is handled now; they are gone.
    pub handled: usize,
    /// Letters that stay.
    pub failed: usize,
    /// Letters whose handler still works.
    pub running: usize,
    /// The first ten that failed.
    pub errors: Vec<ReplayError>,
    /// The `cursor` by which to go on; absent where every letter was replayed that was there at the beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A letter that could not be handled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayError {
    /// The letter that is there now.
    pub sequence: u64,
    /// Why: the code and the words.
    pub error: String,
}

/// How many letters were removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Purged {
    /// How many.
    pub purged: usize,
}

impl From<Letter> for DeadLetter {
    fn from(letter: Letter) -> Self {
        let (message_type, execution_id) =
            (some(letter.message_type().to_owned()), some(letter.execution_id().to_owned()));
        let content = letter.content;
        Self {
            sequence: letter.sequence,
            service: content.service,
            consumer: content.consumer,
            code: content.code,
            reason: content.reason,
            deliveries: content.deliveries,
            first_at: when(content.first_at.as_ref()),
            last_at: when(content.last_at.as_ref()),
            message: Message {
                stream: content.stream,
                sequence: content.sequence,
                subject: content.subject,
                id: some(content.message_id),
                message_type,
                execution_id,
                ..Message::default()
            },
        }
    }
}

impl DeadLetter {
    /// The letter with the headers and the body of its message.
    pub(crate) fn in_full(letter: Letter, original: &Recorded) -> Self {
        let headers = letter.content.headers.clone().into_iter().collect();
        let body = serde_json::from_slice(&original.body).ok();
        // What could not be opened is shown as it came.
        let raw = if original.body.is_empty() { &letter.content.body } else { &*original.body };
        let body_base64 = (body.is_none() && !raw.is_empty()).then(|| STANDARD.encode(raw));
        let mut shown = Self::from(letter);
        shown.message = Message { headers, body, body_base64, ..shown.message };
        shown
    }
}

impl From<Replayed> for Replay {
    fn from(replayed: Replayed) -> Self {
        match replayed {
            Replayed::Handled => Self { outcome: "handled".to_owned(), ..Self::default() },
            Replayed::Failed { sequence, code, reason } => Self {
                outcome: "failed".to_owned(),
                sequence: Some(sequence),
                code: Some(code),
                reason: Some(reason),
            },
        }
    }
}

impl From<Batch> for Replays {
    fn from(batch: Batch) -> Self {
        let errors = batch.errors.into_iter();
        Self {
            handled: batch.handled,
            failed: batch.failed,
            running: batch.running,
            errors: errors.map(|(sequence, error)| ReplayError { sequence, error }).collect(),
            next: batch.next.map(crate::domain::letters::cursor),
        }
    }
}
