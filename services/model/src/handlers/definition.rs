//! Registering and reading names for models.

use muster_contracts::model::v1::{
    GetModelRequest, ListModelsRequest, ModelDefinition, ModelList, PutModelRequest,
};

use crate::app::App;
use crate::domain::definition::{check, sealed};
use crate::error::Error;

/// Registers a name whose targets are all there.
pub(crate) async fn put(app: App, request: PutModelRequest) -> Result<ModelDefinition, Error> {
    let definition = request.definition.unwrap_or_default();
    check(&definition, &app.routing.providers.names()).map_err(Error::Invalid)?;
    let definition = sealed(ModelDefinition { preset: false, ..definition })?;
    app.routing.definitions.put(&definition).await?;
    Ok(definition)
}

/// The definition of a name.
pub(crate) async fn get(app: App, request: GetModelRequest) -> Result<ModelDefinition, Error> {
    let known = app.routing.definitions.known().await?;
    let shown = || request.name.chars().take(80).collect();
    known.get(&request.name).cloned().ok_or_else(|| Error::UnknownDefinition(shown()))
}

/// Every name, and every provider that can be asked.
pub(crate) async fn list(app: App, _request: ListModelsRequest) -> Result<ModelList, Error> {
    let known = app.routing.definitions.known().await?;
    Ok(ModelList {
        models: known.values().cloned().collect(),
        providers: app.routing.providers.ready().map(|found| found.info.clone()).collect(),
    })
}
