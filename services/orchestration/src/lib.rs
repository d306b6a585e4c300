//! The orchestration service.
