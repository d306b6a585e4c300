//! The command line.

mod agents;
mod control;
mod deliverables;
mod events;
mod executions;
mod letters;
mod models;
mod operator;
mod publish;
mod templates;
mod time_travel;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(crate) use self::agents::{Agents, Approvals, Decided, How, Message};
pub(crate) use self::control::{Ls, One, Why};
pub(crate) use self::deliverables::{Deliverables, Listed, OtherDemo, Published, TeamDemo, Tokens};
pub(crate) use self::events::{Events, Part};
pub(crate) use self::executions::Executions;
pub(crate) use self::letters::{Chosen, Dlq, Which};
pub(crate) use self::models::Models;
pub(crate) use self::operator::{Doctor, NewMessage};
pub(crate) use self::publish::Publish;
pub(crate) use self::templates::{Rendered, Templates};
pub(crate) use self::time_travel::{Diff, Export, Fork, Import, Replay, Timeline, Workflows};

/// Runs multi-agent workflows as durable events.
#[derive(Debug, Parser)]
#[command(name = "muster", version, about)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the services in this process until SIGTERM or Ctrl-C. Settings come from the environment
    Up {
        /// Only these, separated by commas; all without it
        #[arg(long, value_delimiter = ',', value_name = "NAMES")]
        services: Vec<String>,
    },
    /// Run the example on a document and show what happens; `muster demo deliverables` runs the team of six
    Demo(Demo),
    /// Ask a health endpoint: exit code 0 where it answers 2xx, else 1
    Health {
        /// Such as http://127.0.0.1:8081/readyz
        url: String,
    },
    /// Register the models (models/*.yaml), prompt templates (templates/*.md, templates/*.yaml), tools (tools/*.yaml), agents (agents/*.yaml) and workflows (workflow.yaml, workflows/*.yaml) of a folder; a second time changes nothing
    Apply {
        /// The folder
        #[arg(short = 'f', long = "folder", value_name = "DIR")]
        folder: PathBuf,
        /// Only tell what would be created or changed, with the lines that differ
        #[arg(long)]
        plan: bool,
        /// Refuse a workflow where an execution that runs would have gone another way on its new version; without it what differs is told
        #[arg(long, conflicts_with = "plan")]
        strict: bool,
        /// As JSON: a list of `kind`, `name`, `version`, `file`, `change`, `diff`, and `check` with the executions that would differ
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Look whether settings, NATS, Postgres and models are as the platform needs them, and say what to do where they are not. Exit code 1 where something fails
    Doctor(Doctor),
    /// Publish a message of the contract at NATS_URL as the user `operator`; what the contract does not have is refused
    Publish(NewMessage),
    /// Check workflow documents without a server: every error with its place. Agents are checked where they are registered
    Validate {
        /// Serverless Workflow documents, YAML or JSON
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// As JSON: a list of `file`, `workflow` or `problems` with `pointer`, `message`, `line`, `column`
        #[arg(long)]
        json: bool,
    },
    /// Executions: list, cancel, suspend, resume, retry; their states of the past, copies that go on otherwise, files
    #[command(subcommand)]
    Executions(Executions),
    /// Workflows: what a new version would change
    #[command(subcommand)]
    Workflows(Workflows),
    /// Write what is made from the contract, or check it
    Contracts(Contracts),
    /// Set up and show the streams on the server that NATS_URL names, as the user `operator`
    #[command(subcommand)]
    Streams(Streams),
    /// Deliverables, what agents produced: list, show, store them
    #[command(subcommand)]
    Deliverables(Deliverables),
    /// Tokens: what notices saved
    #[command(subcommand)]
    Tokens(Tokens),
    /// Approvals: calls of agents that wait for somebody: list, show, approve, reject them
    #[command(subcommand)]
    Approvals(Approvals),
    /// Names for models: list, show, remove them; `apply` registers them
    #[command(subcommand)]
    Models(Models),
    /// Prompt templates: list, show, fill, remove them; `apply` registers them
    #[command(subcommand)]
    Templates(Templates),
    /// Agents: say how one is, send messages to one or to all
    #[command(subcommand)]
    Agents(Agents),
    /// Dead letters: messages that their consumers gave up
    #[command(subcommand)]
    Dlq(Dlq),
    /// Read streams again, or as they grow, on the server that NATS_URL names, as the user `operator`
    #[command(subcommand)]
    Events(Events),
    /// The same as `events replay --stream STREAM`
    Replay {
        /// The stream, such as FACTS
        stream: String,
        #[command(flatten)]
        part: Part,
    },
}

/// The documents of the contract.
#[derive(Debug, Clone, Args)]
pub(crate) struct Contracts {
    #[command(subcommand)]
    pub(crate) what: Made,
}

/// What is made from the contract.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Made {
    /// AsyncAPI 3.0, all subjects for tools: asyncapi.yaml
    Asyncapi(Docs),
    /// A JSON Schema 2020-12 for each message: schemas/AREA/MESSAGE.json
    Schemas(Docs),
    /// All messages for people: events.md
    Events(Docs),
    /// All of these
    Write(Docs),
    /// Check names and subjects, who sends and who reads. Exit code 1 where something is wrong
    Lint {
        /// Check these subjects that are to be added, such as billing.invoice.paid; without them the whole contract
        subjects: Vec<String>,
    },
    /// The users of nats-server with their permissions
    NatsAcl {
        /// Write it here (may be given several times); without it to standard output
        #[arg(long = "file", value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Users are known by nkeys instead of passwords
        #[arg(long)]
        nkeys: bool,
        /// Only say whether FILE is as it must be
        #[arg(long, requires = "files")]
        check: bool,
    },
}

/// What to do with streams.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Streams {
    /// Make every stream, bucket and object store as the contract says; tell what changes. A second run changes nothing
    Apply {
        /// Only the streams that this file names, such as examples/feature-team/streams.yaml; what it says of them must be what the contract says
        file: Option<PathBuf>,
        /// Only tell
        #[arg(long)]
        plan: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// List what is on the server
    Ls {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show the settings and the state of one
    Info {
        /// Its name, such as EXECUTIONS
        name: String,
        /// As JSON; times in nanoseconds
        #[arg(long)]
        json: bool,
    },
}

/// Where documents belong.
#[derive(Debug, Clone, Args)]
pub(crate) struct Docs {
    /// The folder
    #[arg(long = "docs", value_name = "DIR", default_value = "docs")]
    pub(crate) folder: PathBuf,
}

/// Where the platform is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Server {
    /// Address of the gateway
    #[arg(
        long,
        env = "MUSTER_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_name = "URL"
    )]
    pub(crate) server: String,
}

#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Demo {
    #[command(subcommand)]
    pub(crate) other: Option<OtherDemo>,
    /// A Markdown or text file of at most 8 MiB; without it the example's own document
    pub(crate) file: Option<PathBuf>,
    /// What the brief should answer; without it the example's own question, or one about the whole document
    #[arg(long)]
    pub(crate) question: Option<String>,
    /// The example's folder; without it examples/research-brief, looked for from here and from this program upwards
    #[arg(long, value_name = "DIR")]
    pub(crate) example: Option<PathBuf>,
    /// Use a platform that runs already, instead of starting one in this process (NATS_URL and DATABASE_URL)
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 900, value_name = "SECONDS")]
    pub(crate) timeout: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
