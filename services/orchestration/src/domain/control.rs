//! What people may want of an execution.

use muster_contracts::workflow::v1::ControlExecution;
use muster_workflow::{Execution, Input, Status};

use super::state::word;
use crate::Error;

/// What a person wants of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Cancel,
    Suspend,
    Resume,
    Retry,
}

impl Action {
    const ALL: [Self; 4] = [Self::Cancel, Self::Suspend, Self::Resume, Self::Retry];

    /// The action of a command.
    pub(crate) fn parse(command: &ControlExecution) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|action| action.name() == command.action);
        found.ok_or_else(|| Error::UnknownAction(command.action.clone()))
    }

    /// The name in the contract.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Retry => "retry",
        }
    }

    /// Whether it is possible while the start is still on its way.
    pub(crate) const fn may_come_first(self) -> bool {
        match self {
            Self::Cancel => true,
            Self::Suspend | Self::Resume | Self::Retry => false,
        }
    }

    /// Why it cannot be done with this execution; nothing where it can.
    pub(crate) fn refusal(self, execution: &Execution) -> Option<String> {
        let status = execution.status();
        let (fits, possible) = match self {
            Self::Cancel => (!status.is_ended(), "only one that has not ended can be cancelled"),
            Self::Suspend => (
                matches!(status, Status::Running | Status::Waiting),
                "only one that is running or waiting can be suspended",
            ),
            Self::Resume => {
                (status == Status::Suspended, "only one that is suspended can be resumed")
            }
            Self::Retry if status == Status::Faulted => (
                execution.is_retriable(),
                "no task of it failed, but the workflow's own input or output; start a new execution",
            ),
            Self::Retry => (false, "only one that is faulted can be retried"),
        };
        let status = word(&status);
        (!fits).then(|| format!("execution {:?} is {status}: {possible}", execution.id()))
    }

    /// The same for the engine.
    pub(crate) fn input(self, reason: &str) -> Input {
        match self {
            Self::Cancel => Input::Cancel { reason: reason.to_owned() },
            Self::Suspend => Input::Suspend { reason: reason.to_owned() },
            Self::Resume => Input::Resume,
            Self::Retry => Input::Retry,
        }
    }
}
