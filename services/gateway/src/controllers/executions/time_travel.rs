//! Shows the past of executions, and goes on from it.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{
    Json,
    extract::{Path, Request, State},
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use muster_contracts::{
    JsonObject, subject,
    workflow::v1::{
        DiffExecutionsRequest, ExportExecutionRequest, ForkExecutionRequest,
        ImportExecutionRequest, ReplayExecutionRequest,
    },
};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;
use uuid::Uuid;

use super::start::{key, location};
use crate::{
    app::App,
    body::{self, Media, Payload},
    error::Error,
    problem::Problem,
    query::Query,
    wire::{Execution, ExecutionDiff, ExecutionReplay, Fork},
};

/// The largest file of an execution.
const FILE_LIMIT: usize = 64 << 20;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Where {
    /// How many transitions to apply, from 1; absent: all.
    position: Option<u64>,
}

/// Rebuilds the state from the journal, as it was after so many transitions. Nobody is asked anything for it.
#[utoipa::path(get, path = "/v1/executions/{id}/replay", tag = "executions", operation_id = "replay_execution",
    params(("id" = String, Path, description = "The execution's id"), Where),
    responses((status = 200, body = ExecutionReplay), (status = 400, body = Problem, description = "It has fewer transitions"),
        (status = 404, body = Problem)))]
pub(crate) async fn replay(
    State(app): State<App>,
    Path(execution_id): Path<String>,
    Query(query): Query<Where>,
) -> Result<Json<ExecutionReplay>, Error> {
    subject::token("execution id", &execution_id)?;
    let request = ReplayExecutionRequest { execution_id, position: position(query.position)? };
    Ok(Json(app.bus.request(&request).await?.into()))
}

/// Begins a new execution as a copy of this one up to a transition, with changed data if that is wanted. What was in
/// flight there is asked anew for the new one; this one does not notice. With an `Idempotency-Key` a repeated request is
/// the same fork.
#[utoipa::path(post, path = "/v1/executions/{id}/fork", tag = "executions", operation_id = "fork_execution",
    request_body(content = Option<Fork>, description = "From where, and what is changed; may be left out"),
    params(("id" = String, Path, description = "The execution that is copied"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 201, body = Execution, description = "The new execution; `Location` is where its state is"),
        (status = 400, body = Problem, description = "It has fewer transitions, has ended there, or what is changed does not fit"),
        (status = 404, body = Problem), (status = 409, body = Problem, description = "The key belongs to another fork")))]
pub(crate) async fn fork(
    State(app): State<App>,
    Path(execution_id): Path<String>,
    request: Request,
) -> Result<Response, Error> {
    subject::token("execution id", &execution_id)?;
    let key = key(request.headers())?;
    let Fork { position: wanted, set } = body::json_or_default(request).await?;
    let set = match set {
        Value::Null => None,
        Value::Object(set) => Some(JsonObject(set)),
        other => {
            let text = format!(
                "`set` is {other:.100}, but it must be an object with `context`, `data` or `task`"
            );
            return Err(Error::invalid(text));
        }
    };
    let new_id = key.map_or_else(Uuid::now_v7, |key| key.id("forks")).to_string();
    let request = ForkExecutionRequest {
        execution_id,
        position: position(wanted)?,
        new_execution_id: new_id.clone(),
        set,
    };
    let execution = Execution::from(app.bus.request(&request).await?);
    Ok((StatusCode::CREATED, [(header::LOCATION, location(&new_id))], Json(execution))
        .into_response())
}

/// What two executions did differently: where they part, and how each run of a task ended.
#[utoipa::path(get, path = "/v1/executions/{id}/diff/{other}", tag = "executions", operation_id = "diff_executions",
    params(("id" = String, Path, description = "The one on the left"), ("other" = String, Path, description = "The one on the right")),
    responses((status = 200, body = ExecutionDiff), (status = 404, body = Problem)))]
pub(crate) async fn diff(
    State(app): State<App>,
    Path((left, right)): Path<(String, String)>,
) -> Result<Json<ExecutionDiff>, Error> {
    subject::token("execution id", &left)?;
    subject::token("execution id", &right)?;
    Ok(Json(app.bus.request(&DiffExecutionsRequest { left, right }).await?.into()))
}

/// Everything that an execution is made of, as one file: its definition and its transitions.
#[utoipa::path(get, path = "/v1/executions/{id}/export", tag = "executions", operation_id = "export_execution",
    params(("id" = String, Path, description = "The execution's id")),
    responses((status = 200, body = Object, description = "A file for `import`"), (status = 404, body = Problem)))]
pub(crate) async fn export(
    State(app): State<App>,
    Path(execution_id): Path<String>,
) -> Result<Response, Error> {
    subject::token("execution id", &execution_id)?;
    let name = format!("attachment; filename=\"{execution_id}.json\"");
    let name = HeaderValue::from_str(&name).map_err(anyhow::Error::from)?;
    let exported = app.bus.request(&ExportExecutionRequest { execution_id }).await?;
    let file = exported.file.unwrap_or_default().into_value();
    Ok(([(header::CONTENT_DISPOSITION, name)], Json(file)).into_response())
}

/// Brings an exported execution back, under its own id. What was in flight is not asked again; a fork of it goes on.
#[utoipa::path(post, path = "/v1/executions/import", tag = "executions", operation_id = "import_execution",
    request_body(content = Object, description = "A file that `export` has made"),
    responses((status = 201, body = Execution, description = "Imported"), (status = 200, body = Execution, description = "Was there already"),
        (status = 400, body = Problem, description = "The file was changed or cut"),
        (status = 409, body = Problem, description = "The execution is there with other contents")))]
pub(crate) async fn import(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let payload = Payload::read(request, &[Media::Json], FILE_LIMIT).await?;
    let file: Map<String, Value> = serde_json::from_slice(&payload.bytes)
        .map_err(|error| Error::Malformed { format: "JSON", reason: error.to_string() })?;
    let request = ImportExecutionRequest { file: Some(JsonObject(file)) };
    let imported = app.bus.request(&request).await?;
    let execution = Execution::from(imported.state.unwrap_or_default());
    let status = if imported.created { StatusCode::CREATED } else { StatusCode::OK };
    let location = location(&execution.execution_id);
    Ok((status, [(header::LOCATION, location)], Json(execution)).into_response())
}

/// 0 means all on the bus; a client leaves it out.
fn position(wanted: Option<u64>) -> Result<u64, Error> {
    match wanted {
        Some(0) => Err(Error::invalid(
            "`position` is 0, but transitions are counted from 1; leave it out for all",
        )),
        other => Ok(other.unwrap_or_default()),
    }
}
