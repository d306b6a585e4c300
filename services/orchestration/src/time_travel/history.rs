//! What happened in an execution, transition by transition.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use muster_contracts::time;
use muster_contracts::workflow::v1::JournalEntry;
use muster_workflow::{Definition, Execution, Fact};

use crate::Error;
use crate::executions::entry;

/// An execution from its beginning. A fork has the transitions of the one that it copied as its own.
#[derive(Debug, Clone)]
pub(crate) struct History {
    execution_id: String,
    definition: Arc<Definition>,
    transitions: Vec<Transition>,
}

/// One input and what followed from it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Transition {
    pub(crate) input_id: String,
    pub(crate) at: DateTime<Utc>,
    pub(crate) facts: Vec<Fact>,
}

impl History {
    pub(crate) fn new(execution_id: &str, definition: Arc<Definition>) -> Self {
        Self { execution_id: execution_id.to_owned(), definition, transitions: Vec::new() }
    }

    /// Adds an entry of the journal.
    pub(crate) fn add(&mut self, mut entry: JournalEntry) -> Result<(), Error> {
        let (input_id, at) = (entry.input_id.clone(), time(entry.at.as_ref()));
        let copied = std::mem::take(&mut entry.copied);
        let mut facts = entry::facts(entry)?;
        for copy in copied {
            let count = facts.len().min(copy.facts as usize);
            let rest = facts.split_off(count);
            self.push(copy.input_id, time(copy.at.as_ref()), std::mem::replace(&mut facts, rest));
        }
        // A part of a fork's beginning has nothing of its own.
        if !facts.is_empty() {
            self.push(input_id, at, facts);
        }
        Ok(())
    }

    pub(super) fn push(&mut self, input_id: String, at: DateTime<Utc>, facts: Vec<Fact>) {
        self.transitions.push(Transition { input_id, at, facts });
    }

    pub(crate) fn execution_id(&self) -> &str {
        &self.execution_id
    }

    pub(crate) fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    pub(crate) fn transitions(&self) -> &[Transition] {
        &self.transitions
    }

    /// How many transitions are meant: 0 are all of them.
    pub(crate) fn position(&self, wanted: u64) -> Result<usize, Error> {
        let there = self.transitions.len();
        match usize::try_from(wanted) {
            Ok(0) => Ok(there),
            Ok(position) if position <= there => Ok(position),
            _ => Err(Error::Position {
                execution: self.execution_id.clone(),
                position: wanted,
                there,
            }),
        }
    }

    /// The facts of the first transitions.
    pub(crate) fn facts_to(&self, position: usize) -> Vec<Fact> {
        let transitions = self.transitions.iter().take(position);
        transitions.flat_map(|transition| transition.facts.iter().cloned()).collect()
    }

    /// The state after the first transitions.
    pub(crate) fn state_at(&self, position: usize) -> Execution {
        let mut execution = Execution::new(&self.execution_id, Arc::clone(&self.definition));
        for transition in self.transitions.iter().take(position) {
            transition.facts.iter().for_each(|fact| execution.apply(fact));
        }
        execution
    }
}
