//! Registering and reading agents.

use muster_contracts::agent::v1::{
    AgentDefinition, AgentList, GetAgentRequest, ListAgentsRequest, PutAgentRequest,
};
use muster_contracts::tool::v1::ListToolsRequest;
use muster_contracts::{Code, Fault};

use crate::Error;
use crate::app::App;
use crate::domain::definition::{check, digest};

/// Registers an agent whose tools are all there.
pub(crate) async fn put(app: App, request: PutAgentRequest) -> Result<AgentDefinition, Error> {
    let definition = request.definition.unwrap_or_default();
    check(&definition).map_err(|flaw| Error::Definition(flaw.0))?;
    if !definition.tools.is_empty() {
        app.bus
            .request(&ListToolsRequest { names: definition.tools.clone() })
            .await
            .map_err(about_tools)?;
    }
    let digest = digest(&definition).map_err(|error| Error::Damaged(error.to_string()))?;
    let definition = AgentDefinition { digest, ..definition };
    app.registry.put(&definition).await?;
    Ok(definition)
}

/// The agent of a name.
pub(crate) async fn get(app: App, request: GetAgentRequest) -> Result<AgentDefinition, Error> {
    app.registry.get(&request.name).await
}

/// Every agent.
pub(crate) async fn list(app: App, _request: ListAgentsRequest) -> Result<AgentList, Error> {
    Ok(AgentList { agents: app.registry.list().await? })
}

/// What is not found is a part of the definition here, so the definition is wrong.
fn about_tools(fault: Fault) -> Fault {
    if fault.code == Code::NotFound {
        Fault { code: Code::Invalid, message: format!("`tools`: {}", fault.message), ..fault }
    } else {
        fault
    }
}
