//! The agent service alone on a real nats-server; model and tools are played by routes of the test.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

mod approvals;
mod cancelled;
mod definitions;
mod engine;
mod full_disk;
mod many_tools;
mod memory;
mod parts;
mod presence;
mod recovery;
mod runs;
mod teams;
mod threads;
mod world;
