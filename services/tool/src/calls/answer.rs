//! What a server answered, in the form that the task wants.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HeaderMap, SET_COOKIE};
use serde_json::{Map, Value, json};

use super::vault::Vault;
use super::{again, raised};
use crate::error::Error;
use crate::outbound::{Answer, Question, header_text};

/// Characters of an answer that an error repeats.
const EXCERPT: usize = 500;

/// The form of a call's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    /// The body as base64.
    Raw,
    /// The body, by its content type.
    Content,
    /// Request, status, headers and content.
    Response,
}

impl Output {
    pub(super) fn parse(value: Option<&Value>) -> Result<Self, Error> {
        match value {
            None | Some(Value::Null) => Ok(Self::Content),
            Some(Value::String(text)) if text == "content" => Ok(Self::Content),
            Some(Value::String(text)) if text == "raw" => Ok(Self::Raw),
            Some(Value::String(text)) if text == "response" => Ok(Self::Response),
            Some(other) => {
                let detail =
                    format!("`output` is {other:.80}, but must be raw, content or response");
                Err(raised("configuration", 400, detail))
            }
        }
    }
}

/// The call's output, or the error of its status. `redirect`: a status from 300 to 399 is no error.
pub(super) fn output(
    output: Output,
    redirect: bool,
    (question, answer): (&Question, &Answer),
    vault: &Vault,
) -> Result<Value, Error> {
    let status = answer.status.as_u16();
    let fine = (200..300).contains(&status) || (redirect && (300..400).contains(&status));
    if !fine {
        let mut why = failure(question, answer);
        if (300..400).contains(&status) {
            why.push_str(" (`redirect: true` follows it, and takes other 3xx for no error)");
        }
        let again = again(&answer.headers);
        return Err(Error::Raised { kind: "communication", status, detail: why, again });
    }
    Ok(match output {
        Output::Raw if answer.body.is_empty() => Value::Null,
        Output::Raw => Value::String(BASE64_STANDARD.encode(vault.mask_bytes(&answer.body))),
        Output::Content => content(answer, vault)?,
        Output::Response => vault.mask_value(json!({
            "request": {
                "method": question.method.as_str().to_ascii_lowercase(),
                "uri": question.url.as_str(),
                "headers": shown(&question.headers),
            },
            "statusCode": status,
            "headers": shown(&answer.headers),
            "content": content(answer, vault)?,
        })),
    })
}

/// What a status that is no success says.
pub(super) fn failure(question: &Question, answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let excerpt: String = text.trim().chars().take(EXCERPT).collect();
    let (method, url, status) = (&question.method, &question.url, answer.status.as_u16());
    let colon = if excerpt.is_empty() { "" } else { ": " };
    format!("{method} {url} answered {status}{colon}{excerpt}")
}

/// Headers by their names in lower case; values of one name are joined. Credentials are not shown.
fn shown(headers: &HeaderMap) -> Value {
    let mut map = Map::new();
    for (name, value) in headers {
        let hidden = [AUTHORIZATION, COOKIE, SET_COOKIE].contains(name);
        let text = if hidden { "***".to_owned() } else { header_text(value) };
        match map.get_mut(name.as_str()) {
            Some(Value::String(before)) if !hidden => *before = format!("{before}, {text}"),
            _ => drop(map.insert(name.to_string(), Value::String(text))),
        }
    }
    Value::Object(map)
}

/// The body by its content type: JSON as what it says, texts as text, everything else as base64.
fn content(answer: &Answer, vault: &Vault) -> Result<Value, Error> {
    if answer.body.is_empty() {
        return Ok(Value::Null);
    }
    let kind = answer.headers.get(CONTENT_TYPE).map(header_text).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if is_json(&kind) {
        let value = serde_json::from_slice(&answer.body).map_err(|error| {
            raised(
                "communication",
                502,
                format!("the answer says that it is {kind}, but is not: {error}"),
            )
        })?;
        return Ok(vault.mask_value(value));
    }
    let body = vault.mask_bytes(&answer.body);
    if is_text(&kind) {
        return Ok(Value::String(String::from_utf8_lossy(&body).into_owned()));
    }
    Ok(Value::String(match String::from_utf8(body) {
        Ok(text) if kind.is_empty() => text,
        Ok(text) => BASE64_STANDARD.encode(text),
        Err(error) => BASE64_STANDARD.encode(error.into_bytes()),
    }))
}

pub(super) fn is_json(kind: &str) -> bool {
    kind == "application/json" || kind == "text/json" || kind.ends_with("+json")
}

fn is_text(kind: &str) -> bool {
    kind.starts_with("text/")
        || kind.ends_with("+xml")
        || kind.ends_with("/xml")
        || kind.ends_with("yaml")
        || matches!(
            kind,
            "application/x-www-form-urlencoded" | "application/javascript" | "application/x-ndjson"
        )
}
