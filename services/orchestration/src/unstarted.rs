//! Executions whose start nobody could handle: they have no journal, but a dead letter.
//!
//! What became of them is kept beside the journals, and read only where there is none: a replay of the letter starts the
//! execution, and its journal says how it stands then.

use chrono::{DateTime, Utc};
use muster_bus::{Bucket, Bus, Kv};
use muster_contracts::workflow::v1::{ExecutionState, StartExecution};
use muster_contracts::{Fault, now, subject};
use muster_workflow::{Error as Failure, Status};
use serde::{Deserialize, Serialize};

use crate::domain::child::parent;
use crate::domain::state::{error_object, word};

/// The executions that have not begun. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Unstarted {
    records: Kv<Record>,
}

/// An execution that has not begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Record {
    workflow: String,
    version: String,
    digest: String,
    tenant: String,
    /// The task that runs it.
    parent: Option<muster_workflow::Parent>,
    error: Failure,
    /// The sequence of the dead letter.
    letter: u64,
    at: DateTime<Utc>,
}

impl Unstarted {
    pub(crate) fn new(bus: &Bus) -> Self {
        Self { records: bus.kv(Bucket::Listeners) }
    }

    /// Keeps that a start was given up.
    pub(crate) async fn note(
        &self,
        start: &StartExecution,
        error: &Failure,
        (letter, at): (u64, DateTime<Utc>),
    ) -> Result<(), Fault> {
        let record = Record {
            workflow: start.workflow.clone(),
            version: start.version.clone(),
            digest: start.digest.clone(),
            tenant: start.tenant.clone(),
            parent: start.parent.as_ref().map(parent),
            error: error.clone(),
            letter,
            at,
        };
        self.records.put(&key(&start.execution_id), &record).await.map(drop)
    }

    /// Forgets it: the execution begins.
    pub(crate) async fn forget(&self, execution_id: &str) -> Result<(), Fault> {
        self.records.forget(&key(execution_id)).await
    }

    /// The sequence of the dead letter of an execution that has no journal, where it has one.
    pub(crate) async fn letter(&self, execution_id: &str) -> Result<Option<u64>, Fault> {
        Ok(self.records.get(&key(execution_id)).await?.map(|found| found.value.letter))
    }

    /// The state of an execution that has no journal, where its start was given up.
    pub(crate) async fn state(&self, execution_id: &str) -> Result<Option<ExecutionState>, Fault> {
        let Some(found) = self.records.get(&key(execution_id)).await? else { return Ok(None) };
        let record = found.value;
        Ok(Some(ExecutionState {
            execution_id: execution_id.to_owned(),
            workflow: record.workflow,
            version: record.version,
            digest: record.digest,
            status: word(&Status::Faulted),
            error: Some(error_object(&record.error)),
            ended_at: now(record.at),
            parent: record.parent.as_ref().map(crate::domain::child::link),
            dead_letter: record.letter,
            tenant: record.tenant,
            ..Default::default()
        }))
    }
}

/// Ids of executions have other characters than keys.
fn key(execution_id: &str) -> String {
    format!("unstarted/{}", subject::derived_token(execution_id))
}
