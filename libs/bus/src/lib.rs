#![doc = include_str!("../README.md")]

mod artifacts;
mod connection;
mod consume;
mod dead_letters;
mod ensure;
mod follow;
mod headers;
mod id;
mod idempotency;
mod incoming;
mod journal;
mod kv;
mod long_request;
mod publish;
mod pull;
mod recorded;
mod request;
mod routes;
mod rpc;
mod settings;
mod tasks;
mod timers;
pub mod trace;

pub use artifacts::Artifacts;
pub use connection::Bus;
pub use consume::{Consume, Delivery, Feed, Idempotency};
pub use dead_letters::DeadLetters;
pub use follow::{After, Recorded};
pub use id::MessageId;
pub use journal::{AppendError, Journal};
pub use kv::{Bucket, Kv, KvError, Versioned};
pub use publish::Published;
pub use recorded::{RecordedCalls, Repeat};
pub use request::Unanswered;
pub use routes::Routes;
pub use settings::{Settings, SettingsError};
