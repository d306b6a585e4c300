//! The arguments of the commands about prompt templates.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::How;

/// What to do with prompt templates.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Templates {
    /// List them
    Ls {
        #[command(flatten)]
        how: How,
    },
    /// Show one: its variables and its text
    Show {
        /// Its name
        name: String,
        /// A version, by its digest; without it the latest
        #[arg(long, default_value = "", value_name = "DIGEST")]
        version: String,
        #[command(flatten)]
        how: How,
    },
    /// Fill one and print the text
    Render(Rendered),
    /// List the versions of one, the newest first
    Versions {
        /// Its name
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// Remove one; its versions stay, and a built-in one of the same name is back
    Rm {
        /// Its name
        name: String,
        #[command(flatten)]
        how: How,
    },
}

/// A template, and what it is filled with.
#[derive(Debug, Clone, Args)]
pub(crate) struct Rendered {
    /// Its name, such as specification
    pub(crate) name: String,
    /// A value, as NAME=VALUE; what is JSON is taken as JSON, all else as text
    #[arg(long = "var", value_name = "NAME=VALUE")]
    pub(crate) vars: Vec<String>,
    /// Values, as a file with a map in YAML or JSON; `--var` goes before it
    #[arg(long = "vars", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// A version, by its digest; without it the latest
    #[arg(long, default_value = "", value_name = "DIGEST")]
    pub(crate) version: String,
    #[command(flatten)]
    pub(crate) how: How,
}
