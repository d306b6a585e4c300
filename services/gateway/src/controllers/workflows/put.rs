//! Registers a workflow.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header},
    response::IntoResponse,
};
use muster_contracts::workflow::v1::PutWorkflowRequest;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use crate::{
    app::App,
    body::{LIMIT, Media, Payload},
    error::Error,
    problem::Problem,
    query::Query,
    wire::Workflow,
};

/// How to register.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct How {
    /// `strict`: refused with 409 where an execution that runs would have gone another way on this version, or could not be checked.
    check: Option<Check>,
}

/// What follows from the check of what runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Check {
    /// What differs refuses the version.
    Strict,
}

/// Registers a version of a workflow, which is the default from then on. The same document a second time changes nothing.
///
/// Where it takes the place of another version, what the executions that run have done is replayed on it first, for 5 s at the most:
/// `check` lists those that would have gone another way. They stay on their version in any case.
#[utoipa::path(put, path = "/v1/workflows", tag = "workflows",operation_id = "put_workflow", params(How),
    request_body(content((Object = "application/yaml"), (Object = "application/json")), description = "A Serverless Workflow document (DSL 1.0.3)"),
    responses((status = 201, body = Workflow, description = "Registered"), (status = 200, body = Workflow, description = "Was registered before"),
        (status = 400, body = Problem, description = "The document is no valid workflow; `details` lists what is wrong and where"),
        (status = 409, body = Problem, description = "This version is registered with other contents; or `check=strict`, and an execution that runs would have gone another way: `details.check` lists what differs")))]
pub(crate) async fn put(
    State(app): State<App>,
    Query(how): Query<How>,
    request: Request,
) -> Result<impl IntoResponse, Error> {
    let source = source(request).await?;
    let put = PutWorkflowRequest { source, strict: how.check == Some(Check::Strict) };
    let definition = app.bus.request(&put).await?;
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
