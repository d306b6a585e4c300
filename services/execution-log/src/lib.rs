//! The execution-log service.
