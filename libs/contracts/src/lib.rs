//! Muster contracts.
