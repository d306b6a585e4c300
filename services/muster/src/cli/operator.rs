//! The arguments of what an operator does: `muster doctor` and `muster publish`.

use clap::Args;

use super::Server;

/// What is looked at, and how it is told.
#[derive(Debug, Clone, Args)]
pub(crate) struct Doctor {
    /// As JSON: a list of `level` (ok, warn, fail), `what`, `found` and `todo`
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// A message that a person publishes.
#[derive(Debug, Clone, Args)]
pub(crate) struct NewMessage {
    /// Its subject with values in the places of braces, such as agent.critic.status; docs/events.md lists them
    pub(crate) subject: String,
    /// Its body, a JSON object; `-` reads it from standard input
    pub(crate) body: String,
    /// Two messages with the same id are one, for the stream's duplicate window; without it a new one
    #[arg(long)]
    pub(crate) id: Option<String>,
    /// Only say whether the contract allows it
    #[arg(long)]
    pub(crate) check: bool,
    /// As JSON: `subject`, `message`, `stream`, `sequence`, `duplicate` and `id`
    #[arg(long)]
    pub(crate) json: bool,
}
