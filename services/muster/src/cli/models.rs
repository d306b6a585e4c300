//! The arguments of the commands about names for models.

use clap::Subcommand;

use super::How;

/// What to do with names for models.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Models {
    /// List them with what they stand for
    Ls {
        #[command(flatten)]
        how: How,
    },
    /// Show one
    Show {
        /// Its name
        name: String,
        #[command(flatten)]
        how: How,
    },
    /// Remove one; where the model service's settings have one of the same name, that one holds again
    Rm {
        /// Its name
        name: String,
        #[command(flatten)]
        how: How,
    },
}
