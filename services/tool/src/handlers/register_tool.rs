//! Registers and removes tools.

use muster_contracts::tool::v1::{RegisterToolRequest, ToolDefinition, UnregisterToolRequest};
use tracing::info;

use crate::app::App;
use crate::domain::registration;
use crate::error::Error;

pub(crate) async fn register_tool(
    app: App,
    request: RegisterToolRequest,
) -> Result<ToolDefinition, Error> {
    not_built_in(&app, &request.name)?;
    let definition = registration::parse(request).map_err(Error::Invalid)?;
    let shown = app.registry.definitions().put(definition).await?;
    info!(tool = shown.name, effect = shown.effect, "tool registered");
    Ok(shown)
}

pub(crate) async fn unregister_tool(
    app: App,
    request: UnregisterToolRequest,
) -> Result<ToolDefinition, Error> {
    not_built_in(&app, &request.name)?;
    if let Some(removed) = app.registry.definitions().remove(&request.name).await? {
        return Ok(removed);
    }
    let (name, known) = (cut(&request.name), app.registry.names().await);
    Err(Error::NotFound(format!("there is no registered tool {name:?}; there are: {known}")))
}

fn not_built_in(app: &App, name: &str) -> Result<(), Error> {
    if app.registry.built_in().contains_key(name) {
        return Err(Error::Conflict(format!(
            "the tool {name:?} is built in: it can be neither replaced nor removed; choose another name"
        )));
    }
    Ok(())
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}
