//! Registers an agent.

#![expect(
    unused_qualifications,
    reason = "utoipa's macro repeats the query's type by its whole path"
)]

use axum::{
    Json,
    extract::{Path, Request, State},
};
use muster_contracts::agent::v1::PutAgentRequest;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    app::App,
    body::{LIMIT, Media, Payload},
    domain::name,
    error::Error,
    problem::Problem,
    query::Query,
    wire::Agent,
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct How {
    /// Register nothing: the answer is what would be registered.
    #[serde(default)]
    check: bool,
    /// Of a check: tools, separated by commas, that count as registered.
    #[serde(default)]
    assume_tools: String,
}

/// Registers an agent, or replaces the one with this name. Running executions stay on the definition they began with.
#[utoipa::path(put, path = "/v1/agents/{name}", tag = "agents",operation_id = "put_agent",
    params(("name" = String, Path, description = "The agent's name"), How),
    request_body(content((Agent = "application/yaml"), (Agent = "application/json"))),
    responses((status = 200, body = Agent), (status = 400, body = Problem, description = "The definition is wrong: an unknown tool or field, a bad schema or limit")))]
pub(crate) async fn put(
    State(app): State<App>,
    Path(path): Path<String>,
    Query(how): Query<How>,
    request: Request,
) -> Result<Json<Agent>, Error> {
    let path = name::name("agent's name", &path)?;
    let mut agent: Agent =
        Payload::read(request, &[Media::Yaml, Media::Json], LIMIT).await?.parse()?;
    if !agent.name.is_empty() && agent.name != path {
        return Err(Error::invalid(format!(
            "the body names the agent {:?}, but the path names {path:?}; make them equal, or leave the name out of the body",
            agent.name
        )));
    }
    path.clone_into(&mut agent.name);
    let tools = how.assume_tools.split(',').filter(|tool| !tool.is_empty());
    let request = PutAgentRequest {
        definition: Some(agent.into()),
        check_only: how.check,
        assumed_tools: tools.map(str::to_owned).collect(),
    };
    Ok(Json(app.bus.request(&request).await?.into()))
}
