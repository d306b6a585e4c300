//! What differs between the interfaces of providers; no I/O.

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::{Texts, Vectors, numbers};
use crate::config::{ProviderSettings, Secret};
use crate::domain::prompt::Prompt;
use crate::domain::reply::{PartialReply, TooLarge};

/// What is sent.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    /// Below the provider's address.
    pub(super) path: String,
    pub(super) body: Value,
}

/// How the pieces of a reply are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Server-sent events.
    Events,
    /// A JSON value in each line.
    Lines,
}

impl Framing {
    /// What the request accepts and the answer must be.
    pub(super) const fn media_type(self) -> &'static str {
        match self {
            Self::Events => "text/event-stream",
            Self::Lines => "application/x-ndjson",
        }
    }
}

/// How a provider's interface is spoken.
pub(super) trait Dialect: Send + Sync {
    fn framing(&self) -> Framing;

    /// Adds the key, and what else each request has.
    fn headers(&self, key: Option<&Secret>) -> Result<HeaderMap, String>;

    /// The request for one reply as a stream. An error is what the provider cannot do.
    fn complete(
        &self,
        settings: &ProviderSettings,
        model: &str,
        prompt: &Prompt,
    ) -> Result<Call, String>;

    /// What reads one stream.
    fn reader(&self) -> Box<dyn Reader>;

    /// The request for vectors. An error is what the provider cannot do.
    fn embed(&self, model: &str, texts: &Texts) -> Result<Call, String>;

    /// The vectors in the answer.
    fn vectors(&self, answer: Value, model: &str) -> Result<Vectors, String>;
}

/// Reads the events of one stream.
pub(super) trait Reader: Send {
    /// Adds an event to the reply.
    fn read(&mut self, data: &str, reply: &mut PartialReply) -> Result<Step, Broken>;
}

/// What an event was.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// Text that is new.
    pub(super) text: String,
    /// Nothing follows.
    pub(super) ended: bool,
}

impl Step {
    pub(super) fn text(text: String) -> Self {
        Self { text, ended: false }
    }

    pub(super) fn end() -> Self {
        Self { ended: true, ..Self::default() }
    }
}

/// Why a stream cannot be read further.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    TooLarge,
    /// It is not what the dialect says.
    Nonsense(String),
    /// An error that the provider found while it answered, with the status that it would have had before.
    Told {
        status: u16,
        message: String,
    },
}

impl From<TooLarge> for Broken {
    fn from(_: TooLarge) -> Self {
        Self::TooLarge
    }
}

/// Reads the JSON of an event, also where it has numbers that nobody can read.
pub(super) fn json(data: &str) -> Result<Value, Broken> {
    numbers::parse(data).map_err(|error| nonsense(data, &error))
}

/// Reads a value of an event as what the dialect says it is.
pub(super) fn typed<T: serde::de::DeserializeOwned>(value: Value, data: &str) -> Result<T, Broken> {
    // Where a number that cannot be read is in the wrong place, that is what is wrong.
    let unread = |error| serde_json::from_str::<Value>(data).err().unwrap_or(error);
    serde_json::from_value(value).map_err(|error| nonsense(data, &unread(error)))
}

fn nonsense(data: &str, error: &serde_json::Error) -> Broken {
    let start: String = data.chars().take(200).collect();
    Broken::Nonsense(format!("an event of the stream is no piece of a reply ({error}): {start}"))
}

/// The value of a header that has a key.
pub(super) fn secret(text: &str) -> Result<reqwest::header::HeaderValue, String> {
    let mut value = reqwest::header::HeaderValue::from_str(text).map_err(|_invalid| {
        "its key has characters that a header cannot have, such as a line break".to_owned()
    })?;
    value.set_sensitive(true);
    Ok(value)
}
