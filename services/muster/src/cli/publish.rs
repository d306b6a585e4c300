//! The arguments of `muster events publish`.

use std::path::PathBuf;

use clap::Args;

use super::Server;

/// An event, from a file or from its parts.
#[derive(Debug, Clone, Args)]
pub(crate) struct Publish {
    /// One event (an object) or several (a list) as CloudEvents 1.0 writes them in JSON; the parts below fill in what an object lacks
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Its type, such as com.example.order.placed
    #[arg(long = "type", value_name = "TYPE", required_unless_present = "file")]
    pub(crate) kind: Option<String>,
    /// Where it comes from, a URI
    #[arg(long, value_name = "URI", default_value = "urn:muster:cli")]
    pub(crate) source: String,
    /// Its id, unique for its source; without it a new one
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// What it is about
    #[arg(long)]
    pub(crate) subject: Option<String>,
    /// Its data, JSON
    #[arg(long, value_name = "JSON")]
    pub(crate) data: Option<String>,
    /// Another attribute; may be repeated
    #[arg(long = "attribute", value_name = "NAME=VALUE")]
    pub(crate) attributes: Vec<String>,
    #[command(flatten)]
    pub(crate) server: Server,
}
