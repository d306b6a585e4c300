//! Registering and reading names for models.

use chrono::Utc;
use muster_bus::MessageId;
use muster_contracts::model::v1::{
    DeleteModelRequest, GetModelRequest, ListModelsRequest, ModelDefinition,
    ModelDefinitionChanged, ModelList, PutModelRequest,
};
use muster_contracts::{Code, Fault, now};
use muster_text::nearest;

use crate::app::App;
use crate::domain::definition::{check, sealed};
use crate::error::Error;

/// How many names an error lists, at most.
const LISTED: usize = 20;

/// Registers a name whose targets are all there.
pub(crate) async fn put(app: App, request: PutModelRequest) -> Result<ModelDefinition, Error> {
    let definition = request.definition.unwrap_or_default();
    check(&definition, &app.routing.providers.names()).map_err(Error::Invalid)?;
    let definition = sealed(ModelDefinition { preset: false, ..definition })?;
    app.routing.definitions.put(&definition).await?;
    tell(&app, &definition.name, definition.digest.clone()).await?;
    Ok(definition)
}

/// Removes a name that was registered. One of the settings that it had replaced holds again.
pub(crate) async fn delete(
    app: App,
    request: DeleteModelRequest,
) -> Result<ModelDefinition, Error> {
    let name = request.name;
    let definition = find(&app, &name).await?;
    if definition.preset {
        let text = format!(
            "the name {name:?} stands in the file of MUSTER_MODELS_FILE, and can be removed there alone"
        );
        return Err(Fault::new(Code::Conflict, text).into());
    }
    app.routing.definitions.remove(&name).await?;
    let known = app.routing.definitions.known().await?;
    let now = known.get(&name).map(|found| found.digest.clone());
    tell(&app, &name, now.unwrap_or_default()).await?;
    Ok(definition)
}

async fn tell(app: &App, name: &str, digest: String) -> Result<(), Error> {
    let event =
        ModelDefinitionChanged { name: name.to_owned(), digest, timestamp: now(Utc::now()) };
    app.bus.publish(&event, &MessageId::random()).await?;
    Ok(())
}

/// The definition of a name.
pub(crate) async fn get(app: App, request: GetModelRequest) -> Result<ModelDefinition, Error> {
    find(&app, &request.name).await
}

async fn find(app: &App, name: &str) -> Result<ModelDefinition, Error> {
    let known = app.routing.definitions.known().await?;
    known.get(name).cloned().ok_or_else(|| {
        let hint = match nearest(name, known.keys().map(String::as_str)) {
            Some(near) => format!("is {near:?} meant?"),
            None if known.is_empty() => "none is registered".to_owned(),
            None => {
                let names: Vec<&str> = known.keys().take(LISTED).map(String::as_str).collect();
                format!("there are {}", names.join(", "))
            }
        };
        Error::UnknownDefinition { name: name.chars().take(80).collect(), hint }
    })
}

/// Every name, and every provider that can be asked.
pub(crate) async fn list(app: App, _request: ListModelsRequest) -> Result<ModelList, Error> {
    let known = app.routing.definitions.known().await?;
    Ok(ModelList {
        models: known.values().cloned().collect(),
        providers: app.routing.providers.ready().map(|found| found.info.clone()).collect(),
    })
}
