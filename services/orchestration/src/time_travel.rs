//! The past of executions: their state at any position, how two differ, going on from one as another, and taking one elsewhere.
//!
//! **Invariant: nothing here asks anybody anything.** What happened is in the journal; only a fork goes on, as any execution does.

mod check;
mod diff;
mod file;
mod history;

use std::sync::Arc;

use chrono::Utc;
use muster_bus::{AppendError, Journal, MessageId};
use muster_contracts::workflow::v1::{
    CopiedTransition, ExecutionDiff, ExecutionReplay, ExecutionState, ForkOrigin, JournalEntry,
    StartExecution,
};
use muster_contracts::{Json, JsonObject, now};
use muster_workflow::{Changes, Execution, Fork, weight};

pub(crate) use self::check::Patience;
pub(crate) use self::history::{History, Transition};
use crate::Error;
use crate::domain::state::state;
use crate::executions::{Executions, entry};

/// How often the first entries of a fork may meet those of somebody else.
const TRIES: u32 = 16;
/// Bytes of facts in one entry, roughly: a message has 10 MiB at most.
const PART: u64 = 4 << 20;

impl Executions {
    /// Everything that happened in an execution.
    pub(crate) async fn history(&self, execution_id: &str) -> Result<History, Error> {
        let mut entries = self.journal(execution_id)?.read().await?.into_iter();
        let unknown = || Error::UnknownExecution(execution_id.to_owned());
        let (_, first) = entries.next().ok_or_else(unknown)?;
        let definition = self.definitions().load(&first.digest).await?;
        let mut history = History::new(execution_id, definition);
        history.add(first)?;
        entries.try_for_each(|(_, entry)| history.add(entry))?;
        Ok(history)
    }

    /// The state after so many transitions (0: all), rebuilt from the journal.
    pub(crate) async fn replay(
        &self,
        execution_id: &str,
        position: u64,
    ) -> Result<ExecutionReplay, Error> {
        // First what is in memory: what happens in between is in the journal then, and the hashes are compared again.
        let live = self.hash(execution_id).await?;
        let history = self.history(execution_id).await?;
        let position = history.position(position)?;
        let execution = history.state_at(position);
        let at = history.transitions().get(position.saturating_sub(1));
        let transitions = history.transitions().len();
        let hash = execution.hash();
        let live_hash = match live {
            Some(live) if position == transitions && live != hash => {
                self.hash(execution_id).await?
            }
            live => live.filter(|_| position == transitions),
        };
        Ok(ExecutionReplay {
            execution_id: execution_id.to_owned(),
            position: position as u64,
            transitions: transitions as u64,
            hash,
            live_hash: live_hash.unwrap_or_default(),
            at: at.and_then(|transition| now(transition.at)),
            context: Some(Json(execution.context().clone())),
            state: Some(state(&execution)),
        })
    }

    async fn hash(&self, execution_id: &str) -> Result<Option<String>, Error> {
        self.look(execution_id, |execution| execution.map(Execution::hash)).await
    }

    /// What two executions did differently.
    pub(crate) async fn diff(&self, left: &str, right: &str) -> Result<ExecutionDiff, Error> {
        let (left, right) = tokio::try_join!(self.history(left), self.history(right))?;
        Ok(diff::diff(&left, &right))
    }

    /// Begins an execution as a copy of another, once.
    ///
    /// # Errors
    /// [`Error::UnknownExecution`], [`Error::Position`], [`Error::Fork`], and [`Error::ExecutionTaken`] where another one has the id.
    pub(crate) async fn fork(
        &self,
        new_id: &str,
        mut origin: ForkOrigin,
    ) -> Result<ExecutionState, Error> {
        if let Some(state) = self.fork_that_is_there(new_id, &origin).await? {
            return Ok(state);
        }
        let history = self.history(&origin.execution_id).await?;
        origin.position = history.position(origin.position)? as u64;
        history.fork(new_id, origin.position, &changes(origin.set.as_ref())?)?;
        let definition = history.definition();
        let command = StartExecution {
            execution_id: new_id.to_owned(),
            workflow: definition.name().to_owned(),
            version: definition.version().to_owned(),
            digest: definition.digest().to_owned(),
            fork: Some(origin.clone()),
            ..Default::default()
        };
        let id = fork_id(new_id, &origin);
        // First the command: where this process ends between the journal and its effects, another one goes on.
        self.bus().publish(&command, &id).await?;
        if !self.begin_fork(new_id, &origin, id.as_str()).await? {
            return Err(Error::ExecutionTaken(new_id.to_owned()));
        }
        self.state(new_id).await
    }

    /// The execution with this id, where it is that very fork.
    async fn fork_that_is_there(
        &self,
        new_id: &str,
        origin: &ForkOrigin,
    ) -> Result<Option<ExecutionState>, Error> {
        let Some(there) = self.look(new_id, |execution| execution.map(state)).await? else {
            return Ok(None);
        };
        let taken = || Error::ExecutionTaken(new_id.to_owned());
        let position = there.fork.as_ref().ok_or_else(taken)?.position;
        // Without a position the first request said what is meant.
        if origin.position != 0 && origin.position != position {
            return Err(taken());
        }
        let origin = ForkOrigin { position, ..origin.clone() };
        let input_id = fork_id(new_id, &origin);
        if self.publish_of(new_id, input_id.as_str()).await? {
            Ok(Some(there))
        } else {
            Err(taken())
        }
    }

    /// Appends the first entry of a fork and publishes what follows from it; a second time changes nothing. False where
    /// another execution has the id.
    pub(crate) async fn begin_fork(
        &self,
        new_id: &str,
        origin: &ForkOrigin,
        input_id: &str,
    ) -> Result<bool, Error> {
        if self.publish_of(new_id, input_id).await? {
            return Ok(true);
        }
        let journal = self.journal(new_id)?;
        let history = self.history(&origin.execution_id).await?;
        let entries = history.forked_entries(new_id, origin, input_id)?;
        for _ in 0..TRIES {
            let there = journal.read().await?;
            let same =
                there.iter().zip(&entries).all(|((_, one), other)| one.input_id == other.input_id);
            if !same || there.len() >= entries.len() {
                return self.publish_of(new_id, input_id).await;
            }
            let last = there.last().map_or(0, |(sequence, _)| *sequence);
            if append_all(&journal, last, entries.iter().skip(there.len())).await? {
                return self.publish_of(new_id, input_id).await;
            }
        }
        Err(Error::Busy(new_id.to_owned()))
    }
}

/// Appends entries one behind the other; false where somebody else appends.
async fn append_all(
    journal: &Journal<JournalEntry>,
    mut last: u64,
    entries: impl Iterator<Item = &JournalEntry>,
) -> Result<bool, Error> {
    for entry in entries {
        let id = MessageId::derived(["journal", &entry.execution_id, &entry.input_id]);
        last = match journal.append(entry, last, &id).await {
            Ok(sequence) => sequence,
            Err(AppendError::Conflict) => return Ok(false),
            Err(AppendError::Fault(fault)) => return Err(fault.into()),
        };
    }
    Ok(true)
}

/// The same fork has the same id, whoever asks for it and however often.
fn fork_id(new_id: &str, origin: &ForkOrigin) -> MessageId {
    let set = origin.set.clone().map(|set| set.into_value().to_string()).unwrap_or_default();
    MessageId::derived(["fork", new_id, &origin.execution_id, &origin.position.to_string(), &set])
}

fn changes(set: Option<&JsonObject>) -> Result<Changes, Error> {
    let Some(set) = set else { return Ok(Changes::default()) };
    serde_json::from_value(set.clone().into_value()).map_err(|error| {
        Error::Changes(format!("`set` may have `context`, `data` and `task`: {error}"))
    })
}

impl History {
    /// The state of a fork and the facts that follow the copied ones.
    fn fork(
        &self,
        new_id: &str,
        position: u64,
        changes: &Changes,
    ) -> Result<(Execution, Vec<muster_workflow::Fact>), Error> {
        let position = self.position(position)?;
        let copied = self.facts_to(position);
        let last = self.transitions().get(position.saturating_sub(1));
        let fork = Fork {
            origin: self.execution_id(),
            position: position as u64,
            copied: &copied,
            at: last.map_or_else(Utc::now, |transition| transition.at),
            changes,
        };
        Execution::forked(new_id, Arc::clone(self.definition()), &fork, Utc::now())
            .map_err(Error::Fork)
    }

    /// The first entries of a fork: the copied transitions, and with the last of them what follows of its own. Mostly one
    /// entry; several where one would be too large for a message.
    fn forked_entries(
        &self,
        new_id: &str,
        origin: &ForkOrigin,
        input_id: &str,
    ) -> Result<Vec<JournalEntry>, Error> {
        let (execution, own) =
            self.fork(new_id, origin.position, &changes(origin.set.as_ref())?)?;
        let position = self.position(origin.position)?;
        let mut entries = Vec::new();
        let mut copied = Vec::new();
        let mut facts = Vec::new();
        let mut bytes = 0;
        for transition in self.transitions().iter().take(position) {
            let more: u64 = transition.facts.iter().map(weight).sum();
            if bytes > 0 && bytes + more > PART {
                let part = format!("{input_id}/{}", entries.len());
                let entry = entry::entry(&execution, &part, &std::mem::take(&mut facts))?;
                entries.push(JournalEntry { copied: std::mem::take(&mut copied), ..entry });
                bytes = 0;
            }
            bytes += more;
            facts.extend(transition.facts.iter().cloned());
            copied.push(CopiedTransition {
                input_id: transition.input_id.clone(),
                at: now(transition.at),
                facts: u32::try_from(transition.facts.len()).unwrap_or(u32::MAX),
            });
        }
        facts.extend(own);
        entries.push(JournalEntry { copied, ..entry::entry(&execution, input_id, &facts)? });
        Ok(entries)
    }
}
