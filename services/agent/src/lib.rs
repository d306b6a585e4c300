//! The agent service.

mod domain;
