//! The end of a run that answers in a thread.

use muster_contracts::agent::v1::{AgentExecutionRequested, Usage};

use super::Runner;
use crate::Error;
use crate::app::App;
use crate::domain::run::End;
use crate::domain::thread::{Ended, How};
use crate::threads;

impl Runner {
    /// Tells the run's thread, where it has one, how the run ended.
    pub(super) async fn settle(&self, end: &End) -> Result<(), Error> {
        let how = match end {
            End::Completed(_) => How::Answered(self.run.last_word().trim().to_owned()),
            End::Failed(_, error) => How::Failed(error.clone()),
            End::Cancelled => How::Stopped(self.run.said()),
        };
        threads::settle(&self.app, &self.command, Ended { how, usage: self.run.usage() }).await
    }
}

/// Tells the thread of a run whose journal cannot be read or written any more.
pub(super) async fn settle_broken(
    app: &App,
    command: &AgentExecutionRequested,
    error: String,
) -> Result<(), Error> {
    threads::settle(app, command, Ended { how: How::Failed(error), usage: Usage::default() }).await
}
