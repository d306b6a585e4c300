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
use muster_contracts::{Code, Fault, subject, workflow::v1::GetExecutionRequest};

use crate::{
    app::App, auth::Client, domain::idempotency::StartRecord, error::Error, wire::Execution,
};

/// The key under which a start is remembered.
pub(crate) fn record_key(execution_id: &str) -> String {
    format!("executions/{execution_id}")
}

/// The present state, where the execution is one of the client's: others' are not there for it.
async fn own(app: &App, client: &Client, execution_id: &str) -> Result<Execution, Error> {
    let execution = state(app, execution_id).await?;
    if client.owns(&execution.tenant) {
        return Ok(execution);
    }
    // What was cancelled before it began does not say whose it is.
    if execution.tenant.is_empty()
        && let Some(record) = record(app, execution_id).await?
        && client.owns(&record.tenant)
    {
        return Ok(execution);
    }
    Err(missing(execution_id).into())
}

/// The same where only its owner matters; nothing is asked for those who own everything.
async fn check_own(app: &App, client: &Client, execution_id: &str) -> Result<(), Error> {
    if client.is_admin() {
        return Ok(());
    }
    own(app, client, execution_id).await.map(drop)
}

fn missing(execution_id: &str) -> Fault {
    Fault::new(Code::NotFound, format!("there is no execution {execution_id:?}"))
}

async fn record(app: &App, execution_id: &str) -> Result<Option<StartRecord>, Error> {
    // Ids of executions are UUIDs; nothing else can be a key.
    let Ok(id) = uuid::Uuid::parse_str(execution_id) else { return Ok(None) };
    let records = app.bus.kv::<StartRecord>(Bucket::Idempotency);
    Ok(records.get(&record_key(&id.to_string())).await?.map(|found| found.value))
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
    let record = record(app, execution_id).await?.ok_or(missing)?;
    Ok(Execution {
        execution_id: execution_id.to_owned(),
        workflow: record.workflow,
        version: record.version,
        digest: record.digest,
        status: "pending".to_owned(),
        tenant: record.tenant,
        ..Execution::default()
    })
}
