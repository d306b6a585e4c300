//! The secrets of one call: they are put where marks stand for them, and taken out of what comes back.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use muster_document::marks::{self, Piece};
use serde_json::{Map, Value};

use super::{Secrets, raised};
use crate::error::Error;

/// What stands for a secret in a result.
const HIDDEN: &str = "***";
/// Bytes from which a secret is looked for inside of texts; a shorter one is only hidden where it is the whole text, else it would tear every text apart.
const SHORTEST: usize = 4;

#[derive(Default)]
pub(crate) struct Vault {
    secrets: BTreeMap<String, Value>,
    /// What `$authorization.parameter` stands for.
    parameter: String,
    /// What is hidden in results, the longest first.
    hidden: Vec<String>,
}

impl Vault {
    /// Reads what the arguments need, if the workflow declares it.
    pub(crate) async fn open(
        secrets: &Secrets,
        declared: &[String],
        arguments: &Map<String, Value>,
    ) -> Result<Self, Error> {
        let mut vault = Self::default();
        for name in needed(arguments) {
            if !declared.contains(&name) {
                let detail = format!("the secret {name:?} is not in use.secrets of the workflow");
                return Err(raised("configuration", 400, detail));
            }
            let secret = secrets.read(&name).await?;
            vault.hide_all(&secret);
            vault.secrets.insert(name, secret);
        }
        Ok(vault)
    }

    /// Whether there is anything to keep.
    pub(super) fn is_empty(&self) -> bool {
        self.hidden.is_empty()
    }

    /// A whole secret.
    pub(super) fn secret(&self, name: &str) -> Option<&Value> {
        self.secrets.get(name)
    }

    /// Says what the request is authorized with.
    pub(super) fn authorize(&mut self, parameter: &str) {
        self.hide(parameter);
        parameter.clone_into(&mut self.parameter);
    }

    /// The value with secrets in the places of their marks. A text that is nothing but a mark becomes what the secret is, an object for example.
    pub(crate) fn reveal(&self, value: &Value) -> Result<Value, Error> {
        Ok(match value {
            Value::String(text) => match marks::pieces(text).as_slice() {
                [Piece::Mark(path)] => self.lookup(path)?,
                _ => Value::String(self.text(text, false)?),
            },
            Value::Array(values) => Value::Array(
                values.iter().map(|value| self.reveal(value)).collect::<Result<_, _>>()?,
            ),
            Value::Object(map) => {
                let entry = |(key, value): (&String, &Value)| {
                    Ok::<_, Error>((self.text(key, false)?, self.reveal(value)?))
                };
                Value::Object(map.iter().map(entry).collect::<Result<_, _>>()?)
            }
            other => other.clone(),
        })
    }

    /// The address with secrets in it: encoded, except where one is its beginning.
    pub(super) fn reveal_uri(&self, uri: &str) -> Result<String, Error> {
        self.text(uri, true)
    }

    fn text(&self, text: &str, encoded: bool) -> Result<String, Error> {
        let mut revealed = String::with_capacity(text.len());
        for piece in marks::pieces(text) {
            match piece {
                Piece::Text(text) => revealed.push_str(text),
                Piece::Mark(path) => {
                    let secret = plain(&self.lookup(&path)?);
                    let encoded = encoded && !revealed.is_empty();
                    revealed.push_str(&if encoded { percent(&secret) } else { secret });
                }
            }
        }
        Ok(revealed)
    }

    fn lookup(&self, path: &[&str]) -> Result<Value, Error> {
        let Some((name, fields)) = path.split_first() else {
            return Ok(Value::String(self.parameter.clone()));
        };
        let mut value = self.secrets.get(*name);
        for field in fields {
            value = value.and_then(|value| value.get(field));
        }
        value.cloned().ok_or_else(|| {
            let fields = fields.join(".");
            raised("configuration", 404, format!("the secret {name:?} has no field {fields:?}"))
        })
    }

    fn hide_all(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.hide_all(value)),
            Value::Object(map) => map.values().for_each(|value| self.hide_all(value)),
            Value::String(_) | Value::Number(_) => self.hide(&plain(value)),
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Hides a text in results, in all of the forms in which a server may say it again.
    pub(super) fn hide(&mut self, secret: &str) {
        if secret.is_empty() {
            return;
        }
        let json = Value::String(secret.to_owned()).to_string();
        let forms = [
            secret.to_owned(),
            json.trim_matches('"').to_owned(),
            percent(secret),
            percent(secret).replace("%20", "+"),
            BASE64_STANDARD.encode(secret),
            BASE64_URL_SAFE_NO_PAD.encode(secret),
        ];
        // An address is told as the client writes it.
        let url = reqwest::Url::parse(secret).map(String::from);
        for form in forms.into_iter().chain(url) {
            if !self.hidden.contains(&form) {
                self.hidden.push(form);
            }
        }
        self.hidden.sort_by_key(|form| std::cmp::Reverse(form.len()));
    }

    /// The text without secrets.
    pub(crate) fn mask(&self, text: &str) -> String {
        if self.hidden.iter().any(|form| form == text) {
            return HIDDEN.to_owned();
        }
        let forms = self.hidden.iter().filter(|form| form.len() >= SHORTEST);
        forms.fold(text.to_owned(), |text, form| {
            if text.contains(form.as_str()) { text.replace(form.as_str(), HIDDEN) } else { text }
        })
    }

    /// The value without secrets.
    pub(crate) fn mask_value(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.mask(&text)),
            Value::Number(number) => {
                let text = number.to_string();
                let known = text.len() >= SHORTEST && self.hidden.contains(&text);
                if known { Value::String(HIDDEN.to_owned()) } else { Value::Number(number) }
            }
            Value::Array(values) => {
                values.into_iter().map(|value| self.mask_value(value)).collect()
            }
            Value::Object(map) => map
                .into_iter()
                .map(|(key, value)| (self.mask(&key), self.mask_value(value)))
                .collect(),
            other => other,
        }
    }

    /// The bytes without secrets.
    pub(super) fn mask_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        if self.hidden.iter().any(|form| form.as_bytes() == bytes) {
            return HIDDEN.into();
        }
        let forms = self.hidden.iter().filter(|form| form.len() >= SHORTEST);
        forms.fold(bytes.to_vec(), |bytes, form| replaced(bytes, form.as_bytes()))
    }

    /// The error without secrets.
    pub(crate) fn mask_error(&self, error: Error) -> Error {
        match error {
            Error::Invalid(text) => Error::Invalid(self.mask(&text)),
            Error::NotFound(text) => Error::NotFound(self.mask(&text)),
            Error::Denied(text) => Error::Denied(self.mask(&text)),
            Error::Unavailable { text, retry_after_ms } => {
                Error::Unavailable { text: self.mask(&text), retry_after_ms }
            }
            Error::Conflict(text) => Error::Conflict(self.mask(&text)),
            Error::Interrupted(text) => Error::Interrupted(self.mask(&text)),
            Error::Raised { kind, status, detail, again } => {
                Error::Raised { kind, status, detail: self.mask(&detail), again }
            }
            Error::Exhausted { text, retry_after_ms } => {
                Error::Exhausted { text: self.mask(&text), retry_after_ms }
            }
            // They say nothing of what was asked or answered.
            other @ (Error::Unserved(_)
            | Error::Cancelled(_)
            | Error::Deadline { .. }
            | Error::Bus(_)
            | Error::Internal(_)) => other,
        }
    }
}

/// The names of the secrets that arguments need: by marks, and by policies that are made of a secret.
fn needed(arguments: &Map<String, Value>) -> Vec<String> {
    let arguments = Value::Object(arguments.clone());
    let mut names: Vec<String> = Vec::new();
    for mark in marks::marks(&arguments) {
        for piece in marks::pieces(&mark) {
            if let Piece::Mark(path) = piece {
                names.extend(path.first().map(|name| (*name).to_owned()));
            }
        }
    }
    for place in [
        "/authentication",
        "/endpoint/authentication",
        "/document/endpoint/authentication",
        "/policy",
        "/transport/http/endpoint/authentication",
        "/agentCard/endpoint/authentication",
        "/server/authentication",
        "/script/source/endpoint/authentication",
    ] {
        let policy = arguments.pointer(place).and_then(Value::as_object);
        let policies = policy.into_iter().flat_map(Map::values);
        let uses = policies.filter_map(|policy| policy.get("use").and_then(Value::as_str));
        names.extend(uses.map(str::to_owned));
    }
    names.sort();
    names.dedup();
    names
}

/// The bytes with another text in the place of each `form`.
fn replaced(bytes: Vec<u8>, form: &[u8]) -> Vec<u8> {
    let (mut found, mut rest) = (Vec::new(), bytes.as_slice());
    while let Some(at) = rest.windows(form.len()).position(|window| window == form) {
        let (before, after) = rest.split_at(at);
        found.extend_from_slice(before);
        found.extend_from_slice(HIDDEN.as_bytes());
        rest = after.get(form.len()..).unwrap_or_default();
    }
    if found.is_empty() && rest.len() == bytes.len() {
        return bytes;
    }
    found.extend_from_slice(rest);
    found
}

/// A secret as it stands inside of a text.
pub(crate) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Encodes everything but what RFC 3986 calls unreserved.
pub(crate) fn percent(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut encoded, byte| {
        match byte {
            b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            byte if byte.is_ascii_alphanumeric() => encoded.push(char::from(byte)),
            // Writing to a string cannot fail.
            byte => drop(write!(encoded, "%{byte:02X}")),
        }
        encoded
    })
}
