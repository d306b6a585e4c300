//! The platform as a whole, on real servers and real processes.
#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "test helpers")]

mod deploy;
