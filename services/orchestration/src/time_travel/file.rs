//! One execution as a file: everything that it is made of, to be looked at or brought back elsewhere.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use muster_bus::{AppendError, MessageId};
use muster_contracts::workflow::v1::{ExecutionState, JournalEntry};
use muster_contracts::{JsonObject, now, time};
use muster_workflow::{Definition, Fact};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::History;
use crate::Error;
use crate::domain::state::{state, word};
use crate::executions::{Executions, entry};

/// The form of the file. What is only added keeps it; anything else is another one.
const FORMAT: &str = "muster-execution/1";
/// Bytes of the id of an input.
const INPUT_ID: usize = 1024;

/// The file.
#[derive(Serialize, Deserialize)]
struct File {
    format: String,
    execution_id: String,
    workflow: String,
    version: String,
    /// Of the definition.
    digest: String,
    status: String,
    /// Of the state that the transitions give.
    hash: String,
    definition: Value,
    transitions: Vec<Step>,
}

/// A transition.
#[derive(Serialize, Deserialize)]
struct Step {
    position: u64,
    input_id: String,
    at: DateTime<Utc>,
    facts: Vec<Fact>,
}

/// An execution that was brought back.
pub(crate) struct Imported {
    pub(crate) state: ExecutionState,
    /// False where the same one was there already.
    pub(crate) created: bool,
}

impl Executions {
    /// Everything that an execution is made of.
    pub(crate) async fn export(&self, execution_id: &str) -> Result<JsonObject, Error> {
        let history = self.history(execution_id).await?;
        let execution = history.state_at(history.transitions().len());
        let definition = history.definition();
        let step = |(index, transition): (usize, &super::Transition)| Step {
            position: index as u64 + 1,
            input_id: transition.input_id.clone(),
            at: transition.at,
            facts: transition.facts.clone(),
        };
        let file = File {
            format: FORMAT.to_owned(),
            execution_id: execution_id.to_owned(),
            workflow: definition.name().to_owned(),
            version: definition.version().to_owned(),
            digest: definition.digest().to_owned(),
            status: word(&execution.status()),
            hash: execution.hash(),
            definition: definition.document().clone(),
            transitions: history.transitions().iter().enumerate().map(step).collect(),
        };
        let file = serde_json::to_value(file)
            .map_err(|error| Error::Damaged(format!("the execution cannot be written: {error}")))?;
        Ok(JsonObject::wrap(file))
    }

    /// Brings an exported execution back as it was. What was in flight is not asked for again: a fork of it goes on.
    ///
    /// # Errors
    /// [`Error::File`] where the file is damaged, [`Error::ExecutionTaken`] where an execution with other contents has its id.
    pub(crate) async fn import(&self, file: JsonObject) -> Result<Imported, Error> {
        let (file, history) = read(file)?;
        let journal = self.journal(&file.execution_id)?;
        let there = journal.read().await?;
        let mut known = History::new(&file.execution_id, Arc::clone(history.definition()));
        for (_, entry) in &there {
            if entry.digest != file.digest {
                return Err(Error::ExecutionTaken(file.execution_id));
            }
            known.add(entry.clone())?;
        }
        // An import that ended in the middle is taken up where it ended.
        let begun = known.transitions().len();
        if history.transitions().get(..begun) != Some(known.transitions()) {
            return Err(Error::ExecutionTaken(file.execution_id));
        }
        self.definitions().keep(history.definition()).await?;
        let mut last = there.last().map_or(0, |(sequence, _)| *sequence);
        let execution = history.state_at(history.transitions().len());
        for transition in history.transitions().iter().skip(begun) {
            let entry = entry::entry(&execution, &transition.input_id, &transition.facts)?;
            let entry = JournalEntry { at: now(transition.at), ..entry };
            let id = MessageId::derived(["import", &file.execution_id, &transition.input_id]);
            last = match journal.append(&entry, last, &id).await {
                Ok(sequence) => sequence,
                Err(AppendError::Conflict) => return Err(Error::Busy(file.execution_id)),
                Err(AppendError::Fault(fault)) => return Err(fault.into()),
            };
        }
        Ok(Imported { state: state(&execution), created: begun < history.transitions().len() })
    }
}

/// The file and its history, where it says of itself what is true.
fn read(file: JsonObject) -> Result<(File, History), Error> {
    let format = file.get("format").cloned().unwrap_or_default();
    if format != FORMAT {
        return Err(Error::File(format!("`format` is {format}, but it must be {FORMAT:?}")));
    }
    let file: File = serde_json::from_value(file.into_value())
        .map_err(|error| Error::File(format!("it cannot be read: {error}")))?;
    let definition = Definition::from_json(file.definition.clone())
        .map_err(|problems| Error::File(format!("its definition cannot run: {problems}")))?;
    let differs = |what: &str, said: &str, is: &str| {
        Err(Error::File(format!(
            "its `{what}` is {said:?}, but what is in it has {is:?}: it was changed or cut"
        )))
    };
    if definition.digest() != file.digest {
        return differs("digest", &file.digest, definition.digest());
    }
    check(&file.transitions)?;
    let mut history = History::new(&file.execution_id, Arc::new(definition));
    for step in &file.transitions {
        // As the journal keeps it: what is compared later has been there.
        let at = time(now(step.at).as_ref());
        history.push(step.input_id.clone(), at, step.facts.clone());
    }
    let hash = history.state_at(history.transitions().len()).hash();
    if hash != file.hash {
        return differs("hash", &file.hash, &hash);
    }
    Ok((file, history))
}

/// Whether a journal could be like that: what it could not take would end an import in the middle.
fn check(steps: &[Step]) -> Result<(), Error> {
    if steps.is_empty() {
        return Err(Error::File("it has no `transitions`".to_owned()));
    }
    let mut known = HashSet::new();
    for (step, number) in steps.iter().zip(1_u64..) {
        let bytes = step.input_id.len();
        let problem = if !(1..=INPUT_ID).contains(&bytes) {
            format!(
                "the `input_id` of transition {number} has {bytes} bytes, but must have 1 to {INPUT_ID}"
            )
        } else if !known.insert(&step.input_id) {
            format!("the `input_id` of transition {number} is that of an earlier one")
        } else if step.facts.is_empty() {
            format!("transition {number} has no `facts`")
        } else {
            continue;
        };
        return Err(Error::File(problem));
    }
    Ok(())
}

/// The file as a message has it.
impl From<Imported> for muster_contracts::workflow::v1::ImportedExecution {
    fn from(imported: Imported) -> Self {
        Self { state: Some(imported.state), created: imported.created }
    }
}
