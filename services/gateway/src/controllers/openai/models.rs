//! What a request may name as its model.

use axum::Json;
use axum::extract::{Path, State};
use muster_contracts::agent::v1::ListAgentsRequest;
use muster_contracts::model::v1::ListModelsRequest;
use muster_contracts::{Code, Fault};
use muster_text::nearest;

use super::chat::refused;
use crate::app::App;
use crate::auth::Client;
use crate::domain::openai::AGENT;
use crate::error::Error;
use crate::wire::openai::{ModelEntries, ModelEntry};

/// Aliases, the models of the providers, and agents, in the wire format of OpenAI's models.
#[utoipa::path(get, path = "/v1/models", tag = "openai", operation_id = "list_models",
    responses((status = 200, body = Object),
        (status = "default", body = Object, description = "OpenAI's `error`", content_type = "application/json")))]
pub(crate) async fn list(
    State(app): State<App>,
    client: Client,
) -> Result<Json<ModelEntries>, Error> {
    let data = entries(&app, &client).await?.1;
    Ok(Json(ModelEntries { object: "list", data }))
}

/// One of them; also a model as `PROVIDER/MODEL`, which its provider may have or not.
#[utoipa::path(get, path = "/v1/models/{id}", tag = "openai", operation_id = "get_model",
    params(("id" = String, Path, description = "What a request names as its `model`; a slash in it is written as it is, or as `%2F`")),
    responses((status = 200, body = Object),
        (status = "default", body = Object, description = "OpenAI's `error`", content_type = "application/json")))]
pub(crate) async fn get(
    State(app): State<App>,
    Path(id): Path<String>,
    client: Client,
) -> Result<Json<ModelEntry>, Error> {
    let (providers, entries) = entries(&app, &client).await?;
    if let Some(entry) = entries.iter().find(|entry| entry.id == id) {
        return Ok(Json(entry.clone()));
    }
    if let Some((provider, model)) = id.split_once('/')
        && !model.is_empty()
        && providers.iter().any(|known| known == provider)
        && client.may_use(&id).is_ok()
    {
        return Ok(Json(ModelEntry::new(&id, provider)));
    }
    // Of those alone that the client may use: the name of another one tells nothing.
    let near = nearest(&id, entries.iter().map(|entry| entry.id.as_str()));
    let near = near.map(|near| format!(" Is '{near}' meant?")).unwrap_or_default();
    let text =
        format!("The model '{id:.200}' does not exist or you do not have access to it.{near}");
    Err(refused(Fault::new(Code::NotFound, text)))
}

/// The same, where the slashes of the name are written as they are.
pub(crate) async fn get_plain(
    app: State<App>,
    Path((provider, model)): Path<(String, String)>,
    client: Client,
) -> Result<Json<ModelEntry>, Error> {
    get(app, Path(format!("{provider}/{model}")), client).await
}

/// The names of the providers, and what the client may name as a model.
async fn entries(app: &App, client: &Client) -> Result<(Vec<String>, Vec<ModelEntry>), Error> {
    let (models, agents) = (ListModelsRequest::default(), ListAgentsRequest::default());
    let (models, agents) = tokio::try_join!(app.bus.request(&models), app.bus.request(&agents))?;
    let aliases = models.models.into_iter().map(|model| ModelEntry::new(model.name, "muster"));
    let mut data: Vec<ModelEntry> = aliases.collect();
    let mut providers = Vec::new();
    for provider in models.providers {
        let own = std::iter::once(provider.default_model)
            .chain(provider.models)
            .chain(Some(provider.embedding_model));
        data.extend(
            own.filter(|model| !model.is_empty())
                .map(|model| ModelEntry::new(model, &provider.name)),
        );
        providers.push(provider.name);
    }
    let agents = agents.agents.into_iter();
    data.extend(agents.map(|agent| ModelEntry::new(format!("{AGENT}{}", agent.name), "muster")));
    let mut seen = std::collections::HashSet::new();
    // An alias comes before a provider's model of the same name.
    data.retain(|entry| client.may_use(&entry.id).is_ok() && seen.insert(entry.id.clone()));
    Ok((providers, data))
}
