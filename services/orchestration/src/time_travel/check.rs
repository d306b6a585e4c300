//! What a new version would change for the executions that run.
//!
//! What each of them has recorded is replayed on the new document, with the recorded answers, events and times: nobody is asked anything.

use std::sync::Arc;
use std::time::{Duration, Instant};

use muster_contracts::log::v1::ListRunningRequest;
use muster_contracts::workflow::v1::{ExecutionCheck, VersionDifference, WorkflowCheck};
use muster_workflow::{Decision, Definition, Difference, Replayed, differences, replayed};

use super::History;
use crate::Error;
use crate::domain::state::word;
use crate::executions::Executions;
use crate::externals;

/// Executions that are checked, at most; those that began first come first.
const MOST: u64 = 1_000;

/// How long a check may take.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// How long is checked.
    checking: Duration,
    /// How long, from the beginning, those are counted that are not checked any more.
    counting: Duration,
}

impl Patience {
    /// Of somebody who asks for the check.
    pub(crate) const ASKED: Self =
        Self { checking: Duration::from_secs(15), counting: Duration::from_secs(20) };
    /// Of somebody who registers a version, which is to be done soon.
    pub(crate) const BRIEF: Self =
        Self { checking: Duration::from_secs(5), counting: Duration::from_secs(6) };
}

/// How far a check has come.
struct Checked {
    executions: Vec<ExecutionCheck>,
    unchecked: u64,
    began: Instant,
    patience: Patience,
}

impl Checked {
    /// When nothing is checked any more.
    fn until(&self) -> Instant {
        self.began + self.patience.checking
    }
}

impl Executions {
    /// Replays what every execution of a document's name that runs has done so far on that document.
    pub(crate) async fn check_version(&self, source: &str) -> Result<WorkflowCheck, Error> {
        let new = Definition::parse(source).map_err(Error::Problems)?;
        let new = Arc::new(externals::pinned(self.bus(), new).await?);
        self.check_definition(&new, Patience::ASKED).await
    }

    /// The same of a definition that stands as it would be registered.
    pub(crate) async fn check_definition(
        &self,
        new: &Arc<Definition>,
        patience: Patience,
    ) -> Result<WorkflowCheck, Error> {
        let default = self.definitions().find(new.name(), "").await?;
        let (executions, began) = (Vec::new(), Instant::now());
        let mut done = Checked { executions, unchecked: 0, began, patience };
        let mut request =
            ListRunningRequest { workflow: new.name().to_owned(), ..Default::default() };
        loop {
            let page = self.bus().request(&request).await?;
            for id in &page.execution_ids {
                self.check_one(id, new, &mut done).await?;
            }
            if page.next_after == 0 || done.began.elapsed() > patience.counting {
                break;
            }
            request.after = page.next_after;
        }
        Ok(WorkflowCheck {
            name: new.name().to_owned(),
            version: new.version().to_owned(),
            digest: new.digest().to_owned(),
            default_version: default.map(|entry| entry.version).unwrap_or_default(),
            checked: done.executions.len() as u64,
            unchecked: done.unchecked,
            executions: done.executions,
            failure: String::new(),
        })
    }

    async fn check_one(
        &self,
        id: &str,
        new: &Arc<Definition>,
        done: &mut Checked,
    ) -> Result<(), Error> {
        if done.executions.len() as u64 >= MOST || Instant::now() > done.until() {
            done.unchecked += 1;
            return Ok(());
        }
        let history = match self.history(id).await {
            Ok(history) => history,
            // Its journal is too old to be there: nothing will happen to it any more.
            Err(Error::UnknownExecution(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let (new, until) = (Arc::clone(new), done.until());
        // A long history takes some time of a processor, which is not this thread's.
        let checked = tokio::task::spawn_blocking(move || checked(&history, &new, until));
        match checked.await {
            Ok(Outcome::Ended) => {}
            Ok(Outcome::Checked(check)) => done.executions.push(check),
            Ok(Outcome::Unfinished) => done.unchecked += 1,
            Err(error) => return Err(Error::Damaged(format!("execution {id:?}: {error}"))),
        }
        Ok(())
    }
}

enum Outcome {
    /// It does not run any more: the log is a moment behind.
    Ended,
    Checked(ExecutionCheck),
    /// There was no time for all of it.
    Unfinished,
}

fn checked(history: &History, new: &Arc<Definition>, until: Instant) -> Outcome {
    let transitions = history.transitions();
    let execution = history.state_at(transitions.len());
    if execution.status().is_ended() {
        return Outcome::Ended;
    }
    let own = history.definition();
    let recorded =
        transitions.iter().map(|transition| (transition.at, transition.facts.as_slice()));
    let goes_on = || Instant::now() < until;
    let facts = transitions.iter().map(|transition| transition.facts.as_slice());
    let documents = || differences(own, new, facts).into_iter().map(difference);
    let differences = match replayed(history.execution_id(), (own, new), recorded, &goes_on) {
        Replayed::Same => Vec::new(),
        // First what decides; how the documents differ may explain it.
        Replayed::Differs(first) => [decision(first)].into_iter().chain(documents()).collect(),
        Replayed::Unclear => documents().collect(),
        Replayed::Unfinished => return Outcome::Unfinished,
    };
    Outcome::Checked(ExecutionCheck {
        execution_id: history.execution_id().to_owned(),
        version: own.version().to_owned(),
        digest: own.digest().to_owned(),
        status: word(&execution.status()),
        transitions: transitions.len() as u64,
        differences,
    })
}

fn decision(decision: Decision) -> VersionDifference {
    let says = |words: &str| if words.is_empty() { "nothing" } else { words }.to_owned();
    let (old, new) = (says(&decision.old), says(&decision.new));
    VersionDifference {
        position: decision.position,
        task: decision.task,
        pointer: decision.pointer,
        difference: "decision".to_owned(),
        message: format!("decided: {old}; there: {new}"),
        old_decision: decision.old,
        new_decision: decision.new,
    }
}

fn difference(difference: Difference) -> VersionDifference {
    VersionDifference {
        position: difference.position,
        task: difference.task,
        pointer: difference.pointer,
        difference: difference.change.name().to_owned(),
        message: difference.message,
        ..Default::default()
    }
}
