//! Vectors of texts.

use axum::Json;
use axum::extract::{Request, State};
use muster_contracts::llm::v1::EmbedRequest;
use serde_json::Value;

use super::chat::{random, refused};
use super::{LONGEST, asked};
use crate::app::App;
use crate::auth::Client;
use crate::body::{INPUT_LIMIT, Media, Payload};
use crate::error::Error;
use crate::wire::openai::{AskedInput, EmbeddingRequest, Embeddings, Refusal};

/// Vectors of texts, in the wire format of OpenAI's embeddings.
#[utoipa::path(post, path = "/v1/embeddings", tag = "openai", operation_id = "create_embedding",
    request_body(content = Object, description = "As OpenAI describes it", content_type = "application/json"),
    params(("Authorization" = Option<String>, Header, description = "`Bearer` and a virtual key or an admin token. Needed with `MUSTER_AUTH=required`, and on this path also where a virtual key is registered or `MUSTER_REQUIRE_KEYS` is set; where one of ours is sent, it must be a good one")),
    responses((status = 200, body = Object),
        (status = "default", body = Object, description = "OpenAI's `error`", content_type = "application/json")))]
pub(crate) async fn embed(State(app): State<App>, request: Request) -> Result<Json<Value>, Error> {
    let client = Client::of(&request)?;
    let body = Payload::read(request, &[Media::Json], INPUT_LIMIT).await?.bytes;
    let asked: EmbeddingRequest = asked::parse(&body)?;
    let base64 = is_base64(asked.encoding_format.as_deref()).map_err(Error::Refused)?;
    let request = EmbedRequest {
        provider: "default".to_owned(),
        model: asked.model,
        inputs: inputs(asked.input).map_err(Error::Refused)?,
        dimensions: asked.dimensions.unwrap_or_default(),
        idempotency_key: random(),
        tenant: client.tenant.clone(),
        key_id: client.key_id.clone(),
    };
    let response = Box::pin(app.bus.request_within(&request, LONGEST)).await.map_err(refused)?;
    Ok(Json(Embeddings::body(&response, base64)))
}

fn is_base64(format: Option<&str>) -> Result<bool, Refusal> {
    match format {
        None | Some("float") => Ok(false),
        Some("base64") => Ok(true),
        Some(other) => {
            let message =
                format!("Invalid value: '{other}'. Supported values are: 'float' and 'base64'.");
            Err(Refusal::value("encoding_format", message))
        }
    }
}

fn inputs(input: AskedInput) -> Result<Vec<String>, Refusal> {
    match input {
        AskedInput::One(text) => Ok(vec![text]),
        AskedInput::Several(texts) => Ok(texts),
        AskedInput::Tokens(tokens) => {
            let message = format!(
                "Invalid 'input': {} numbers. Tokens mean something to one model only: send texts instead.",
                tokens.len()
            );
            Err(Refusal::value("input", message))
        }
    }
}
