//! One reply to a conversation, in OpenAI's newer format.

use axum::extract::{Request, State};
use axum::response::Response;
use chrono::Utc;
use uuid::Uuid;

use super::asked;
use super::chat::{Asked, answer, scoped};
use crate::app::App;
use crate::auth::Client;
use crate::body::{INPUT_LIMIT, Media, Payload};
use crate::controllers::executions::start::key;
use crate::domain::responses::{chat_request, echo, renamed};
use crate::error::Error;
use crate::wire::openai::{Events, ResponsesRequest};

/// One reply of a model or an agent, in the wire format of OpenAI's responses: whole, or with `stream: true` as
/// server-sent events.
///
/// Nothing is stored: a conversation is sent whole. Everything else is as at `/v1/chat/completions`.
#[utoipa::path(post, path = "/v1/responses", tag = "openai", operation_id = "create_response",
    request_body(content = Object, description = "As OpenAI describes it", content_type = "application/json"),
    params(("Authorization" = Option<String>, Header, description = "`Bearer` and a virtual key or an admin token. Needed with `MUSTER_AUTH=required`, and on this path also where a virtual key is registered or `MUSTER_REQUIRE_KEYS` is set; where one of ours is sent, it must be a good one"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 characters that name this request")),
    responses((status = 200, content((Object = "application/json"), (String = "text/event-stream"))),
        (status = "default", body = Object, description = "OpenAI's `error`", content_type = "application/json")))]
pub(crate) async fn respond(State(app): State<App>, request: Request) -> Result<Response, Error> {
    let client = Client::of(&request)?;
    let key = key(request.headers())?;
    let body = Payload::read(request, &[Media::Json], INPUT_LIMIT).await?.bytes;
    let asked: ResponsesRequest = asked::parse(&body)?;
    let name = Uuid::now_v7().simple().to_string();
    let writer = Events::new(name, Utc::now().timestamp(), &asked.model, echo(&body));
    let request = chat_request(asked).map_err(|refusal| Error::Refused(renamed(refusal)))?;
    let key = scoped("responses", &client, key.as_ref(), &body);
    let asked = Asked { client, key, request };
    answer(&app, asked, writer).await.map_err(|error| match error {
        Error::Refused(refusal) => Error::Refused(renamed(refusal)),
        other => other,
    })
}
