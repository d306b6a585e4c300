//! What a new version would change for the executions that run.

use muster_contracts::log::v1::ListRunningRequest;
use muster_contracts::workflow::v1::{ExecutionCheck, VersionDifference, WorkflowCheck};
use muster_workflow::{Definition, differences};

use super::History;
use crate::Error;
use crate::domain::state::word;
use crate::executions::Executions;
use crate::externals;

impl Executions {
    /// Compares a document with what every execution of its name that runs has done so far.
    pub(crate) async fn check_version(&self, source: &str) -> Result<WorkflowCheck, Error> {
        let new = Definition::parse(source).map_err(Error::Problems)?;
        let new = externals::pinned(self.bus(), new).await?;
        let default = self.definitions().find(new.name(), "").await?;
        let mut executions = Vec::new();
        let mut request =
            ListRunningRequest { workflow: new.name().to_owned(), ..Default::default() };
        loop {
            let page = self.bus().request(&request).await?;
            for id in &page.execution_ids {
                match self.history(id).await {
                    Ok(history) => executions.extend(checked(&history, &new)),
                    // Its journal is too old to be there: nothing will happen to it any more.
                    Err(Error::UnknownExecution(_)) => {}
                    Err(error) => return Err(error),
                }
            }
            if page.next_after == 0 {
                break;
            }
            request.after = page.next_after;
        }
        Ok(WorkflowCheck {
            name: new.name().to_owned(),
            version: new.version().to_owned(),
            digest: new.digest().to_owned(),
            default_version: default.map(|entry| entry.version).unwrap_or_default(),
            executions,
        })
    }
}

/// Nothing where it has ended: the log is a moment behind.
fn checked(history: &History, new: &Definition) -> Option<ExecutionCheck> {
    let transitions = history.transitions();
    let execution = history.state_at(transitions.len());
    if execution.status().is_ended() {
        return None;
    }
    let own = history.definition();
    let facts = transitions.iter().map(|transition| transition.facts.as_slice());
    let difference = |difference: muster_workflow::Difference| VersionDifference {
        position: difference.position,
        task: difference.task,
        pointer: difference.pointer,
        difference: difference.change.name().to_owned(),
        message: difference.message,
    };
    Some(ExecutionCheck {
        execution_id: history.execution_id().to_owned(),
        version: own.version().to_owned(),
        digest: own.digest().to_owned(),
        status: word(&execution.status()),
        transitions: transitions.len() as u64,
        differences: differences(own, new, facts).into_iter().map(difference).collect(),
    })
}
