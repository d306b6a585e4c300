//! Tasks of agents.

use std::time::Duration;

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use muster_contracts::agent::v1::{AgentTaskAssigned, GetAgentRequest, GetAgentTaskRequest};
use muster_contracts::{Code, JsonObject};
use tokio::time::Instant;

use super::inbox::id;
use crate::{
    app::App,
    body,
    controllers::executions::start::{key, wait},
    domain::name,
    error::Error,
    problem::Problem,
    wire::{AgentTask, NewAgentTask},
};

/// How often a task is looked at while a request waits.
const READ_EVERY: Duration = Duration::from_millis(200);

/// Gives a task to an agent. Answers at once, or with `Prefer: wait=30` when it has ended.
#[utoipa::path(post, path = "/v1/agents/{name}/tasks", tag = "agents", operation_id = "assign_agent_task", request_body = NewAgentTask,
    params(("name" = String, Path, description = "The agent's name"),
        ("Prefer" = Option<String>, Header, description = "`wait=30`: wait for the end, 1 to 300 seconds"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 202, body = AgentTask, description = "Given; `Location` is where it is"),
        (status = 200, body = AgentTask, description = "Ended within the time that the client preferred to wait"),
        (status = 404, body = Problem, description = "There is no such agent")))]
pub(crate) async fn assign(
    State(app): State<App>,
    Path(agent_id): Path<String>,
    request: Request,
) -> Result<Response, Error> {
    name::name("agent's name", &agent_id)?;
    let (key, wait) = (key(request.headers())?, wait(request.headers()));
    let task: NewAgentTask = body::json(request).await?;
    app.bus.request(&GetAgentRequest { name: agent_id.clone(), ..Default::default() }).await?;
    let id = id(key.as_ref(), &format!("task {agent_id}"));
    let task_id = id.as_str().to_owned();
    let message = AgentTaskAssigned {
        agent_id: agent_id.clone(),
        task_id: task_id.clone(),
        r#type: Some(task.r#type).filter(|kind| !kind.is_empty()).unwrap_or_else(|| "task".into()),
        params: Some(JsonObject(task.params)),
        execution_id: String::new(),
    };
    app.bus.publish(&message, &id).await?;
    let given = AgentTask {
        task_id: task_id.clone(),
        agent_id: agent_id.clone(),
        status: "running".to_owned(),
        ..AgentTask::default()
    };
    let task = match wait {
        Some(time) => ended_within(&app, &task_id, time).await?.unwrap_or(given),
        None => given,
    };
    let status = if task.status == "running" { StatusCode::ACCEPTED } else { StatusCode::OK };
    let location = format!("/v1/agents/{agent_id}/tasks/{task_id}");
    Ok((status, [(header::LOCATION, location)], Json(task)).into_response())
}

/// A task of an agent, and what came of it.
#[utoipa::path(get, path = "/v1/agents/{name}/tasks/{task_id}", tag = "agents", operation_id = "get_agent_task",
    params(("name" = String, Path, description = "The agent's name"), ("task_id" = String, Path, description = "The task's id")),
    responses((status = 200, body = AgentTask), (status = 404, body = Problem)))]
pub(crate) async fn get(
    State(app): State<App>,
    Path((agent_id, task_id)): Path<(String, String)>,
) -> Result<Json<AgentTask>, Error> {
    name::name("agent's name", &agent_id)?;
    Ok(Json(app.bus.request(&GetAgentTaskRequest { task_id }).await?.into()))
}

async fn ended_within(
    app: &App,
    task_id: &str,
    time: Duration,
) -> Result<Option<AgentTask>, Error> {
    let end = Instant::now() + time;
    let request = GetAgentTaskRequest { task_id: task_id.to_owned() };
    let mut last = None;
    loop {
        match app.bus.request(&request).await {
            Ok(task) if task.status != "running" => return Ok(Some(task.into())),
            Ok(task) => last = Some(task.into()),
            // On its way, and not written down yet.
            Err(fault) if fault.code == Code::NotFound => {}
            Err(fault) => return Err(fault.into()),
        }
        if Instant::now() + READ_EVERY > end {
            return Ok(last);
        }
        tokio::time::sleep(READ_EVERY).await;
    }
}
