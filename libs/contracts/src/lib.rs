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

macro_rules! package {
    ($($area:ident: $docs:literal),+ $(,)?) => {$(
        #[doc = $docs]
        #[expect(clippy::allow_attributes, clippy::allow_attributes_without_reason, reason = "generated code allows what it may need")]
        pub mod $area {
            #[doc = $docs]
            #[allow(missing_docs, unused_qualifications, clippy::all, clippy::too_many_lines, clippy::map_err_ignore, clippy::semicolon_if_nothing_returned, reason = "generated from proto/, which says what each field means")]
            pub mod v1 {
                include!(concat!(env!("OUT_DIR"), "/muster.", stringify!($area), ".v1.rs"));
                include!(concat!(env!("OUT_DIR"), "/muster.", stringify!($area), ".v1.serde.rs"));
            }
        }
    )+};
}

package! {
    agent: "Agents: their definitions and their runs.",
    api: "Tasks of clients, and requests at the edge.",
    auth: "Who came in, who was refused.",
    cache: "What was cached, and what must be forgotten.",
    code: "What happened to code.",
    database: "The shared facts database.",
    dead_letter: "Messages that nobody could handle.",
    deliverable: "What agents produce.",
    facts: "What is known about repositories and tools.",
    gateway: "What the gateway to language models tells.",
    llm: "Requests to language models and their tokens.",
    log: "The execution log.",
    model: "Keys and settings of model providers.",
    observability: "What somebody should look at.",
    queue: "Queues that are shared with clients of the database.",
    rag: "The life of documents for retrieval.",
    sparc: "Prompt templates.",
    tool: "Tools: their registry and their calls.",
    vector: "Collections of documents and the search in them.",
    workflow: "Workflow executions.",
}
