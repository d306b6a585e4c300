//! What people want of an execution: whether it may be, and doing it.

use muster_bus::Delivery;
use muster_contracts::workflow::v1::{ControlExecution, StartExecution};
use muster_workflow::{Fact, Input};

use super::Executions;
use super::entry::facts;
use crate::Error;
use crate::domain::control::Action;

impl Executions {
    /// Whether this may be done now.
    ///
    /// # Errors
    /// [`Error::UnknownExecution`], or [`Error::WrongState`] with the status that it has.
    pub(crate) async fn check(
        &self,
        action: Action,
        command: &ControlExecution,
    ) -> Result<(), Error> {
        let refusal = |execution: Option<&_>| execution.map(|it| action.refusal(it));
        match self.look(&command.execution_id, refusal).await? {
            None if let Some(letter) = self.unstarted().letter(&command.execution_id).await? => {
                Err(Error::WrongState(unstarted(&command.execution_id, letter)))
            }
            None if begins(action, command) => Ok(()),
            None => Err(Error::UnknownExecution(command.execution_id.clone())),
            Some(None) => Ok(()),
            Some(Some(refusal)) => Err(Error::WrongState(refusal)),
        }
    }

    /// Does it, once for each id of a command. What does not fit any more changes nothing.
    pub(crate) async fn control(
        &self,
        command: &ControlExecution,
        input_id: &str,
    ) -> Result<(), Error> {
        let action = Action::parse(command)?;
        // Of one that has not begun the command says what it would be.
        let start = StartExecution {
            execution_id: command.execution_id.clone(),
            digest: command.digest.clone(),
            ..Default::default()
        };
        let start = begins(action, command).then_some(&start);
        let input = match action.input(&command.reason) {
            Input::Retry => Box::pin(self.retry_of(&command.execution_id, false)).await?,
            input => input,
        };
        self.advance(&command.execution_id, input_id, &input, start).await
    }

    /// Whether somebody has steered the execution in another way since this command, which was not done then: it comes too late.
    pub(crate) async fn is_overtaken(
        &self,
        command: &Delivery<ControlExecution>,
    ) -> Result<bool, Error> {
        let journal = self.journal(&command.execution_id)?;
        let mut overtaken = false;
        for (_sequence, entry) in journal.read_after(command.sequence).await? {
            if entry.input_id == command.id {
                return Ok(false);
            }
            overtaken |= facts(entry)?.iter().any(steers);
        }
        Ok(overtaken)
    }

    /// Whether the answer of a task's call is still waited for. Nobody has cancelled what is not there.
    pub(crate) async fn wants(&self, execution_id: &str, task: &str) -> Result<bool, Error> {
        self.look(execution_id, |execution| execution.is_none_or(|it| it.is_waiting_for(task)))
            .await
    }
}

/// Why nothing can be done with an execution that never began.
fn unstarted(execution_id: &str, letter: u64) -> String {
    format!(
        "execution {execution_id:?} is faulted: it has not begun, its start is the dead letter {letter}; a replay of the letter starts it"
    )
}

/// Whether a fact comes of a command.
fn steers(fact: &Fact) -> bool {
    matches!(
        fact,
        Fact::ExecutionSuspended { .. }
            | Fact::ExecutionResumed { .. }
            | Fact::ExecutionRetried { .. }
            | Fact::ExecutionCancelled { .. }
    )
}

/// Whether a command may be the first that an execution hears of.
fn begins(action: Action, command: &ControlExecution) -> bool {
    action.may_come_first() && !command.digest.is_empty()
}
