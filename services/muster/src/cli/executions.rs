//! The arguments of `muster executions`.

use clap::Subcommand;

use super::time_travel::{Diff, Export, Fork, Import, Replay, Timeline};

/// What to do with executions.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Executions {
    /// Rebuild the state from the journal, as it was at any transition, and compare its hash with that of the state in memory
    Replay(Replay),
    /// Tell what happened, transition by transition
    Timeline(Timeline),
    /// Begin a new execution as a copy of this one up to a transition, with changed data if that is wanted
    Fork(Fork),
    /// Show what two executions did differently: where they part, and how each run of a task ended. The right one has the signs `+`
    Diff(Diff),
    /// Write everything that an execution is made of as one file
    Export(Export),
    /// Bring an exported execution back, here or on another platform
    Import(Import),
}
