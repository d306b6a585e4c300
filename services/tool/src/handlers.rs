//! One request or command a file.

pub(crate) mod call_tool;
pub(crate) mod fetch_resource;
pub(crate) mod list_secrets;
pub(crate) mod list_tools;
pub(crate) mod register_tool;
pub(crate) mod requested;
