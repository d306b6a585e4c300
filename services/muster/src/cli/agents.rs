//! The arguments of the commands about approvals and agents.

use clap::{Args, Subcommand};

use super::Server;

/// What to do with calls that wait for somebody's approval.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Approvals {
    /// List them, the newest first
    Ls {
        /// pending, approved, rejected or cancelled
        #[arg(long, value_name = "STATUS")]
        status: Option<String>,
        /// Only those of this agent
        #[arg(long, value_name = "NAME")]
        agent: Option<String>,
        #[command(flatten)]
        how: How,
    },
    /// Show one
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        how: How,
    },
    /// Let the call be made; the first decision holds
    Approve {
        /// Its id
        id: String,
        /// Arguments instead of those that the agent wants, as a JSON object
        #[arg(long, value_name = "JSON")]
        arguments: Option<String>,
        #[command(flatten)]
        why: Decided,
    },
    /// Refuse the call; the agent reads why
    Reject {
        /// Its id
        id: String,
        #[command(flatten)]
        why: Decided,
    },
}

/// Who decides and why.
#[derive(Debug, Clone, Args)]
pub(crate) struct Decided {
    /// Who decides
    #[arg(long, default_value = "", value_name = "NAME")]
    pub(crate) by: String,
    /// Why
    #[arg(long, default_value = "", value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) how: How,
}

/// What to do with agents.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Agents {
    /// Say how an agent is
    Status {
        /// The agent
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// Send a message to an agent's inbox
    Send {
        /// The agent
        name: String,
        #[command(flatten)]
        message: Message,
    },
    /// Send a message to all agents
    Broadcast {
        #[command(flatten)]
        message: Message,
    },
}

/// A message.
#[derive(Debug, Clone, Args)]
pub(crate) struct Message {
    /// What it says
    pub(crate) content: String,
    /// Who sends it: a name as an agent has it
    #[arg(long, default_value = "operator", value_name = "NAME")]
    pub(crate) from: String,
    /// What kind of message it is
    #[arg(long = "type", default_value = "", value_name = "TEXT")]
    pub(crate) kind: String,
    #[command(flatten)]
    pub(crate) how: How,
}

/// Where the platform is, and how it is shown.
#[derive(Debug, Clone, Args)]
pub(crate) struct How {
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}
