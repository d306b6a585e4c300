//! Streamable HTTP, by the way that all requests of this service go.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream::BoxStream;
use reqwest::header::{HeaderName, HeaderValue};
use reqwest::{Method, Response, StatusCode};
use rmcp::model::{ClientJsonRpcMessage, ErrorData, ServerJsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use serde_json::{Map, Value, json};
use sse_stream::{Sse, SseStream};

use super::connection::MAX_MESSAGE;
use super::{Shared, Way};
use crate::calls::{Ask, Net, Secrets, Vault, again, for_caller, is_stream};
use crate::domain::call::Effect;
use crate::error::{Again, Error};
use crate::outbound::{Question, header_text};

const SESSION: &str = "mcp-session-id";
const LAST_EVENT: &str = "last-event-id";
/// Characters of an answer that an error repeats.
const EXCERPT: usize = 500;

type Failure = StreamableHttpError<Error>;
type Headers = HashMap<HeaderName, HeaderValue>;

/// The way to one server. Cheap to clone.
#[derive(Clone)]
pub(super) struct Http(Arc<Place>);

struct Place {
    net: Arc<Net>,
    uri: String,
    authentication: Option<Value>,
    headers: Map<String, Value>,
    secrets: Secrets,
    declared: Vec<String>,
    needs: Map<String, Value>,
}

impl Http {
    pub(super) fn of(shared: &Shared) -> Option<Self> {
        let Way::Http { uri, authentication, headers } = &shared.way else { return None };
        Some(Self(Arc::new(Place {
            net: shared.kinds.net.clone(),
            uri: uri.clone(),
            authentication: authentication.clone(),
            headers: headers.clone(),
            secrets: shared.kinds.config.secrets.clone(),
            declared: shared.definition.secrets.clone(),
            needs: shared.needs.clone(),
        })))
    }

    /// For what keeps connections apart: secrets in the address are marks.
    pub(super) fn uri(&self) -> Arc<str> {
        self.0.uri.as_str().into()
    }

    async fn send(
        &self,
        method: Method,
        body: Value,
        (session, headers): (Option<Arc<str>>, Headers),
    ) -> Result<(Question, Response), Failure> {
        let place = &self.0;
        let mut vault = Vault::open(&place.secrets, &place.declared, &place.needs)
            .await
            .map_err(Failure::Client)?;
        let mut all = place.headers.clone();
        for (name, value) in &headers {
            all.insert(name.to_string(), Value::String(header_text(value)));
        }
        all.insert("accept".to_owned(), json!("application/json, text/event-stream"));
        if !body.is_null() {
            all.insert("content-type".to_owned(), json!("application/json"));
        }
        if let Some(session) = session {
            all.insert(SESSION.to_owned(), json!(session.as_ref()));
        }
        let ask = Ask::message(method, &place.uri, (all, body), place.authentication.clone());
        let opened = Box::pin(place.net.open(&ask, "", &mut vault)).await;
        opened.map_err(|error| Failure::Client(vault.mask_error(error)))
    }
}

impl StreamableHttpClient for Http {
    type Error = Error;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        _auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failure> {
        let body = serde_json::to_value(&message)?;
        let had_session = session_id.is_some();
        let (question, response) =
            self.send(Method::POST, body.clone(), (session_id, custom_headers)).await?;
        let status = response.status();
        if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        if status == StatusCode::NOT_FOUND && had_session {
            return Err(Failure::SessionExpired);
        }
        let session = response.headers().get(SESSION).map(header_text);
        let again = again(response.headers());
        if status.is_success() && is_stream(response.headers()) {
            return Ok(StreamableHttpPostResponse::Sse(events(response), session));
        }
        let answer = question.read(response, MAX_MESSAGE).await.map_err(Failure::Client)?;
        let parsed = serde_json::from_slice::<ServerJsonRpcMessage>(&answer.body);
        match parsed {
            Ok(message) if status.is_success() => {
                Ok(StreamableHttpPostResponse::Json(message, session))
            }
            _ if status.is_success() && body.get("id").is_none() => {
                Ok(StreamableHttpPostResponse::Accepted)
            }
            parsed => {
                let refusal = Refusal { status, again, had_session, body: &answer.body };
                refused(&body, &refusal, parsed.ok())
            }
        }
    }

    async fn delete_session(
        &self,
        _uri: Arc<str>,
        session_id: Arc<str>,
        _auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Result<(), Failure> {
        // Servers may refuse it (405), and the session ends by itself then.
        self.send(Method::DELETE, Value::Null, (Some(session_id), custom_headers)).await.map(drop)
    }

    async fn get_stream(
        &self,
        _uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth_header: Option<String>,
        mut custom_headers: Headers,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, Failure> {
        if let Some(value) = last_event_id.and_then(|id| HeaderValue::from_str(&id).ok()) {
            custom_headers.insert(HeaderName::from_static(LAST_EVENT), value);
        }
        let (_, response) =
            self.send(Method::GET, Value::Null, (session_id, custom_headers)).await?;
        if !response.status().is_success() || !is_stream(response.headers()) {
            return Err(Failure::ServerDoesNotSupportSse);
        }
        Ok(events(response))
    }
}

/// An answer that is no success.
struct Refusal<'a> {
    status: StatusCode,
    again: Again,
    had_session: bool,
    body: &'a [u8],
}

/// What a refusal says. One of `server/discover` is how servers of older revisions answer it.
fn refused(
    asked: &Value,
    refusal: &Refusal<'_>,
    message: Option<ServerJsonRpcMessage>,
) -> Result<StreamableHttpPostResponse, Failure> {
    let Refusal { status, again, had_session, body } = *refusal;
    let text = String::from_utf8_lossy(body);
    let excerpt: String = text.trim().chars().take(EXCERPT).collect();
    let is_denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    let said = format!("it answered {}: {excerpt}", status.as_u16());
    let detail = said.clone();
    let raised = Error::Raised { kind: "communication", status: status.as_u16(), detail, again };
    if let busy @ (Error::Exhausted { .. } | Error::Unavailable { retry_after_ms: Some(_), .. }) =
        for_caller(raised, Effect::Once)
    {
        return Err(Failure::Client(busy));
    }
    if asked.get("method").is_some_and(|method| method == "server/discover")
        && !had_session
        && status.is_client_error()
        && !is_denied
    {
        let error = match message {
            Some(ServerJsonRpcMessage::Error(error)) => error.error,
            _ => ErrorData::invalid_request(said, None),
        };
        let id = asked.get("id").cloned().and_then(|id| serde_json::from_value(id).ok());
        return Ok(StreamableHttpPostResponse::Json(ServerJsonRpcMessage::error(error, id), None));
    }
    match message {
        Some(message @ ServerJsonRpcMessage::Error(_)) if !is_denied => {
            Ok(StreamableHttpPostResponse::Json(message, None))
        }
        _ => Err(Failure::Client(Error::Raised {
            kind: "communication",
            status: status.as_u16(),
            detail: said,
            again,
        })),
    }
}

/// The events of an answer, each of at most [`MAX_MESSAGE`] bytes.
fn events(response: Response) -> BoxStream<'static, Result<Sse, SseError>> {
    let mut since = 0usize;
    let bytes = response.bytes_stream().map(move |piece| {
        let piece = piece.map_err(io::Error::other)?;
        // An event ends with an empty line.
        let end = piece.windows(2).rposition(|two| matches!(two, b"\n\n" | b"\n\r"));
        since = end.map_or(since + piece.len(), |end| piece.len() - end);
        if since > MAX_MESSAGE {
            return Err(io::Error::other(format!("an event is larger than {MAX_MESSAGE} bytes")));
        }
        Ok(piece)
    });
    SseStream::from_bytes_stream(bytes).boxed()
}
