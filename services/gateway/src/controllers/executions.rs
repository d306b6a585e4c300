//! `/v1/executions`.

pub(crate) mod control;
pub(crate) mod events;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod signal;
pub(crate) mod start;
pub(crate) mod time_travel;
pub(crate) mod usage;

use muster_bus::Bucket;
use muster_contracts::{Code, subject, workflow::v1::GetExecutionRequest};

use crate::{app::App, domain::idempotency::StartRecord, error::Error, wire::Execution};

/// The key under which a start is remembered.
pub(crate) fn record_key(execution_id: &str) -> String {
    format!("executions/{execution_id}")
}

/// The present state. An execution whose start is accepted but not yet begun is `pending`.
async fn state(app: &App, execution_id: &str) -> Result<Execution, Error> {
    subject::token("execution id", execution_id)?;
    let request = GetExecutionRequest { execution_id: execution_id.to_owned() };
    let missing = match app.bus.request(&request).await {
        Ok(state) => return Ok(state.into()),
        Err(fault) if fault.code == Code::NotFound => fault,
        Err(fault) => return Err(fault.into()),
    };
    // Ids of executions are UUIDs; nothing else can be a key.
    let Ok(id) = uuid::Uuid::parse_str(execution_id) else { return Err(missing.into()) };
    let records = app.bus.kv::<StartRecord>(Bucket::Idempotency);
    let record = records.get(&record_key(&id.to_string())).await?.ok_or(missing)?.value;
    Ok(Execution {
        execution_id: execution_id.to_owned(),
        workflow: record.workflow,
        version: record.version,
        digest: record.digest,
        status: "pending".to_owned(),
        ..Execution::default()
    })
}
