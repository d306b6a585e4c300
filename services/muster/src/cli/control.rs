//! The arguments of the commands that list, show and steer executions.

use clap::Args;

use super::Server;

/// Which executions are listed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Ls {
    /// How they stand: running, waiting, suspended, completed, faulted or cancelled
    #[arg(long, value_name = "STATUS")]
    pub(crate) status: Option<String>,
    /// The workflow's name
    #[arg(long, value_name = "NAME")]
    pub(crate) workflow: Option<String>,
    /// Begun since: 30s, 15m, 12h or 30d ago, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<String>,
    /// Begun before that
    #[arg(long, value_name = "TIME")]
    pub(crate) until: Option<String>,
    /// How many at most
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// One execution.
#[derive(Debug, Clone, Args)]
pub(crate) struct One {
    /// Its id
    pub(crate) id: String,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// One execution, and why.
#[derive(Debug, Clone, Args)]
pub(crate) struct Why {
    #[command(flatten)]
    pub(crate) one: One,
    /// Who wants it and why, for those who read of it later
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(crate) reason: String,
}
