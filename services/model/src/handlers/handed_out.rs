//! Keys and settings of providers for other services: the key in a box that only its requester opens, and an event without it.

use chrono::Utc;
use muster_bus::MessageId;
use muster_contracts::model::v1::{
    ConfigReply, ConfigRetrieved, GetConfigRequest, GetKeyRequest, KeyReply, KeyRetrieved,
};
use muster_contracts::{Code, Fault, JsonObject, now};
use serde_json::json;

use crate::app::App;
use crate::error::Error;

pub(crate) async fn key(app: App, request: GetKeyRequest) -> Result<KeyReply, Error> {
    let (key_id, boxed) = app.vault.hand_out(&request.provider, &request.public_key).await?;
    // Before the reply: who got a key is known, or nobody got it.
    let event = KeyRetrieved {
        key_id: key_id.clone(),
        provider: request.provider.clone(),
        requester: request.requester,
        timestamp: now(Utc::now()),
    };
    app.bus.publish(&event, &MessageId::random()).await?;
    Ok(KeyReply {
        key_id,
        provider: request.provider,
        sender_key: boxed.sender_key,
        r#box: boxed.text,
        ..KeyReply::default()
    })
}

pub(crate) async fn config(app: App, request: GetConfigRequest) -> Result<ConfigReply, Error> {
    let found = app.routing.providers.find(&request.provider).ok_or_else(|| {
        let names = app.routing.providers.names().join(", ");
        let text = format!("there is no provider {:?}: configured are {names}", request.provider);
        Fault::new(Code::NotFound, text)
    })?;
    let info = &found.info;
    let model = if request.model.is_empty() { info.default_model.clone() } else { request.model };
    let price = app.quotes.prices.shown(&info.name, &model);
    let parameters = json!({
        "dialect": info.dialect,
        "default_model": info.default_model,
        "embedding_model": info.embedding_model,
        "models": info.models,
        "usd_per_million_tokens": price,
    });
    let event = ConfigRetrieved {
        provider: info.name.clone(),
        model: model.clone(),
        requester: request.requester,
        timestamp: now(Utc::now()),
    };
    app.bus.publish(&event, &MessageId::random()).await?;
    Ok(ConfigReply {
        provider: info.name.clone(),
        model,
        base_url: info.base_url.clone(),
        parameters: Some(JsonObject::wrap(parameters)),
    })
}
