//! Muster workflow.
