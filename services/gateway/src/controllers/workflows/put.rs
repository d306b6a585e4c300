//! Registers a workflow.

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use muster_contracts::workflow::v1::PutWorkflowRequest;

use crate::{
    app::App,
    body::{LIMIT, Media, Payload},
    error::Error,
    problem::Problem,
    wire::Workflow,
};

/// Registers a version of a workflow. The same document a second time changes nothing.
#[utoipa::path(put, path = "/v1/workflows", tag = "workflows",operation_id = "put_workflow",
    request_body(content((Object = "application/yaml"), (Object = "application/json")), description = "A Serverless Workflow document (DSL 1.0.3)"),
    responses((status = 201, body = Workflow, description = "Registered"), (status = 200, body = Workflow, description = "Was registered before"),
        (status = 400, body = Problem, description = "The document is no valid workflow; `details` lists what is wrong and where"),
        (status = 409, body = Problem, description = "This version is registered with other contents")))]
pub(crate) async fn put(
    State(app): State<App>,
    request: Request,
) -> Result<impl IntoResponse, Error> {
    let source = source(request).await?;
    let definition = app.bus.request(&PutWorkflowRequest { source }).await?;
    let status = if definition.created { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/v1/workflows/{}", definition.name);
    Ok((status, [(header::LOCATION, location)], Json(Workflow::from(definition))))
}

/// The document in a body.
pub(super) async fn source(request: Request) -> Result<String, Error> {
    let payload = Payload::read(request, &[Media::Yaml, Media::Json], LIMIT).await?;
    let source = payload.text()?;
    if source.trim().is_empty() {
        return Err(Error::invalid(
            "the body is empty, but it should be a Serverless Workflow document, YAML or JSON",
        ));
    }
    Ok(source.to_owned())
}
