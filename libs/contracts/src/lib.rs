#![doc = include_str!("../README.md")]

mod catalogue;
mod fault;
mod json;
pub mod permissions;
pub mod subject;
mod traits;
mod version;

pub use catalogue::{BucketSettings, Discard, Entry, Kind, Retention, Storage, StreamSettings};
pub use fault::{Code, Fault, HasCode, OnEvent};
pub use generated::{Bucket, CATALOGUE, MESSAGES, ObjectStore, Stream};
pub use json::{Json, JsonObject, now, time};
pub use pbjson_types::Timestamp;
pub use subject::SubjectError;
pub use traits::{
    Addressed, Command, Durable, Event, Journal, Message, MessageType, Request, Timer, Token,
};
pub use version::contract_version;

/// The contract itself: a `google.protobuf.FileDescriptorSet` with comments. Documents are made from it.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.binpb"));

/// The tables and trait implementations that `build.rs` writes from the options in `proto/`.
mod generated {
    use crate::{BucketSettings, Entry, StreamSettings};

    include!(concat!(env!("OUT_DIR"), "/traits.rs"));
}

// A module for each package of `proto/`: `muster.agent.v1` is `agent::v1`.
include!(concat!(env!("OUT_DIR"), "/modules.rs"));
