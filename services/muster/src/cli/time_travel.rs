//! The arguments of the commands about the past of executions, and about versions of workflows.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Server;

/// What to do with workflows.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Workflows {
    /// Compare a new version with what every execution of the workflow that runs has done so far. Exit code 1 where one would have gone another way
    Check {
        /// A Serverless Workflow document, YAML or JSON; it is not registered
        file: PathBuf,
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
}

/// A state of the past.
#[derive(Debug, Clone, Args)]
pub(crate) struct Replay {
    /// The execution
    pub(crate) id: String,
    /// After so many transitions, from 1; without it after all
    #[arg(long, value_name = "N")]
    pub(crate) at: Option<u64>,
    /// The whole state as JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// What happened.
#[derive(Debug, Clone, Args)]
pub(crate) struct Timeline {
    /// The execution
    pub(crate) id: String,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// A copy that goes on.
#[derive(Debug, Clone, Args)]
pub(crate) struct Fork {
    /// The execution that is copied
    pub(crate) id: String,
    /// Copy so many transitions, from 1; without it all
    #[arg(long, value_name = "N")]
    pub(crate) at: Option<u64>,
    /// JSON that the task in flight gets instead of what the task before it left; it begins again
    #[arg(long, value_name = "JSON")]
    pub(crate) data: Option<String>,
    /// Key of the task that the data is for, where several are in flight
    #[arg(long, value_name = "KEY", requires = "data")]
    pub(crate) task: Option<String>,
    /// JSON that replaces the context; every task in flight begins again
    #[arg(long, value_name = "JSON")]
    pub(crate) context: Option<String>,
    /// A name for this command: a second time it is the same fork
    #[arg(long, value_name = "TEXT")]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// Two executions.
#[derive(Debug, Clone, Args)]
pub(crate) struct Diff {
    /// The one on the left
    pub(crate) left: String,
    /// The one on the right
    pub(crate) right: String,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// A file to write.
#[derive(Debug, Clone, Args)]
pub(crate) struct Export {
    /// The execution
    pub(crate) id: String,
    /// Write it here; without it to standard output
    #[arg(long, short, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// A file to read.
#[derive(Debug, Clone, Args)]
pub(crate) struct Import {
    /// What `export` wrote
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) server: Server,
}
