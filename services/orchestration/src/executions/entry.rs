//! Entries of a journal.

use chrono::Utc;
use muster_contracts::workflow::v1::JournalEntry;
use muster_contracts::{Json, now};
use muster_workflow::{Execution, Fact};

use crate::Error;
use crate::domain::state::word;

/// The entry that says these facts of an execution.
pub(crate) fn entry(
    execution: &Execution,
    input_id: &str,
    facts: &[Fact],
) -> Result<JournalEntry, Error> {
    let definition = execution.definition();
    let facts =
        facts.iter().map(|fact| serde_json::to_value(fact).map(Json)).collect::<Result<_, _>>();
    Ok(JournalEntry {
        execution_id: execution.id().to_owned(),
        input_id: input_id.to_owned(),
        at: now(Utc::now()),
        workflow: definition.name().to_owned(),
        version: definition.version().to_owned(),
        digest: definition.digest().to_owned(),
        facts: facts
            .map_err(|error| Error::Damaged(format!("a fact cannot be written: {error}")))?,
        status: word(&execution.status()),
        tenant: execution.payer().map(|payer| payer.tenant.clone()).unwrap_or_default(),
        ..Default::default()
    })
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
