//! Muster testkit.
