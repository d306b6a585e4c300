//! What a message of the contract can do. Implemented by generated code only.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{Kind, Stream, SubjectError};

/// A message of the contract.
pub trait Message:
    Serialize + DeserializeOwned + Default + Clone + std::fmt::Debug + Send + Sync + 'static
{
    /// The full name, which is also the CloudEvents type: `muster.agent.v1.AgentExecutionRequested`.
    const NAME: &'static str;

    /// The fields that the bus encrypts end to end.
    const SEALED: &'static [&'static str];

    /// The path of the first required field that is absent or empty.
    fn missing(&self) -> Option<String>;

    /// The execution that the message belongs to; empty where it belongs to none.
    fn execution_id(&self) -> &str;
}

/// A message with a subject of its own.
pub trait Addressed: Message {
    /// The subject's template: words and `{field}` tokens.
    const SUBJECT: &'static str;
    /// Another template with the same tokens, on which it may come as well; empty: none.
    const ALIAS: &'static str;

    /// The subject of this message.
    ///
    /// # Errors
    /// Where the value of a field cannot be a token of a subject, or is a fixed word of the contract at that place.
    fn subject(&self) -> Result<String, SubjectError>;

    /// Sets those empty fields that are tokens of the subject.
    fn take_from_subject(&mut self, subject: &str);
}

/// A message that a stream keeps.
pub trait Durable: Addressed {
    /// The streams that share it: one, but for messages with partitions.
    const STREAMS: &'static [Stream];
    /// The stream; of a message with partitions the first.
    const STREAM: Stream = match Self::STREAMS {
        [first, ..] => *first,
        [] => panic!("the generator gives every durable message a stream"),
    };
    /// How it travels.
    const KIND: Kind;
    /// The schema's version.
    const VERSION: u32;
}

/// Something that happened.
pub trait Event: Durable {}

/// Work for one service.
pub trait Command: Durable {}

/// A piece of a live stream.
pub trait Token: Durable {}

/// An entry of a journal.
pub trait Journal: Durable {}

/// An event that the broker publishes when its time has come.
pub trait Timer: Event {
    /// The subject of the schedule; a second schedule on it replaces the first.
    ///
    /// # Errors
    /// Where the value of a field cannot be a token of a subject.
    fn schedule(&self) -> Result<String, SubjectError>;
}

/// A question with its answer.
pub trait Request: Addressed {
    /// The answer.
    type Reply: Message;
    /// The method's name in the contract.
    const METHOD: &'static str;
    /// The server gives signs of life while it works.
    const LONG: bool;
    /// A stream records the request, so nobody is told at once when no server is there.
    const RECORDED: bool;
    /// Programs that are no services of the platform may answer it, too: they give no signs of life.
    const PEERS: bool;
    /// It changes nothing and costs little, so that it is asked again where no answer comes for some seconds.
    const READS: bool;
}

/// A message of the contract by its name, for programs that see messages of every kind.
#[derive(Clone, Copy, Debug)]
pub struct MessageType {
    /// The full name.
    pub name: &'static str,
    /// The fields that the bus encrypts end to end.
    pub sealed: &'static [&'static str],
    canonical: fn(&[u8]) -> Result<Value, serde_json::Error>,
    missing: fn(&[u8]) -> Result<Option<String>, serde_json::Error>,
}

impl MessageType {
    pub(crate) const fn of<M: Message>() -> Self {
        Self {
            name: M::NAME,
            sealed: M::SEALED,
            canonical: |body| serde_json::to_value(serde_json::from_slice::<M>(body)?),
            missing: |body| Ok(serde_json::from_slice::<M>(body)?.missing()),
        }
    }

    /// The type with this full name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        crate::MESSAGES.iter().find(|message| message.name == name)
    }

    /// The body as a service would write it after reading it: without what this version does not know.
    ///
    /// # Errors
    /// Where the body is no such message.
    pub fn canonical(&self, body: &[u8]) -> Result<Value, serde_json::Error> {
        (self.canonical)(body)
    }

    /// The path of the first required field that is absent or empty.
    ///
    /// # Errors
    /// Where the body is no such message.
    pub fn missing(&self, body: &[u8]) -> Result<Option<String>, serde_json::Error> {
        (self.missing)(body)
    }
}
