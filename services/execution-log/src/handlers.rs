//! One file for each request.

pub(crate) mod get_timeline;
pub(crate) mod get_usage;
pub(crate) mod list_executions;
pub(crate) mod list_running;
