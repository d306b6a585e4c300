//! Muster bus.
