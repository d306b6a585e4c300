//! Reading a request's body: its type, its size, its text.

use std::time::Duration;

use axum::{
    body::{Body, BodyDataStream},
    extract::Request,
    http::{HeaderMap, header},
};
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use muster_document::Bounds;
use serde::de::DeserializeOwned;

use crate::error::{Error, Size};

/// The largest body of most routes.
pub(crate) const LIMIT: usize = 1 << 20;
/// The largest input of an execution: a message has as much, and says more.
pub(crate) const INPUT_LIMIT: usize = 10 << 20;
/// The largest document.
pub(crate) const DOCUMENT_LIMIT: usize = 8 << 20;

/// How deep a body may be nested.
const MAX_DEPTH: usize = 120;

/// How long a client may take to send a body.
const SEND_TIME: Duration = Duration::from_secs(60);
/// How much of a refused body is thrown away before the answer. A client that only listens once it has sent
/// everything would otherwise see a broken connection instead of the reason.
const DISCARD: usize = 64 << 20;
const DISCARD_TIME: Duration = Duration::from_secs(10);

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    Json,
    Yaml,
    Text,
}

impl Media {
    fn of(content_type: &str) -> Option<Self> {
        let media = content_type.split(';').next()?.trim().to_ascii_lowercase();
        match media.as_str() {
            "application/json" => Some(Self::Json),
            "application/yaml" | "application/x-yaml" | "text/yaml" | "text/x-yaml" => {
                Some(Self::Yaml)
            }
            "text/plain" | "text/markdown" => Some(Self::Text),
            other if other.starts_with("application/") && other.ends_with("+json") => {
                Some(Self::Json)
            }
            other if other.starts_with("application/") && other.ends_with("+yaml") => {
                Some(Self::Yaml)
            }
            _ => None,
        }
    }

    fn names(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Yaml => "application/yaml",
            Self::Text => "text/plain or text/markdown",
        }
    }
}

/// A body of a known type, in memory.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) media: Media,
    pub(crate) bytes: Bytes,
}

impl Payload {
    /// Reads the body, where its type is one of `accepted` and its size within `limit`.
    pub(crate) async fn read(
        request: Request,
        accepted: &[Media],
        limit: usize,
    ) -> Result<Self, Error> {
        let (parts, body) = request.into_parts();
        let media = media(&parts.headers, accepted)?;
        let bytes = bounded(&parts.headers, body, limit).await?;
        Ok(Self { media, bytes })
    }

    /// The body as what its type says it is.
    pub(crate) fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let text = self.text()?;
        // Also of what the aliases of YAML stand for, which the size of the body does not tell.
        let bytes = DOCUMENT_LIMIT.max(self.bytes.len());
        let bounds = Bounds { bytes, values: usize::MAX, depth: MAX_DEPTH };
        let (format, value) = match self.media {
            Media::Yaml => ("YAML", muster_document::read(text, &bounds)),
            Media::Json | Media::Text => ("JSON", muster_document::read_json(text, &bounds)),
        };
        let malformed = |reason: String| Error::Malformed { format, reason };
        let value = value.map_err(|error| malformed(error.to_string()))?;
        // A list would do for an object too, its values in the order of the fields: nobody means that.
        if !value.is_object() {
            return Err(Error::invalid(format!(
                "the body must be an object with fields, not {value:.100}"
            )));
        }
        serde_path_to_error::deserialize(value)
            .map_err(|error| Error::invalid(format!("the body does not fit: {}", place(&error))))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> Result<&str, Error> {
        std::str::from_utf8(&self.bytes).map_err(|error| Error::Malformed {
            format: "UTF-8",
            reason: format!("byte {} is no text; is the file binary?", error.valid_up_to()),
        })
    }
}

/// Reads a body that must be JSON.
pub(crate) async fn json<T: DeserializeOwned>(request: Request) -> Result<T, Error> {
    json_within(request, LIMIT).await
}

/// Reads a body that must be JSON, and has at most `limit` bytes.
pub(crate) async fn json_within<T: DeserializeOwned>(
    request: Request,
    limit: usize,
) -> Result<T, Error> {
    Payload::read(request, &[Media::Json], limit).await?.parse()
}

/// Reads a body of any type.
pub(crate) async fn bytes(request: Request) -> Result<(HeaderMap, Bytes), Error> {
    let (parts, body) = request.into_parts();
    let bytes = bounded(&parts.headers, body, LIMIT).await?;
    Ok((parts.headers, bytes))
}

/// Reads a body that may be left out; one that is there must be JSON.
pub(crate) async fn json_or_default<T: DeserializeOwned + Default>(
    request: Request,
) -> Result<T, Error> {
    let (parts, body) = request.into_parts();
    let bytes = bounded(&parts.headers, body, LIMIT).await?;
    if bytes.is_empty() {
        return Ok(T::default());
    }
    Payload { media: media(&parts.headers, &[Media::Json])?, bytes }.parse()
}

fn media(headers: &HeaderMap, accepted: &[Media]) -> Result<Media, Error> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    given.and_then(Media::of).filter(|media| accepted.contains(media)).ok_or_else(|| {
        Error::MediaType {
            got: given.unwrap_or("not given").to_owned(),
            accepted: accepted.iter().map(|media| media.names()).collect::<Vec<_>>().join(" or "),
        }
    })
}

async fn bounded(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, Error> {
    let stream = body.into_data_stream();
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if let Some(size) = length.filter(|size| *size > limit as u64) {
        // Who sends `Expect: 100-continue` has not begun to send, and will not.
        if !headers.contains_key(header::EXPECT) {
            discard(stream).await;
        }
        return Err(Error::TooLarge { size: Size::Known(size), limit });
    }
    tokio::time::timeout(SEND_TIME, collect(stream, limit))
        .await
        .unwrap_or_else(|_elapsed| Err(Error::SlowBody(SEND_TIME.as_secs())))
}

async fn collect(mut stream: BodyDataStream, limit: usize) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = stream.next().await {
        let chunk =
            chunk.map_err(|error| Error::invalid(format!("the body broke off: {error}")))?;
        if bytes.len() + chunk.len() > limit {
            discard(stream).await;
            return Err(Error::TooLarge { size: Size::MoreThan(limit), limit });
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// Names the field.
fn place<E: std::error::Error>(error: &serde_path_to_error::Error<E>) -> String {
    let (path, reason) = (error.path().to_string(), error.inner().to_string());
    if path == "." || reason.contains(&path) { reason } else { format!("`{path}`: {reason}") }
}

async fn discard(mut stream: BodyDataStream) {
    let all = async {
        let mut discarded = 0;
        while let Some(Ok(chunk)) = stream.next().await {
            discarded += chunk.len();
            if discarded > DISCARD {
                break;
            }
        }
    };
    // Where the time is over, the connection is closed on a client that still sends.
    drop(tokio::time::timeout(DISCARD_TIME, all).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(content_type: &str, body: Body) -> Request {
        Request::builder().header(header::CONTENT_TYPE, content_type).body(body).unwrap()
    }

    #[tokio::test]
    async fn types_are_told_apart_and_others_refused_by_name() {
        let check = async |content_type: &str, expected: Option<Media>| {
            let read = Payload::read(
                request(content_type, Body::from("{}")),
                &[Media::Json, Media::Yaml],
                10,
            )
            .await;
            assert_eq!(read.ok().map(|payload| payload.media), expected, "{content_type:?}");
        };
        check("application/json", Some(Media::Json)).await;
        check("Application/JSON; charset=utf-8", Some(Media::Json)).await;
        check("application/problem+json", Some(Media::Json)).await;
        check("text/yaml", Some(Media::Yaml)).await;
        check("text/plain", None).await;
        check("multipart/form-data; boundary=x", None).await;
        check("", None).await;
    }

    #[tokio::test]
    async fn a_body_without_a_length_is_stopped_at_the_limit() {
        let chunks = futures::stream::iter((0..10).map(|_| Ok::<_, std::io::Error>("0123456789")));
        let error =
            Payload::read(request("text/plain", Body::from_stream(chunks)), &[Media::Text], 64)
                .await
                .unwrap_err();
        assert_eq!(
            error.to_string(),
            "the body has more than 64 bytes, but the limit is 64 bytes (0 MiB)"
        );
        assert_eq!(error.status(), 413);
    }

    async fn parsed(content_type: &str, body: String) -> Result<serde_json::Value, String> {
        let accepted = [Media::Json, Media::Yaml];
        let payload =
            Payload::read(request(content_type, Body::from(body)), &accepted, LIMIT).await.unwrap();
        payload.parse().map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_wrong_body_says_what_and_where() {
        let check = async |content_type: &str, body: &str, expected: &str| {
            assert_eq!(parsed(content_type, body.to_owned()).await, Err(expected.to_owned()));
        };
        let (json, yaml) = ("application/json", "application/yaml");
        check(
            json,
            "{\n  \"a\": }",
            "the body is not valid JSON: expected value (line 2, column 8)",
        )
        .await;
        check(
            json,
            "{\"a\": {\"b\": 1, \"b\": 2}}",
            "the body is not valid JSON: the key `b` stands twice (line 1, column 18)",
        )
        .await;
        check(json, "[1]", "the body must be an object with fields, not [1]").await;
        check(
            yaml,
            "a: 1\na: 2",
            "the body is not valid YAML: the key `a` stands twice (line 2, column 1)",
        )
        .await;
        for endless in ["[".repeat(LIMIT), "{a: ".repeat(LIMIT / 4), "- ".repeat(LIMIT / 2)] {
            assert!(parsed(yaml, endless).await.is_err());
        }
        assert_eq!(parsed(yaml, "a: [1]".to_owned()).await, Ok(serde_json::json!({"a": [1]})));
    }
}
