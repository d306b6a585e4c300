//! Registering and reading templates.

use chrono::Utc;
use muster_contracts::now;
use muster_contracts::template::v1::{
    DeleteTemplateRequest, GetTemplateDefinitionRequest, ListTemplateVersionsRequest,
    ListTemplatesRequest, PutTemplateRequest, TemplateDefinition, TemplateList, TemplateVersion,
    TemplateVersions,
};

use crate::app::App;
use crate::domain::definition::checked;
use crate::error::Error;

/// Registers a template, or only tells what would be registered.
pub(crate) async fn put(
    app: App,
    request: PutTemplateRequest,
) -> Result<TemplateDefinition, Error> {
    let definition = checked(request.definition.unwrap_or_default())?;
    let definition = TemplateDefinition { registered_at: now(Utc::now()), ..definition };
    if request.check_only {
        return Ok(definition);
    }
    Ok(app.registry.put(definition).await?)
}

/// A template, or one of its versions.
pub(crate) async fn get(
    app: App,
    request: GetTemplateDefinitionRequest,
) -> Result<TemplateDefinition, Error> {
    if request.version.is_empty() {
        return app.registry.get(&request.name).await;
    }
    app.registry.version(&request.name, &request.version).await
}

/// Every template.
pub(crate) async fn list(app: App, _request: ListTemplatesRequest) -> Result<TemplateList, Error> {
    Ok(TemplateList { templates: app.registry.list().await? })
}

/// The versions of a template.
pub(crate) async fn versions(
    app: App,
    request: ListTemplateVersionsRequest,
) -> Result<TemplateVersions, Error> {
    let versions = app.registry.versions(&request.name).await?;
    // Removed templates have versions, but none is the latest.
    let latest = match app.registry.get(&request.name).await {
        Ok(latest) => (latest.digest, latest.built_in),
        Err(Error::UnknownTemplate { .. }) if !versions.is_empty() => Default::default(),
        Err(error) => return Err(error),
    };
    let versions = versions.into_iter().map(|version| TemplateVersion {
        latest: (&version.digest, version.built_in) == (&latest.0, latest.1),
        digest: version.digest,
        registered_at: version.registered_at,
        built_in: version.built_in,
    });
    Ok(TemplateVersions { name: request.name, versions: versions.collect() })
}

/// Removes a template.
pub(crate) async fn delete(
    app: App,
    request: DeleteTemplateRequest,
) -> Result<TemplateDefinition, Error> {
    app.registry.delete(&request.name).await
}
