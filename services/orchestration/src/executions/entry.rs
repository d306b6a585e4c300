//! Entries of a journal.

use chrono::Utc;
use muster_contracts::workflow::v1::JournalEntry;
use muster_contracts::{
    Addressed, Durable, Journal, Json, Kind, Message, Stream, SubjectError, now,
};
use muster_workflow::{Execution, Fact};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::domain::state::word;

/// An entry that is about to be written. Its facts go into its text as they are: by way of JSON values they would cost more than deciding them.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Written {
    #[serde(flatten)]
    entry: JournalEntry,
    pub(super) facts: Vec<Fact>,
}

impl Written {
    /// The entry that says these facts of an execution.
    pub(super) fn new(execution: &Execution, input_id: &str, facts: Vec<Fact>) -> Self {
        Self { entry: without_facts(execution, input_id), facts }
    }
}

impl Message for Written {
    const NAME: &'static str = JournalEntry::NAME;
    const SEALED: &'static [&'static str] = JournalEntry::SEALED;

    fn missing(&self) -> Option<String> {
        self.entry.missing()
    }

    fn execution_id(&self) -> &str {
        &self.entry.execution_id
    }
}

impl Addressed for Written {
    const SUBJECT: &'static str = JournalEntry::SUBJECT;
    const ALIAS: &'static str = JournalEntry::ALIAS;

    fn subject(&self) -> Result<String, SubjectError> {
        self.entry.subject()
    }

    fn take_from_subject(&mut self, subject: &str) {
        self.entry.take_from_subject(subject);
    }
}

impl Durable for Written {
    const STREAMS: &'static [Stream] = JournalEntry::STREAMS;
    const KIND: Kind = JournalEntry::KIND;
    const VERSION: u32 = JournalEntry::VERSION;
}

impl Journal for Written {}

/// The entry that says these facts of an execution.
pub(crate) fn entry(
    execution: &Execution,
    input_id: &str,
    facts: &[Fact],
) -> Result<JournalEntry, Error> {
    let facts =
        facts.iter().map(|fact| serde_json::to_value(fact).map(Json)).collect::<Result<_, _>>();
    let facts =
        facts.map_err(|error| Error::Damaged(format!("a fact cannot be written: {error}")))?;
    Ok(JournalEntry { facts, ..without_facts(execution, input_id) })
}

fn without_facts(execution: &Execution, input_id: &str) -> JournalEntry {
    let definition = execution.definition();
    JournalEntry {
        execution_id: execution.id().to_owned(),
        input_id: input_id.to_owned(),
        at: now(Utc::now()),
        workflow: definition.name().to_owned(),
        version: definition.version().to_owned(),
        digest: definition.digest().to_owned(),
        status: word(&execution.status()),
        tenant: execution.payer().map(|payer| payer.tenant.clone()).unwrap_or_default(),
        ..Default::default()
    }
}

/// The facts of an entry.
pub(crate) fn facts(entry: JournalEntry) -> Result<Vec<Fact>, Error> {
    let read = entry
        .facts
        .into_iter()
        .map(|fact| serde_json::from_value(fact.0))
        .collect::<Result<_, _>>();
    read.map_err(|error| {
        Error::Damaged(format!(
            "the journal of {} has a fact that cannot be read: {error}",
            entry.execution_id
        ))
    })
}

#[cfg(test)]
mod tests {
    use muster_workflow::{Definition, Input};
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_is_written_as_the_contract_says_it() {
        let document = "
document: {dsl: '1.0.3', namespace: test, name: written, version: '1.0.0'}
do:
- one: {set: {n: '${ .n + 0.5 }'}}
- two: {call: tool, with: {tool: echo, arguments: {value: '${ . }'}}}
";
        let definition = std::sync::Arc::new(Definition::parse(document).unwrap());
        let mut execution = Execution::new("e1", definition);
        let facts = execution.advance(&Input::Start { input: json!({"n": 1}) }, Utc::now());
        let made = entry(&execution, "input", &facts).unwrap();
        let mut written = Written::new(&execution, "input", facts);
        written.entry.at = made.at;
        assert!(made.facts.len() > 2);
        assert_eq!(serde_json::to_value(&written).unwrap(), serde_json::to_value(&made).unwrap());
    }
}
