//! Registers an agent.

use axum::{
    Json,
    extract::{Path, Request, State},
};
use muster_contracts::agent::v1::PutAgentRequest;

use crate::{
    app::App,
    body::{LIMIT, Media, Payload},
    domain::name,
    error::Error,
    problem::Problem,
    wire::Agent,
};

/// Registers an agent, or replaces the one with this name. Running executions stay on the definition they began with.
#[utoipa::path(put, path = "/v1/agents/{name}", tag = "agents",operation_id = "put_agent",
    params(("name" = String, Path, description = "The agent's name")),
    request_body(content((Agent = "application/yaml"), (Agent = "application/json"))),
    responses((status = 200, body = Agent), (status = 400, body = Problem, description = "The definition is wrong: an unknown tool or field, a bad schema or limit")))]
pub(crate) async fn put(
    State(app): State<App>,
    Path(path): Path<String>,
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
    let definition = app
        .bus
        .request(&PutAgentRequest { definition: Some(agent.into()), ..Default::default() })
        .await?;
    Ok(Json(definition.into()))
}
