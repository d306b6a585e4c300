//! The tables of the contract, generated from the options in `proto/`.

use crate::generated::{CATALOGUE, Stream};
use crate::subject::{covers, pattern};

/// How a message travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that happened.
    Event,
    /// Work for one service.
    Command,
    /// A piece of a live stream.
    Token,
    /// An entry of a journal.
    Journal,
    /// A question with its answer.
    Request,
}

/// Where a stream keeps its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// On disk: survives a restart.
    File,
    /// In memory: gone with the server.
    Memory,
}

/// When a stream removes a message that is within its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Never.
    Limits,
    /// When it is acknowledged: each message is for one consumer.
    WorkQueue,
}

/// What a full stream does with a new message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discard {
    /// It removes the oldest.
    Old,
    /// It refuses the new one.
    New,
}

/// The settings of a stream; units and meaning as in `proto/muster/options/v1/options.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamSettings {
    /// Subjects that are kept whether or not a message of the contract has them. [`Stream::subjects`] has these and all others.
    pub subjects: &'static [&'static str],
    /// Where messages are kept.
    pub storage: Storage,
    /// When a message within the limits is removed.
    pub retention: Retention,
    /// What becomes of a new message when the stream is full.
    pub discard: Discard,
    /// Seconds until a message is removed; 0 is never.
    pub max_age_s: u64,
    /// Messages above which the oldest are removed; 0 is no limit.
    pub max_messages: u64,
    /// Bytes above which the oldest messages are removed; 0 is no limit. The server reserves them.
    pub max_bytes: u64,
    /// The largest message in bytes; 0 is the server's limit.
    pub max_message_bytes: u64,
    /// Seconds within which a second message with the same id is dropped.
    pub duplicate_window_s: u64,
    /// Messages can be read without a consumer.
    pub allow_direct: bool,
    /// Messages can be scheduled.
    pub allow_schedules: bool,
    /// Messages can carry their own time to live.
    pub allow_ttl: bool,
    /// Several messages can be published as one.
    pub allow_atomic: bool,
    /// The stream does not acknowledge: whoever publishes to it must not wait.
    pub no_ack: bool,
    /// Source and destination of messages that the broker sends again.
    pub republish: Option<(&'static str, &'static str)>,
    /// The streams that it copies, each with the subjects that it wants of them.
    pub sources: &'static [(Stream, &'static str)],
    /// The stream also keeps advisories about messages that ran out of tries.
    pub advisories: bool,
    /// The services that get everything they read of the stream through one consumer.
    pub feeds: &'static [&'static str],
    /// The services that read it in its order without a durable consumer.
    pub followers: &'static [&'static str],
}

/// The settings of a key-value bucket or an object store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BucketSettings {
    /// Where values are kept.
    pub storage: Storage,
    /// Seconds until a value is removed; 0 is never.
    pub max_age_s: u64,
    /// Bytes above which new values are refused; 0 is no limit. The server reserves them.
    pub max_bytes: u64,
    /// The services that may change values; `*` is every service.
    pub writers: &'static [&'static str],
    /// The services that may read values; `*` is every service.
    pub readers: &'static [&'static str],
    /// Keys can be removed so that nothing of them stays.
    pub allow_ttl: bool,
}

/// One subject of the contract.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The subject's template.
    pub subject: &'static str,
    /// How the message travels.
    pub kind: Kind,
    /// The message's full name.
    pub message: &'static str,
    /// The reply's full name, for a request.
    pub reply: Option<&'static str>,
    /// The stream that keeps it.
    pub stream: Option<Stream>,
    /// The schema's version.
    pub version: u32,
    /// The services that send it; `*` is every service. None where the broker sends it.
    pub producers: &'static [&'static str],
    /// The services that read or answer it; `*` is every service.
    pub consumers: &'static [&'static str],
    /// The template of the schedule that fires it; empty for all but timers.
    pub schedule: &'static str,
    /// No service of this version sends or answers it yet.
    pub planned: bool,
    /// A request that changes nothing and costs little, so that it may come again where its answer is late.
    pub reads: bool,
}

impl Stream {
    /// The subjects that the stream keeps: those of its settings and of its messages, none inside another.
    #[must_use]
    pub fn subjects(self) -> Vec<String> {
        let mut all: Vec<String> = CATALOGUE
            .iter()
            .filter(|entry| entry.stream == Some(self))
            .flat_map(|entry| [entry.subject, entry.schedule])
            .filter(|template| !template.is_empty())
            .map(pattern)
            .chain(self.settings().subjects.iter().map(|subject| (*subject).to_owned()))
            .collect();
        if self.settings().advisories {
            all.extend(
                ["MAX_DELIVERIES", "MSG_TERMINATED"]
                    .map(|kind| format!("$JS.EVENT.ADVISORY.CONSUMER.{kind}.>")),
            );
        }
        all.sort();
        all.dedup();
        let covered =
            |subject: &String| all.iter().any(|other| other != subject && covers(other, subject));
        all.iter().filter(|subject| !covered(subject)).cloned().collect()
    }
}
