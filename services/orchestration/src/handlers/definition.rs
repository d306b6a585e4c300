//! Registering and reading workflow definitions.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use muster_contracts::agent::v1::GetAgentRequest;
use muster_contracts::workflow::v1::{
    DeleteWorkflowRequest, ExecutionCheck, GetWorkflowRequest, ListWorkflowsRequest,
    PutWorkflowRequest, WorkflowCheck, WorkflowDefinition, WorkflowList,
};
use muster_contracts::{Code, Json, now};
use muster_text::nearest;
use muster_workflow::Definition;
use tracing::warn;

use crate::Error;
use crate::app::App;
use crate::definitions::Entry;
use crate::time_travel::Patience;
use crate::{externals, secrets};

/// How many executions a refusal lists, at most.
const LISTED: usize = 20;
/// How long a version that anybody may register waits for what it is told of it.
const LONGEST_CHECK: Duration = Duration::from_secs(8);

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
    let definition = Arc::new(definition);
    let check = checked(&app, &definition, before.as_ref(), request.strict).await?;
    let (entry, created) = app.definitions.register(&definition, Utc::now()).await?;
    app.schedules.registered(&definition, &entry, before.as_ref()).await?;
    Ok(WorkflowDefinition {
        created,
        check: check.filter(|_| created),
        document: Some(Json(definition.document().clone())),
        ..described(entry)
    })
}

/// What a version that takes the place of another one would have changed for the executions that run: those alone that differ.
///
/// # Errors
/// [`Error::Differs`], where `strict` is wanted and one differs or was not checked; then also where nothing can be checked.
async fn checked(
    app: &App,
    new: &Arc<Definition>,
    before: Option<&Entry>,
    strict: bool,
) -> Result<Option<WorkflowCheck>, Error> {
    let replaces = before.is_some_and(|before| before.digest != new.digest());
    // A version that is there stays the version that it is, and does not become the default.
    if !replaces || app.definitions.find(new.name(), new.version()).await?.is_some() {
        return Ok(None);
    }
    if strict {
        let mut check = app.executions.check_definition(new, Patience::ASKED).await?;
        check.executions.retain(differs);
        if check.executions.is_empty() && check.unchecked == 0 {
            return Ok(Some(check));
        }
        let differ = check.executions.len();
        check.executions.truncate(LISTED);
        return Err(Error::Differs { differ, check: Box::new(check) });
    }
    let checking = app.executions.check_definition(new, Patience::BRIEF);
    let failure = match tokio::time::timeout(LONGEST_CHECK, checking).await {
        Ok(Ok(mut check)) => {
            check.executions.retain(differs);
            return Ok(Some(check));
        }
        Ok(Err(error)) => error.public_text(),
        Err(_elapsed) => format!("the log did not answer within {} s", LONGEST_CHECK.as_secs()),
    };
    // Who does not want to be refused is not refused because the log is away.
    let (name, version, digest) = (new.name(), new.version(), new.digest());
    warn!(workflow = name, version, failure, "what runs could not be checked");
    Ok(Some(WorkflowCheck {
        name: name.to_owned(),
        version: version.to_owned(),
        digest: digest.to_owned(),
        default_version: before.map(|before| before.version.clone()).unwrap_or_default(),
        failure,
        ..Default::default()
    }))
}

fn differs(check: &ExecutionCheck) -> bool {
    !check.differences.is_empty()
}

/// The definition of a name.
pub(crate) async fn get(
    app: App,
    request: GetWorkflowRequest,
) -> Result<WorkflowDefinition, Error> {
    let Some(entry) = app.definitions.find(&request.name, &request.version).await? else {
        return Err(unknown(&app, request.name, request.version).await);
    };
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
        return Err(unknown(&app, name, String::new()).await);
    };
    app.schedules.end(&entry).await?;
    app.definitions.remove(&name).await?;
    Ok(described(entry))
}

/// That a workflow is not there, with what may have been meant.
async fn unknown(app: &App, name: String, version: String) -> Error {
    let newest = app.definitions.find(&name, "").await.ok().flatten();
    let hint = match newest {
        Some(newest) => format!("its newest version is {:?}", newest.version),
        None => {
            let all = app.definitions.list().await.unwrap_or_default();
            let near = nearest(&name, all.iter().map(|entry| entry.name.as_str()));
            near.map_or_else(
                || "PUT /v1/workflows first".to_owned(),
                |near| format!("is {near:?} meant? Else PUT /v1/workflows first"),
            )
        }
    };
    Error::UnknownWorkflow { name, version, hint }
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
