//! Starts an execution, and waits for its end where the client prefers that.

use std::time::Duration;

use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::Utc;
use muster_bus::{Bucket, KvError, MessageId};
use muster_contracts::{
    Code,
    workflow::v1::{ExecutionCompleted, ExecutionState, GetWorkflowRequest, StartExecution},
};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use uuid::Uuid;

use super::{record_key, state};
use crate::{
    app::{App, End},
    auth::Client,
    body,
    domain::{
        idempotency::{Key, StartRecord, digest},
        prefer,
    },
    error::Error,
    problem::Problem,
    waits::Waiter,
    wire::{Execution, Start, Started},
};

/// How often the state is read while a request waits: what tells of the end may be missed.
const READ_EVERY: Duration = Duration::from_secs(2);

/// A start that is asked for, and by whom.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) start: &'a Start,
    pub(crate) key: Option<&'a Key>,
    pub(crate) client: &'a Client,
}

/// Starts a workflow. Answers at once, or with `Prefer: wait=30` when it has ended. With an `Idempotency-Key` a
/// repeated request is the same execution (for 24 hours).
#[utoipa::path(post, path = "/v1/executions", tag = "executions",operation_id = "start_execution", request_body = Start,
    params(("Prefer" = Option<String>, Header, description = "`wait=30`: wait for the end, 1 to 300 seconds"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 202, body = Started, description = "Started; `Location` is where its state is"),
        (status = 200, body = Execution, description = "Ended within the time that the client preferred to wait"),
        (status = 404, body = Problem, description = "There is no such workflow"),
        (status = 413, body = Problem, description = "Larger than 10 MiB"),
        (status = 422, body = Problem, description = "The key belongs to another request")))]
pub(crate) async fn start(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let wait = wait(request.headers());
    let (key, client) = (key(request.headers())?, Client::of(&request)?);
    let start: Start = body::json_within(request, body::INPUT_LIMIT).await?;
    if start.workflow.is_empty() {
        return Err(Error::invalid("`workflow` is empty, but it must be the name of a workflow"));
    }
    client.may_use(&format!("workflow:{}", start.workflow))?;
    let wanted = Wanted { start: &start, key: key.as_ref(), client: &client };
    let Some(wait) = wait else {
        let execution_id = Box::pin(accept(&app, wanted)).await?;
        return Ok(started(execution_id, "pending".to_owned()));
    };
    let (execution_id, (over, execution)) = waited(&app, wanted, wait).await?;
    let mut response = if over {
        (StatusCode::OK, [(header::CONTENT_LOCATION, location(&execution_id))], Json(execution))
            .into_response()
    } else {
        started(execution_id, execution.status)
    };
    if let Ok(applied) = HeaderValue::from_str(&format!("wait={}", wait.as_secs())) {
        response.headers_mut().insert("preference-applied", applied);
    }
    Ok(response)
}

/// Starts an execution, or finds the one of the key, and waits for its end; what it answers last where the wait is over before.
pub(crate) async fn to_the_end(
    app: &App,
    wanted: Wanted<'_>,
    wait: Duration,
) -> Result<Execution, Error> {
    let (_id, (_over, execution)) = waited(app, wanted, wait).await?;
    Ok(execution)
}

async fn waited(app: &App, wanted: Wanted<'_>, wait: Duration) -> Result<(String, Outcome), Error> {
    if wanted.key.is_none() {
        return run(app, wanted, wait).await;
    }
    let execution_id = Box::pin(accept(app, wanted)).await?;
    let waiter = app.ends.register(&execution_id);
    // A repeated request may be about an execution that ended long ago.
    let end = end(app, &execution_id, wait, (waiter, Duration::ZERO), None).await?;
    Ok((execution_id, end))
}

pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    prefer::wait(headers.get_all("prefer").iter().filter_map(|value| value.to_str().ok()))
}

/// The request's idempotency key, where it has one.
pub(crate) fn key(headers: &HeaderMap) -> Result<Option<Key>, Error> {
    let Some(header) = headers.get("idempotency-key") else { return Ok(None) };
    Ok(Some(Key::parse(&String::from_utf8_lossy(header.as_bytes()))?))
}

pub(super) fn location(execution_id: &str) -> String {
    format!("/v1/executions/{execution_id}")
}

fn started(execution_id: String, status: String) -> Response {
    let location = location(&execution_id);
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(Started { execution_id, status }))
        .into_response()
}

/// Makes the start durable and returns the execution's id.
async fn accept(app: &App, wanted: Wanted<'_>) -> Result<String, Error> {
    let start = wanted.start;
    let Some(key) = wanted.key else {
        let id = Uuid::now_v7().to_string();
        let record = resolve(app, wanted, String::new()).await?;
        let records = app.bus.kv(Bucket::Idempotency);
        let record_key = record_key(&id);
        // The record says `pending` until the engine has begun; nobody knows the id before both are done.
        tokio::try_join!(records.put(&record_key, &record), publish(app, &id, start, &record))?;
        return Ok(id);
    };
    let id = key.id(&wanted.client.scope("executions")).to_string();
    let request = digest([serde_json::to_vec(start).map_err(anyhow::Error::from)?.as_slice()]);
    let record = remember(app, &id, wanted, request.clone()).await?;
    if record.request != request {
        return Err(Error::KeyReused(key.text().to_owned()));
    }
    // Also on a repeat: the first request may have ended between the record and the command.
    publish(app, &id, start, &record).await?;
    Ok(id)
}

/// Starts an execution and waits for its end. Nobody knows its id before that or before the wait is over, so that its record
/// can wait as long, and is mostly not needed.
async fn run(app: &App, wanted: Wanted<'_>, wait: Duration) -> Result<(String, Outcome), Error> {
    let id = Uuid::now_v7().to_string();
    let record = resolve(app, wanted, String::new()).await?;
    let waiter = app.ends.register(&id);
    publish(app, &id, wanted.start, &record).await?;
    let known = Some((wanted.start, &record));
    let (over, execution) = end(app, &id, wait, (waiter, READ_EVERY), known).await?;
    if !over {
        let records = app.bus.kv(Bucket::Idempotency);
        Box::pin(records.put(&record_key(&id), &record)).await?;
    }
    Ok((id, (over, execution)))
}

/// The record of the first request with this id: this one's, where none was there.
async fn remember(
    app: &App,
    id: &str,
    wanted: Wanted<'_>,
    request: String,
) -> Result<StartRecord, Error> {
    let records = app.bus.kv::<StartRecord>(Bucket::Idempotency);
    let key = record_key(id);
    if let Some(found) = records.get(&key).await? {
        return Ok(found.value);
    }
    let record = resolve(app, wanted, request).await?;
    match records.create(&key, &record).await {
        Ok(_) => Ok(record),
        Err(KvError::Conflict) => {
            let found = records.get(&key).await?;
            Ok(found.ok_or_else(|| anyhow::anyhow!("the record {key} came and went"))?.value)
        }
        Err(KvError::Fault(fault)) => Err(fault.into()),
    }
}

/// The definition on which the execution will stay for its whole life.
async fn resolve(app: &App, wanted: Wanted<'_>, request: String) -> Result<StartRecord, Error> {
    let Wanted { start, client, .. } = wanted;
    let version = start.version.clone().unwrap_or_default();
    let asked = GetWorkflowRequest { name: start.workflow.clone(), version, brief: true };
    // A name may have any characters: its length keeps it apart from the version.
    let key = format!("{} {}{}", asked.name.len(), asked.name, asked.version);
    // On the heap: who asks is mostly one of many, and the others only wait.
    let ask = || Box::pin(app.bus.request(&asked));
    let definition = app.definitions.get(&key, ask).await?;
    Ok(StartRecord {
        request,
        workflow: definition.name,
        version: definition.version,
        digest: definition.digest,
        at: Utc::now(),
        tenant: client.tenant.clone(),
        key_id: client.key_id.clone(),
    })
}

async fn publish(
    app: &App,
    id: &str,
    start: &Start,
    record: &StartRecord,
) -> Result<(), muster_contracts::Fault> {
    let command = StartExecution {
        execution_id: id.to_owned(),
        workflow: record.workflow.clone(),
        version: record.version.clone(),
        digest: record.digest.clone(),
        input: Some(start.input.clone().into()),
        tenant: record.tenant.clone(),
        key_id: record.key_id.clone(),
        ..Default::default()
    };
    app.bus.publish(&command, &MessageId::derived([id, "start"])).await?;
    Ok(())
}

/// Whether the end came in time, and the state that was read last.
type Outcome = (bool, Execution);

/// The state behind an end, where what tells of it and the start say all that belongs to it.
fn told_whole(told: &ExecutionCompleted, start: &Start, record: &StartRecord) -> Option<Execution> {
    let is_whole = told.started_at.is_some() && told.tasks.len() == told.task_count as usize;
    is_whole.then(|| {
        let told = told.clone();
        let state = ExecutionState {
            execution_id: told.execution_id,
            workflow: told.workflow,
            version: told.version,
            digest: record.digest.clone(),
            status: told.status,
            input: Some(start.input.clone().into()),
            output: told.output,
            tasks: told.tasks,
            started_at: told.started_at,
            ended_at: told.ended_at,
            tenant: record.tenant.clone(),
            ..Default::default()
        };
        state.into()
    })
}

/// Waits for the end. Where what tells of it does not say all, the state is read then; and now and then, because it may be missed.
async fn end(
    app: &App,
    execution_id: &str,
    wait: Duration,
    (mut waiter, first_read): (Waiter<End>, Duration),
    known: Option<(&Start, &StartRecord)>,
) -> Result<Outcome, Error> {
    let over_at = Instant::now() + wait;
    let mut ticks = interval_at(Instant::now() + first_read, READ_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Execution {
        execution_id: execution_id.to_owned(),
        status: "pending".to_owned(),
        ..Execution::default()
    };
    let mut told = false;
    loop {
        let mut stopping = false;
        tokio::select! {
            end = waiter.told(), if !told => {
                told = true;
                if let (End::Completed(end), Some((start, record))) = (end, known)
                    && let Some(execution) = told_whole(&end, start, record)
                {
                    return Ok((true, execution));
                }
            }
            _ = ticks.tick() => {}
            () = sleep_until(over_at) => stopping = true,
            () = app.stop.cancelled() => stopping = true,
        }
        if stopping {
            return Ok((false, last));
        }
        // An engine that hangs must not hold the client longer than it wants to wait.
        let read = tokio::select! {
            read = Box::pin(state(app, execution_id)) => read,
            () = sleep_until(over_at) => return Ok((false, last)),
            () = app.stop.cancelled() => return Ok((false, last)),
        };
        match read {
            Ok(execution) if execution.is_over() => return Ok((true, execution)),
            Ok(execution) => last = execution,
            // The start is safe: an engine that is away now will do it, and the client hears of it in time or later.
            Err(Error::Fault(fault))
                if matches!(fault.code, Code::Unavailable | Code::Deadline | Code::NotFound) => {}
            Err(error) => return Err(error),
        }
    }
}
