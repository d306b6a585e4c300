//! The arguments of the commands about deliverables, and about the tokens that they save.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Server;

/// What to do with deliverables.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Deliverables {
    /// List them, oldest first, without their contents
    Ls(Listed),
    /// Show one: its text on standard output
    Get {
        /// Its address, such as deliverables/researcher/report/e1-r1 or deliverables/agog/roy/backend/csv-export@7
        address: String,
        /// Only its notice, of at most 200 tokens
        #[arg(long)]
        notice: bool,
        /// Everything about it, as JSON
        #[arg(long, conflicts_with = "notice")]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Store a file as one. The same file at the same address is stored once
    Publish(Published),
}

/// Which deliverables are listed.
#[derive(Debug, Clone, Args)]
pub(crate) struct Listed {
    /// `agog`: those of the example team; without it all others
    #[arg(long, value_name = "TEAM")]
    pub(crate) team: Option<String>,
    /// Who produced them
    #[arg(long, value_name = "NAME")]
    pub(crate) agent: Option<String>,
    /// What kind of thing they are
    #[arg(long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<String>,
    /// What they are about
    #[arg(long, value_name = "FEATURE")]
    pub(crate) feature: Option<String>,
    /// The execution that they belong to
    #[arg(long, value_name = "ID")]
    pub(crate) execution: Option<String>,
    /// Every version, not only the newest of each address
    #[arg(long)]
    pub(crate) versions: bool,
    /// How many at most
    #[arg(long, default_value_t = 100, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// A file that becomes a deliverable.
#[derive(Debug, Clone, Args)]
pub(crate) struct Published {
    /// Its address, such as deliverables/me/report/csv-export
    pub(crate) address: String,
    /// A text of at most 10,000,000 bytes
    pub(crate) file: PathBuf,
    /// The execution that it belongs to
    #[arg(long, value_name = "ID")]
    pub(crate) execution: Option<String>,
    /// A name for this command: a second time it is the same deliverable
    #[arg(long, value_name = "TEXT")]
    pub(crate) key: Option<String>,
    /// As JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) server: Server,
}

/// What to tell about tokens.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Tokens {
    /// What notices saved an execution: for each agent what pasting would have cost, what the notices cost, what was fetched after all, and what stayed where it is
    Report {
        /// The execution
        id: String,
        /// Exit code 1 where less than this part was saved, in per cent
        #[arg(long, value_name = "PERCENT")]
        at_least: Option<f64>,
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
}

/// The demos beside the one of the research brief.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum OtherDemo {
    /// Run the team of six agents on the description of a feature, and prove what its notices save. Exit code 1 where that is less than 95 per cent
    Deliverables(TeamDemo),
}

/// How to run the team of six.
#[derive(Debug, Clone, Args)]
pub(crate) struct TeamDemo {
    /// The description, a Markdown or text file; without it the example's own
    pub(crate) file: Option<PathBuf>,
    /// The feature's short name; without it csv-export, or the file's name
    #[arg(long, value_name = "NAME")]
    pub(crate) feature: Option<String>,
    /// The example's folder; without it examples/feature-team, looked for from here and from this program upwards
    #[arg(long, value_name = "DIR")]
    pub(crate) example: Option<PathBuf>,
    /// Use a platform that runs already, instead of starting one in this process (NATS_URL and DATABASE_URL)
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub(crate) timeout: u64,
    /// The least that must be saved, in per cent
    #[arg(long, default_value_t = 95.0, value_name = "PERCENT")]
    pub(crate) at_least: f64,
}
