//! The tool service.
