//! The muster binary.
