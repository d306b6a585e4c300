//! What agents tell each other and are told: status, messages, tasks.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use muster_bus::{Delivery, MessageId};
use muster_contracts::agent::v1::{
    AgentBroadcast, AgentDefinition, AgentExecutionRequested, AgentMessage, AgentStatus, AgentTask,
    AgentTaskAssigned, AgentTaskCompleted, AgentTaskFailed, CallEnd, ContinueAgentRun,
    GetAgentStatusRequest, GetAgentTaskRequest, RegisterAgentRequest, RunOrigin,
};
use muster_contracts::{Code, Fault, Json, Timestamp, now, time};
use serde_json::{Map, Value};

use crate::Error;
use crate::app::App;
use crate::domain::{definition, team};
use crate::work::Task;

/// How long a status is taken for what is so now.
const FRESH: TimeDelta = TimeDelta::seconds(60);
/// How long a program may take to say itself how it is.
const GRACE: Duration = Duration::from_secs(1);
const MAX_TASK_MS: u32 = 86_400_000;

/// Registers an agent that a program on the bus is.
pub(crate) async fn register(
    app: App,
    request: RegisterAgentRequest,
) -> Result<AgentDefinition, Error> {
    if request.timeout_ms > MAX_TASK_MS {
        let ms = request.timeout_ms;
        let text = format!("`timeout_ms` is {ms}; at most {MAX_TASK_MS}, or 0 for 600000");
        return Err(Error::Definition(text));
    }
    let known = match app.registry.get(&request.name).await {
        Ok(known) => Some(known),
        Err(Error::UnknownAgent { .. }) => None,
        Err(error) => return Err(error),
    };
    if known.is_some_and(|known| !team::is_worker(&known)) {
        let text =
            format!("the agent {:?} has a model; a program needs another name", request.name);
        return Err(Fault::new(Code::Conflict, text).into());
    }
    let plain = AgentDefinition {
        name: request.name,
        description: request.description,
        kind: team::WORKER.to_owned(),
        timeout_ms: request.timeout_ms,
        ..AgentDefinition::default()
    };
    definition::check(&plain).map_err(|flaw| Error::Definition(flaw.0))?;
    let digest = definition::digest(&plain).map_err(|error| Error::Damaged(error.to_string()))?;
    let definition = AgentDefinition { digest, registered_at: now(Utc::now()), ..plain };
    Ok(app.registry.put(definition).await?)
}

/// How an agent is: as it said last. A program may answer itself; where it does not, what it said last is `stale`.
pub(crate) async fn status(app: App, request: GetAgentStatusRequest) -> Result<AgentStatus, Error> {
    let agent = request.agent_id;
    let known = app.work.status(&agent).await?;
    let definition = match (app.registry.get(&agent).await, &known) {
        (Ok(definition), _) => Some(definition),
        (Err(Error::UnknownAgent { .. }), Some(_)) => None,
        (Err(error), _) => return Err(error),
    };
    let is_ours = definition.is_some_and(|definition| !team::is_worker(&definition));
    let idle = AgentStatus { agent_id: agent, status: "idle".to_owned(), ..Default::default() };
    if is_ours {
        // What was told may be late, or of a process that has crashed since.
        let is_running = app.presence.is_running(&idle.agent_id).await?;
        let status = if is_running { "running" } else { "idle" }.to_owned();
        let now = AgentStatus { status, timestamp: now(Utc::now()), ..idle };
        let holds = |known: &AgentStatus| (known.status == "running") == is_running;
        return Ok(known.filter(holds).unwrap_or(now));
    }
    let Some(known) = known else {
        // Registered, and never heard of.
        tokio::time::sleep(GRACE).await;
        return Ok(AgentStatus { stale: true, ..idle });
    };
    if Utc::now() - time(known.timestamp.as_ref()) <= FRESH {
        return Ok(known);
    }
    tokio::time::sleep(GRACE).await;
    Ok(AgentStatus { stale: true, ..known })
}

/// Writes down how an agent says that it is.
pub(crate) async fn said(app: App, status: Delivery<AgentStatus>) -> Result<(), Error> {
    // A question for it has no status.
    if status.status.is_empty() {
        return Ok(());
    }
    let at = stamped(status.timestamp, status.time);
    let status = AgentStatus { timestamp: at, stale: false, ..status.message };
    Ok(app.work.put_status(&status).await?)
}

/// What orders letters: by the time when the stream stored them. It begins again at sequence 1 when its server does.
fn order_of<M>(delivery: &Delivery<M>) -> String {
    let stored = delivery.time.timestamp_nanos_opt().unwrap_or_default();
    format!("{stored:020}-{:010}", delivery.sequence)
}

/// Lays a message into the inbox of its agent.
pub(crate) async fn message(app: App, message: Delivery<AgentMessage>) -> Result<(), Error> {
    match app.registry.get(&message.to_agent).await {
        Ok(definition) if team::is_worker(&definition) => return Ok(()),
        Ok(_) => {}
        Err(error) => return Err(error),
    }
    let timestamp = stamped(message.timestamp, message.time);
    let letter = AgentMessage { timestamp, ..message.message.clone() };
    Ok(app.work.deliver(&letter.to_agent, &order_of(&message), &message.id, &letter).await?)
}

/// Lays a message to all into every inbox but that of its sender.
pub(crate) async fn broadcast(app: App, message: Delivery<AgentBroadcast>) -> Result<(), Error> {
    let agents = app.registry.list().await?;
    let listens = |agent: &AgentDefinition| {
        agent.name != message.from_agent && agent.team.as_ref().is_some_and(|team| team.inbox)
    };
    for agent in agents.into_iter().filter(listens) {
        let letter = AgentMessage {
            to_agent: agent.name,
            from_agent: message.from_agent.clone(),
            content: message.content.clone(),
            message_type: message.message_type.clone(),
            timestamp: stamped(message.timestamp, message.time),
        };
        app.work.deliver(&letter.to_agent, &order_of(&message), &message.id, &letter).await?;
    }
    Ok(())
}

/// Begins the run that does a task. A program gets its tasks itself.
pub(crate) async fn assigned(app: App, task: Delivery<AgentTaskAssigned>) -> Result<(), Error> {
    let record = Task {
        told: AgentTask {
            task_id: task.task_id.clone(),
            agent_id: task.agent_id.clone(),
            execution_id: task.execution_id.clone(),
            status: "running".to_owned(),
            timestamp: now(task.time),
            ..AgentTask::default()
        },
        run: None,
    };
    app.work.add_task(&record).await?;
    match app.registry.get(&task.agent_id).await {
        Ok(definition) if team::is_worker(&definition) => return Ok(()),
        Ok(_) => {}
        Err(error @ Error::UnknownAgent { .. }) => return refuse(&app, &task, &error).await,
        Err(error) => return Err(error),
    }
    // A run of its own: the execution that the task may belong to does not know it.
    let execution = MessageId::derived(["agent task", &task.agent_id, &task.task_id]);
    let command = AgentExecutionRequested {
        execution_id: execution.as_str().to_owned(),
        task: format!("task/{}", execution.as_str()),
        agent: task.agent_id.clone(),
        input: Some(Json(input(&task))),
        origin: Some(RunOrigin { task_id: task.task_id.clone(), ..RunOrigin::default() }),
        ..AgentExecutionRequested::default()
    };
    app.bus.publish(&command, &execution).await?;
    Ok(())
}

/// A task has ended well: whoever waits for it hears of it.
pub(crate) async fn completed(app: App, end: Delivery<AgentTaskCompleted>) -> Result<(), Error> {
    let ended = AgentTask {
        task_id: end.task_id.clone(),
        agent_id: end.agent_id.clone(),
        execution_id: end.execution_id.clone(),
        status: "completed".to_owned(),
        result: end.result.clone(),
        timestamp: stamped(end.timestamp, end.time),
        ..AgentTask::default()
    };
    tell_end(&app, ended).await
}

/// A task has failed: whoever waits for it hears of it.
pub(crate) async fn failed(app: App, end: Delivery<AgentTaskFailed>) -> Result<(), Error> {
    let ended = AgentTask {
        task_id: end.task_id.clone(),
        agent_id: end.agent_id.clone(),
        execution_id: end.execution_id.clone(),
        status: "failed".to_owned(),
        error: end.error.clone(),
        timestamp: stamped(end.timestamp, end.time),
        ..AgentTask::default()
    };
    tell_end(&app, ended).await
}

/// A task and what came of it.
pub(crate) async fn task(app: App, request: GetAgentTaskRequest) -> Result<AgentTask, Error> {
    let found = app.work.task(&request.task_id).await?;
    found.map(|found| found.told).ok_or_else(|| {
        let text = format!("there is no task {:.80?} of an agent", request.task_id);
        Fault::new(Code::NotFound, text).into()
    })
}

async fn tell_end(app: &App, ended: AgentTask) -> Result<(), Error> {
    let task = app.work.end_task(ended).await?;
    let Some(run) = task.run else { return Ok(()) };
    let failed = task.told.status == "failed";
    let message = ContinueAgentRun {
        execution_id: run.execution_id,
        task: run.task,
        agent: run.agent,
        cause: format!("task {}", task.told.task_id),
        decision: None,
        end: Some(CallEnd {
            output: task.told.result,
            code: if failed { Code::Invalid.name() } else { "" }.to_owned(),
            error: task.told.error,
            ..CallEnd::default()
        }),
    };
    let id = MessageId::derived(["task ended", &task.told.task_id]);
    app.bus.publish(&message, &id).await?;
    Ok(())
}

async fn refuse(app: &App, task: &Delivery<AgentTaskAssigned>, error: &Error) -> Result<(), Error> {
    let event = AgentTaskFailed {
        agent_id: task.agent_id.clone(),
        task_id: task.task_id.clone(),
        error: error.to_string(),
        timestamp: now(Utc::now()),
        execution_id: task.execution_id.clone(),
    };
    app.bus.publish(&event, &MessageId::derived(["refused", &task.task_id])).await?;
    Ok(())
}

/// What the agent is asked: `params.input` where it is all, else type and parameters.
fn input(task: &AgentTaskAssigned) -> Value {
    let params = task.params.clone().unwrap_or_default().0;
    match params.get("input") {
        Some(input) if params.len() == 1 => input.clone(),
        _ => Value::Object(Map::from_iter([
            ("type".to_owned(), Value::String(task.r#type.clone())),
            ("params".to_owned(), Value::Object(params)),
        ])),
    }
}

/// A plain sender may leave out when it was.
fn stamped(said: Option<Timestamp>, stored: DateTime<Utc>) -> Option<Timestamp> {
    said.or_else(|| now(stored))
}
