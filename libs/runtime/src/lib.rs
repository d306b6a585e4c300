//! Muster runtime.
