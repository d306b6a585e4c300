//! One reply to a conversation.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use muster_contracts::llm::v1::{ChatMessage, CompleteRequest, CompleteResponse};
use muster_contracts::{Code, Fault};
use serde_json::json;
use uuid::Uuid;

use super::{LONGEST, agent, asked, stream};
use crate::app::App;
use crate::auth::Client;
use crate::body::{INPUT_LIMIT, Media, Payload};
use crate::controllers::executions::start::key;
use crate::domain::idempotency::{Key, digest};
use crate::domain::openai::{AGENT, complete_request};
use crate::error::Error;
use crate::wire::openai::{ChatRequest, Pieces, Refusal, Writer};

/// What a client asks, in whichever format.
pub(super) struct Asked {
    pub(super) client: Client,
    /// The name of the recorded reply; none where nothing is recorded.
    pub(super) key: Option<String>,
    pub(super) request: ChatRequest,
}

/// One reply of a model or an agent, in the wire format of OpenAI's chat completions: whole, or with `stream: true` as
/// server-sent events.
///
/// `model` is an alias, a provider's model or `agent:NAME`. Errors are in OpenAI's format. With an `Idempotency-Key` a
/// repeated request gets the recorded reply (for 24 hours); without one, a client that hangs up ends the provider's work.
#[utoipa::path(post, path = "/v1/chat/completions", tag = "openai", operation_id = "create_chat_completion",
    request_body(content = Object, description = "As OpenAI describes it", content_type = "application/json"),
    params(("Authorization" = Option<String>, Header, description = "`Bearer` and a virtual key or an admin token. Needed with `MUSTER_AUTH=required`, and on this path also where a virtual key is registered or `MUSTER_REQUIRE_KEYS` is set; where one of ours is sent, it must be a good one"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 200, content((Object = "application/json"), (String = "text/event-stream"))),
        (status = "default", body = Object, description = "OpenAI's `error`", content_type = "application/json")))]
pub(crate) async fn complete(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let client = Client::of(&request)?;
    let key = key(request.headers())?;
    let body = Payload::read(request, &[Media::Json], INPUT_LIMIT).await?.bytes;
    let mut request: ChatRequest = asked::parse(&body)?;
    let options = request.stream_options.take();
    let with_usage = options.and_then(|options| options.include_usage) == Some(true);
    let id = format!("chatcmpl-{}", Uuid::now_v7().simple());
    let writer = Pieces::new(id, Utc::now().timestamp(), &request.model, with_usage);
    let key = scoped("chat", &client, key.as_ref(), &body);
    answer(&app, Asked { client, key, request }, writer).await
}

/// Asks whom the request names, and writes what they answer.
pub(super) async fn answer<W: Writer>(
    app: &App,
    asked: Asked,
    writer: W,
) -> Result<Response, Error> {
    let Asked { client, key, request: asked } = asked;
    let streams = asked.stream == Some(true);
    let one_call = asked.parallel_tool_calls == Some(false);
    if asked.model.starts_with(AGENT) {
        client.may_use(&asked.model)?;
        let run = agent::run(app.clone(), asked, (client.clone(), key))?;
        if streams {
            return stream::respond(app, &client, stream::Source::of_agent(run), writer, one_call)
                .await;
        }
        return Ok(whole(run.await?, &writer, one_call));
    }
    let request = CompleteRequest {
        tenant: client.tenant.clone(),
        key_id: client.key_id.clone(),
        unrecorded: key.is_none(),
        idempotency_key: key.unwrap_or_else(random),
        ..complete_request(asked).map_err(Error::Refused)?
    };
    if streams {
        let source = stream::Source::of_model(app, request).await?;
        return stream::respond(app, &client, source, writer, one_call).await;
    }
    let mut waiting =
        request.unrecorded.then(|| app.abandoned.unless_answered(&request.idempotency_key));
    // On the heap: the wait for a reply is much state, and this future is moved.
    let response = Box::pin(app.bus.request_within(&request, LONGEST)).await;
    if let Some(waiting) = &mut waiting
        && !matches!(&response, Err(fault) if fault.code == Code::Deadline)
    {
        waiting.answered();
    }
    Ok(whole(response.map_err(refused)?, &writer, one_call))
}

/// The name of the recorded reply. The same key with another body is another request.
pub(super) fn scoped(
    format: &str,
    client: &Client,
    key: Option<&Key>,
    body: &[u8],
) -> Option<String> {
    let scope = format!("{format}/{}/{}/{}", client.tenant, client.key_id, digest([body]));
    key.map(|key| key.id(&scope).simple().to_string())
}

pub(super) fn random() -> String {
    Uuid::new_v4().simple().to_string()
}

/// An unknown model is told by OpenAI's word for it, and a wrong parameter by its name.
pub(super) fn refused(fault: Fault) -> Error {
    if fault.code == Code::Invalid
        && let Some(param) = parameter(&fault.message)
    {
        return Error::Refused(Refusal::value(param.to_owned(), fault.message));
    }
    if fault.code == Code::NotFound {
        return fault
            .with_details(json!({ "param": "model", "openai_code": "model_not_found" }))
            .into();
    }
    fault.into()
}

/// What a message of the model service is about: it begins with the name, as the client writes it too.
fn parameter(message: &str) -> Option<&str> {
    let (name, _) = message.strip_prefix('`')?.split_once('`')?;
    Some(name).filter(|name| !name.is_empty())
}

/// The message as the client wishes it.
pub(super) fn message(response: &mut CompleteResponse, one_call: bool) -> ChatMessage {
    let mut message = response.message.take().unwrap_or_default();
    if one_call {
        message.tool_calls.truncate(1);
    }
    message
}

fn whole(mut response: CompleteResponse, writer: &impl Writer, one_call: bool) -> Response {
    let message = message(&mut response, one_call);
    let body = writer.whole(&response, &message);
    let json = HeaderValue::from_static("application/json");
    (headers(&response), [(header::CONTENT_TYPE, json)], body).into_response()
}

/// What OpenAI's format has no place for.
fn headers(response: &CompleteResponse) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if let Ok(provider) = HeaderValue::from_str(&response.provider) {
        headers.insert(HeaderName::from_static("muster-provider"), provider);
    }
    if response.cost_nanos > 0 {
        headers.insert(HeaderName::from_static("muster-cost-nanos"), response.cost_nanos.into());
    }
    for (name, is_so) in
        [("muster-cached", response.cached), ("muster-replayed", response.replayed)]
    {
        if is_so {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("true"));
        }
    }
    // Of another question that is nearly the same.
    if response.cached && response.similarity < 1.0 {
        let similarity = HeaderValue::from_str(&format!("{:.4}", response.similarity));
        headers.extend(
            similarity.ok().map(|value| (HeaderName::from_static("muster-similarity"), value)),
        );
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_parameter_is_named() {
        let param = |message: &str| match refused(Fault::new(Code::Invalid, message)) {
            Error::Refused(refusal) => refusal.param,
            _ => None,
        };
        let told = param("`temperature` is 3, but must be 0 to 2");
        assert_eq!(told.as_deref(), Some("temperature"));
        assert_eq!(param("`stop[1]` must have 1 to 100 bytes").as_deref(), Some("stop[1]"));
        assert_eq!(param("no parameter is named"), None);
    }
}
