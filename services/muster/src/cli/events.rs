//! The arguments of `muster events`.

use clap::{Args, Subcommand};

use super::Publish;

/// How to read a stream.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Events {
    /// Show what is published from now on (or since a time or a sequence), until Ctrl-C
    Tail(Reading),
    /// Show what the stream has, from its beginning (or since a time or a sequence) to the end that it has now
    Replay(Reading),
    /// Publish an event for every workflow that listens for one like it, through the gateway
    Publish(Publish),
}

/// Which messages, and how they are shown.
#[derive(Debug, Clone, Args)]
pub(crate) struct Reading {
    /// The stream: `muster streams ls` lists them
    #[arg(long, default_value = "EXECUTIONS", value_name = "NAME")]
    pub(crate) stream: String,
    #[command(flatten)]
    pub(crate) part: Part,
}

/// Which part of a stream.
#[derive(Debug, Clone, Args)]
pub(crate) struct Part {
    /// Since: 30s, 15m, 12h or 30d ago, a time such as 2026-01-31T12:00:00Z, or a sequence
    #[arg(long, value_name = "WHEN", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Only these subjects, with NATS's wildcards; may be repeated
    #[arg(long = "subject", visible_alias = "filter", value_name = "PATTERN")]
    pub(crate) subjects: Vec<String>,
    /// One JSON object a line, bodies in full
    #[arg(long)]
    pub(crate) json: bool,
}
