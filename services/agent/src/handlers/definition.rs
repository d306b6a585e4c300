//! Registering and reading agents.

use std::time::Duration;

use chrono::Utc;
use muster_contracts::agent::v1::{
    AgentDefinition, AgentList, AgentVersion, AgentVersions, DeleteAgentRequest, GetAgentRequest,
    ListAgentVersionsRequest, ListAgentsRequest, PutAgentRequest,
};
use muster_contracts::model::v1::ListModelsRequest;
use muster_contracts::tool::v1::ListToolsRequest;
use muster_contracts::{Code, Fault, now};

use crate::Error;
use crate::app::App;
use crate::domain::definition::{check, digest, provider};

/// How long the model service may take to say which providers there are.
const PATIENCE: Duration = Duration::from_secs(2);

/// Registers an agent whose tools are all there, or only tells what would be registered.
pub(crate) async fn put(app: App, request: PutAgentRequest) -> Result<AgentDefinition, Error> {
    let definition = request.definition.unwrap_or_default();
    check(&definition).map_err(|flaw| Error::Definition(flaw.0))?;
    let mut names = definition.tools.clone();
    names.retain(|tool| !(request.check_only && request.assumed_tools.contains(tool)));
    if !names.is_empty() {
        app.bus.request(&ListToolsRequest { names }).await.map_err(about_tools)?;
    }
    provider_is_there(&app, &definition).await?;
    let digest = digest(&definition).map_err(|error| Error::Damaged(error.to_string()))?;
    let definition = AgentDefinition { digest, registered_at: now(Utc::now()), ..definition };
    if request.check_only {
        return Ok(definition);
    }
    Ok(app.registry.put(definition).await?)
}

/// An agent, or one of its versions.
pub(crate) async fn get(app: App, request: GetAgentRequest) -> Result<AgentDefinition, Error> {
    if request.digest.is_empty() {
        return app.registry.get(&request.name).await;
    }
    app.registry.version(&request.name, &request.digest).await
}

/// Every agent.
pub(crate) async fn list(app: App, _request: ListAgentsRequest) -> Result<AgentList, Error> {
    Ok(AgentList { agents: app.registry.list().await? })
}

/// The versions of an agent.
pub(crate) async fn versions(
    app: App,
    request: ListAgentVersionsRequest,
) -> Result<AgentVersions, Error> {
    let versions = app.registry.versions(&request.name).await?;
    // Removed agents have versions, but none is the latest.
    let latest = match app.registry.get(&request.name).await {
        Ok(latest) => latest.digest,
        Err(Error::UnknownAgent { .. }) if !versions.is_empty() => String::new(),
        Err(error) => return Err(error),
    };
    let versions = versions.into_iter().map(|version| AgentVersion {
        latest: version.digest == latest,
        digest: version.digest,
        registered_at: version.registered_at,
    });
    Ok(AgentVersions { name: request.name, versions: versions.collect() })
}

/// Removes an agent.
pub(crate) async fn delete(
    app: App,
    request: DeleteAgentRequest,
) -> Result<AgentDefinition, Error> {
    app.registry.delete(&request.name).await
}

/// A model service that is away is no reason to refuse: the run asks it again anyway.
async fn provider_is_there(app: &App, definition: &AgentDefinition) -> Result<(), Error> {
    let wanted = provider(definition);
    if wanted == "default" {
        return Ok(());
    }
    let Ok(known) = app.bus.request_within(&ListModelsRequest {}, PATIENCE).await else {
        return Ok(());
    };
    let names: Vec<&str> = known.providers.iter().map(|found| found.name.as_str()).collect();
    if names.is_empty() || names.contains(&wanted) {
        return Ok(());
    }
    let known = names.join(", ");
    let error = format!(
        "`model.provider` is {wanted:?}; the configured providers are: {known}. Leave it out for the default"
    );
    Err(Error::Definition(error))
}

/// What is not found is a part of the definition here, so the definition is wrong.
fn about_tools(fault: Fault) -> Fault {
    if fault.code == Code::NotFound {
        Fault { code: Code::Invalid, message: format!("`tools`: {}", fault.message), ..fault }
    } else {
        fault
    }
}
