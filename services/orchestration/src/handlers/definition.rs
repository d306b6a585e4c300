//! Registering and reading workflow definitions.

use chrono::Utc;
use muster_contracts::agent::v1::GetAgentRequest;
use muster_contracts::workflow::v1::{
    DeleteWorkflowRequest, GetWorkflowRequest, ListWorkflowsRequest, PutWorkflowRequest,
    WorkflowDefinition, WorkflowList,
};
use muster_contracts::{Code, Json, now};
use muster_workflow::Definition;

use crate::Error;
use crate::app::App;
use crate::definitions::Entry;
use crate::{externals, secrets};

/// Registers a definition whose agents are all there.
pub(crate) async fn put(
    app: App,
    request: PutWorkflowRequest,
) -> Result<WorkflowDefinition, Error> {
    let definition = Definition::parse(&request.source).map_err(Error::Problems)?;
    let definition = externals::pinned(&app.bus, definition).await?;
    agents_are_there(&app, &definition).await?;
    secrets::are_there(&app.bus, &definition).await?;
    workflows_are_there(&app, &definition).await?;
    let before = app.definitions.find(definition.name(), "").await?;
    let (entry, created) = app.definitions.register(&definition, Utc::now()).await?;
    app.schedules.registered(&definition, &entry, before.as_ref()).await?;
    Ok(WorkflowDefinition {
        created,
        document: Some(Json(definition.document().clone())),
        ..described(entry)
    })
}

/// The definition of a name.
pub(crate) async fn get(
    app: App,
    request: GetWorkflowRequest,
) -> Result<WorkflowDefinition, Error> {
    let unknown =
        || Error::UnknownWorkflow { name: request.name.clone(), version: request.version.clone() };
    let entry = app.definitions.find(&request.name, &request.version).await?.ok_or_else(unknown)?;
    if request.brief {
        return Ok(described(entry));
    }
    let definition = app.definitions.load(&entry.digest).await?;
    let next_start = match definition.schedule() {
        Some(_) => app.schedules.next_start(&entry).await?.and_then(now),
        None => None,
    };
    Ok(WorkflowDefinition {
        document: Some(Json(definition.document().clone())),
        next_start,
        ..described(entry)
    })
}

/// Removes a workflow, its schedule first: where this ends in the middle it can be asked for again.
pub(crate) async fn delete(
    app: App,
    request: DeleteWorkflowRequest,
) -> Result<WorkflowDefinition, Error> {
    let DeleteWorkflowRequest { name } = request;
    let Some(entry) = app.definitions.find(&name, "").await? else {
        return Err(Error::UnknownWorkflow { name, version: String::new() });
    };
    app.schedules.end(&entry).await?;
    app.definitions.remove(&name).await?;
    Ok(described(entry))
}

/// Every workflow.
pub(crate) async fn list(app: App, _request: ListWorkflowsRequest) -> Result<WorkflowList, Error> {
    Ok(WorkflowList {
        workflows: app.definitions.list().await?.into_iter().map(described).collect(),
    })
}

async fn agents_are_there(app: &App, definition: &Definition) -> Result<(), Error> {
    for (agent, pointer) in &definition.references().agents {
        match app.bus.request(&GetAgentRequest { name: agent.clone(), ..Default::default() }).await
        {
            Ok(_definition) => {}
            Err(fault) if fault.code == Code::NotFound => {
                return Err(Error::UnknownAgent { agent: agent.clone(), pointer: pointer.clone() });
            }
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(())
}

/// A workflow may run itself; all others that it names must be there before it.
async fn workflows_are_there(app: &App, definition: &Definition) -> Result<(), Error> {
    for (workflow, pointer) in &definition.references().workflows {
        let own_version = ["latest", definition.version()].contains(&workflow.version.as_str());
        let namespaces = ["", definition.namespace()];
        let own =
            namespaces.contains(&workflow.namespace.as_str()) && workflow.name == definition.name();
        if own && own_version {
            continue;
        }
        let version = if workflow.version == "latest" { "" } else { &workflow.version };
        let entry = app.definitions.find(&workflow.name, version).await?;
        if entry.is_none_or(|entry| !["", &entry.namespace].contains(&workflow.namespace.as_str()))
        {
            return Err(Error::UnknownChild {
                workflow: workflow.to_string(),
                pointer: pointer.clone(),
            });
        }
    }
    Ok(())
}

fn described(entry: Entry) -> WorkflowDefinition {
    WorkflowDefinition {
        namespace: entry.namespace,
        name: entry.name,
        version: entry.version,
        digest: entry.digest,
        registered_at: now(entry.registered_at),
        ..Default::default()
    }
}
