//! The arguments of `muster dlq`.

use clap::{Args, Subcommand};

use super::Server;

/// What to do with dead letters.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Dlq {
    /// List them, oldest first
    Ls {
        #[command(flatten)]
        chosen: Chosen,
        /// How many at most, 1 to 1000
        #[arg(long, default_value_t = 100, value_name = "N", allow_negative_numbers = true, value_parser = up_to_1000)]
        limit: u16,
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Show one with the headers and the body of its message
    Show {
        /// Its sequence, as `dlq ls` lists it
        #[arg(allow_negative_numbers = true, value_parser = sequence)]
        sequence: u64,
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Have messages handled again, under their original ids, by the consumers that gave them up. Exit code 1 where one is given up again
    Replay {
        #[command(flatten)]
        which: Which,
        /// How many begin within a second, 1 to 1000
        #[arg(long, default_value_t = 50, value_name = "N", allow_negative_numbers = true, value_parser = up_to_1000)]
        rate: u16,
        /// As JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Remove them: their messages are not handled any more
    Purge {
        #[command(flatten)]
        which: Which,
        /// Do not ask: without it, what fits is only counted
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        server: Server,
    },
}

/// Letters by their sequences, or by what they are.
#[derive(Debug, Clone, Args)]
pub(crate) struct Which {
    /// Their sequences, as `dlq ls` lists them
    #[arg(allow_negative_numbers = true, value_parser = sequence, conflicts_with_all = ["all", "stream", "consumer", "code", "message_type", "execution", "since", "until"])]
    pub(crate) sequences: Vec<u64>,
    /// Every letter
    #[arg(long, conflicts_with_all = ["stream", "consumer", "code", "message_type", "execution", "since", "until"])]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) chosen: Chosen,
}

/// Letters that fit everything that is said.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Chosen {
    /// The stream of the message
    #[arg(long, value_name = "NAME")]
    pub(crate) stream: Option<String>,
    /// The consumer that gave it up
    #[arg(long, value_name = "NAME")]
    pub(crate) consumer: Option<String>,
    /// The code, such as INVALID or MAX_DELIVERIES
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// The message's type: its full name, or the last part of it
    #[arg(long = "type", value_name = "NAME")]
    pub(crate) message_type: Option<String>,
    /// The execution that the message belongs to
    #[arg(long, value_name = "ID")]
    pub(crate) execution: Option<String>,
    /// Written since: 30s, 15m, 12h or 30d ago, or a time such as 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) since: Option<String>,
    /// Written before that
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    pub(crate) until: Option<String>,
}

fn sequence(text: &str) -> Result<u64, String> {
    let good = text.parse().ok().filter(|sequence| *sequence > 0);
    good.ok_or_else(|| "it must be a number from 1 on, as `muster dlq ls` lists it".to_owned())
}

fn up_to_1000(text: &str) -> Result<u16, String> {
    let good = text.parse().ok().filter(|number| (1..=1000).contains(number));
    good.ok_or_else(|| "it must be a number from 1 to 1000".to_owned())
}
