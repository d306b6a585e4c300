//! The vector service.
