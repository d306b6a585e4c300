//! The arguments of `muster executions`.

use clap::Subcommand;

use super::control::{Ls, One, Why};
use super::time_travel::{Diff, Export, Fork, Import, Replay, Timeline};

/// What to do with executions.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Executions {
    /// List them, those that began last first
    Ls(Ls),
    /// Show one: how it stands, what came out, and its tasks
    Get(One),
    /// End one that has not ended. What runs for it is stopped: agents, their questions to models, tools, HTTP requests
    Cancel(Why),
    /// Let one stand still: no task begins any more, and what ends meanwhile counts when it is resumed
    Suspend(Why),
    /// Let a suspended one go on
    Resume(One),
    /// Let a faulted one go on from the task that failed; what completed stays done
    Retry(One),
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
