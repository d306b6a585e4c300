//! The agent service alone on a real nats-server; model and tools are played by routes of the test.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "test helpers")]

mod cancelled;
mod recovery;
mod runs;
mod world;
