//! What a request may name as its model.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use muster_contracts::agent::v1::ListAgentsRequest;
use muster_contracts::model::v1::ListModelsRequest;

use crate::app::App;
use crate::domain::openai::AGENT;
use crate::error::Error;
use crate::wire::openai::{ModelEntries, ModelEntry};

/// Aliases, the models of the providers, and agents, in the wire format of OpenAI's models.
#[utoipa::path(get, path = "/v1/models", tag = "openai", operation_id = "list_models",
    responses((status = 200, body = Object),
        (status = "default", body = Object, description = "OpenAI's `error`", content_type = "application/json")))]
pub(crate) async fn list(
    State(app): State<App>,
    headers: HeaderMap,
) -> Result<Json<ModelEntries>, Error> {
    let client = app.keys.client(&headers).await?;
    let (models, agents) = (ListModelsRequest::default(), ListAgentsRequest::default());
    let (models, agents) = tokio::try_join!(app.bus.request(&models), app.bus.request(&agents))?;
    let aliases = models.models.into_iter().map(|model| ModelEntry::new(model.name, "muster"));
    let mut data: Vec<ModelEntry> = aliases.collect();
    for provider in models.providers {
        let own = std::iter::once(provider.default_model)
            .chain(provider.models)
            .chain(Some(provider.embedding_model));
        data.extend(
            own.filter(|model| !model.is_empty())
                .map(|model| ModelEntry::new(model, &provider.name)),
        );
    }
    let agents = agents.agents.into_iter();
    data.extend(agents.map(|agent| ModelEntry::new(format!("{AGENT}{}", agent.name), "muster")));
    let mut seen = std::collections::HashSet::new();
    // An alias comes before a provider's model of the same name.
    data.retain(|entry| client.may_use(&entry.id).is_ok() && seen.insert(entry.id.clone()));
    Ok(Json(ModelEntries { object: "list", data }))
}
