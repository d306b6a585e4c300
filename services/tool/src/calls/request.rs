//! A request of the workflow language: made of arguments, authorized, sent, and its answer read.

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Response, StatusCode, Url};
use serde_json::{Map, Value};

use super::answer::{self, Output};
use super::authentication::Credentials;
use super::events::{self, Events};
use super::vault::{Vault, percent, plain};
use super::{Net, digest, oauth, outward, raised};
use crate::domain::call::Effect;
use crate::error::Error;
use crate::outbound::{Answer, MAX_BODY, MAX_REDIRECTS, Question, header};

/// What is asked of a server. Texts may have marks of secrets.
pub(crate) struct Ask {
    pub(super) method: Method,
    pub(super) uri: String,
    pub(super) headers: Map<String, Value>,
    pub(super) query: Vec<(String, Value)>,
    /// Null: none.
    pub(super) body: Value,
    pub(super) authentication: Option<Value>,
    pub(super) output: Output,
    /// Whether redirects are followed.
    pub(super) redirect: bool,
}

/// How an answer is got.
#[derive(Clone, Copy)]
struct How {
    redirect: bool,
    /// In bytes.
    limit: usize,
    /// The last message that is wanted of a stream of events.
    last: Option<fn(&Value) -> bool>,
}

/// What a second sending of a request with this method does. A key that the author sends says that the server heeds it.
pub(super) fn effect(method: &str, headers: Option<&Value>) -> Effect {
    let once = matches!(method.to_ascii_uppercase().as_str(), "POST" | "PATCH");
    let headers = headers.and_then(Value::as_object);
    let own_key = headers.is_some_and(|headers| {
        headers.keys().any(|name| name.eq_ignore_ascii_case("idempotency-key"))
    });
    if once && !own_key { Effect::Once } else { Effect::Idempotent }
}

/// An HTTP method by its name, in any case.
pub(super) fn method(name: &str) -> Result<Method, Error> {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    let upper = name.to_ascii_uppercase();
    let method = known.contains(&upper.as_str()).then(|| Method::from_bytes(upper.as_bytes()).ok());
    method.flatten().ok_or_else(|| {
        let detail = format!("`method` is {name:?}, but must be one of {}", known.join(", "));
        raised("configuration", 400, detail)
    })
}

impl Net {
    /// Sends it, and gives the output that the task wants.
    pub(super) async fn perform(
        &self,
        ask: &Ask,
        key: &str,
        vault: &mut Vault,
    ) -> Result<Value, Error> {
        let (asked, answered) = self.ask(ask, key, MAX_BODY, vault).await?;
        answer::output(ask.output, ask.redirect, (&asked, &answered), vault)
    }

    /// Sends it, a second time where the server wants other credentials, and reads an answer of at most `limit` bytes.
    pub(super) async fn ask(
        &self,
        ask: &Ask,
        key: &str,
        limit: usize,
        vault: &mut Vault,
    ) -> Result<(Question, Answer), Error> {
        let how = How { redirect: ask.redirect, limit, last: None };
        self.ask_how(ask, key, how, vault).await
    }

    /// The same, where the answer may be a stream of events, which is read until `last` is true of a message.
    pub(super) async fn converse(
        &self,
        ask: &Ask,
        key: &str,
        last: fn(&Value) -> bool,
        vault: &mut Vault,
    ) -> Result<(Question, Answer), Error> {
        let how = How { redirect: ask.redirect, limit: MAX_BODY, last: Some(last) };
        self.ask_how(ask, key, how, vault).await
    }

    async fn ask_how(
        &self,
        ask: &Ask,
        key: &str,
        how: How,
        vault: &mut Vault,
    ) -> Result<(Question, Answer), Error> {
        let credentials = self.credentials(ask.authentication.as_ref(), vault).await?;
        let question = ask.question(credentials.as_ref(), key, vault)?;
        let (asked, answered) = self.exchange(question, how, vault).await?;
        if answered.status != StatusCode::UNAUTHORIZED {
            return Ok((asked, answered));
        }
        // To the server that was meant, and to no other.
        if asked.url.origin() != ask.question(None, key, vault)?.url.origin() {
            return Ok((asked, answered));
        }
        let question = match &credentials {
            Some(Credentials::Digest { username, password }) => {
                let value = digest::answer(
                    &answered.headers,
                    &asked.method,
                    &asked.url,
                    (username, password),
                )?;
                let mut question = asked.clone();
                question.headers.insert(AUTHORIZATION, value);
                question
            }
            // It may have been taken back before its end: a new one is asked for, once.
            Some(Credentials::Token { token, key: policy }) => {
                self.tokens.forget(policy, token).await;
                let credentials = self.credentials(ask.authentication.as_ref(), vault).await?;
                ask.question(credentials.as_ref(), key, vault)?
            }
            Some(Credentials::Header { .. }) | None => return Ok((asked, answered)),
        };
        self.exchange(question, how, vault).await
    }

    /// Sends it, and leaves the answer to be read as it comes.
    pub(crate) async fn open(
        &self,
        ask: &Ask,
        key: &str,
        vault: &mut Vault,
    ) -> Result<(Question, Response), Error> {
        let credentials = self.credentials(ask.authentication.as_ref(), vault).await?;
        let question = ask.question(credentials.as_ref(), key, vault)?;
        let (question, response) = self.arrive(question, ask.redirect, vault).await?;
        if let (StatusCode::UNAUTHORIZED, Some(Credentials::Token { token, key })) =
            (response.status(), &credentials)
        {
            // It may have been taken back before its end: the next request asks for a new one.
            self.tokens.forget(key, token).await;
        }
        Ok((question, response))
    }

    /// Sends a request and reads its answer.
    async fn exchange(
        &self,
        question: Question,
        how: How,
        vault: &Vault,
    ) -> Result<(Question, Answer), Error> {
        let arrived = self.arrive(question, how.redirect, vault).await;
        let (question, response) = arrived.map_err(outward)?;
        let answer = match how.last {
            Some(last) if events::is_stream(response.headers()) => {
                let mut events = Events::default();
                let is_last = |bytes: &[u8]| events.push(bytes).iter().any(last);
                question.read_until(response, how.limit, is_last).await
            }
            _ => question.read(response, how.limit).await,
        };
        Ok((question, answer.map_err(outward)?))
    }

    /// Sends a request and, where they are to be followed, those that redirects ask for.
    async fn arrive(
        &self,
        mut question: Question,
        redirect: bool,
        vault: &Vault,
    ) -> Result<(Question, Response), Error> {
        for _ in 0..=MAX_REDIRECTS {
            let response = self.outbound.send(&question).await?;
            let next = match redirect {
                true => question.redirected(response.status(), response.headers())?,
                false => None,
            };
            let Some(next) = next else { return Ok((question, response)) };
            if next.body.is_some()
                && !vault.is_empty()
                && next.url.origin() != question.url.origin()
            {
                return Err(Error::Denied(format!(
                    "{} redirects a request with secrets to another server, {}, which would get them",
                    question.url, next.url
                )));
            }
            question = next;
        }
        let detail = format!("{} redirects more than {MAX_REDIRECTS} times", question.url);
        Err(raised("communication", 500, detail))
    }
}

impl Ask {
    /// A message to a server; `headers` and `body` may have marks.
    pub(crate) fn message(
        method: Method,
        uri: &str,
        (headers, body): (Map<String, Value>, Value),
        authentication: Option<Value>,
    ) -> Self {
        Self { method, headers, body, ..Self::document(uri, authentication) }
    }

    /// Asks for what is at an address.
    pub(super) fn document(uri: &str, authentication: Option<Value>) -> Self {
        Self {
            method: Method::GET,
            uri: uri.to_owned(),
            headers: Map::new(),
            query: Vec::new(),
            body: Value::Null,
            authentication,
            output: Output::Raw,
            redirect: true,
        }
    }

    fn question(
        &self,
        credentials: Option<&Credentials>,
        key: &str,
        vault: &Vault,
    ) -> Result<Question, Error> {
        let mut url = address(&vault.reveal_uri(&self.uri)?)?;
        for (name, value) in &self.query {
            add_query(&mut url, name, &vault.reveal(value)?)?;
        }
        let mut headers = self.headers(vault)?;
        let body = body(vault.reveal(&self.body)?, &mut headers)?;
        if let Some(value) = credentials.map(Credentials::header).transpose()?.flatten() {
            headers.insert(AUTHORIZATION, value);
        }
        if !matches!(self.method, Method::GET | Method::HEAD) {
            // Names of tasks may have any characters, headers may not.
            let key = if key.is_ascii() { key.to_owned() } else { percent(key) };
            if let Ok(key) = HeaderValue::from_str(&key) {
                headers.entry("idempotency-key").or_insert(key);
            }
        }
        let once = effect(self.method.as_str(), None) == Effect::Once
            && !self.headers.keys().any(|name| name.eq_ignore_ascii_case("idempotency-key"));
        Ok(Question { url, method: self.method.clone(), headers, body, once })
    }

    fn headers(&self, vault: &Vault) -> Result<HeaderMap, Error> {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            let value = match vault.reveal(value)? {
                Value::Null => continue,
                value @ (Value::String(_) | Value::Number(_) | Value::Bool(_)) => plain(&value),
                Value::Array(_) | Value::Object(_) => {
                    let detail = format!("the header {name:?} must be a text, not a list or a map");
                    return Err(raised("validation", 400, detail));
                }
            };
            let (name, value) = header(name, &value)?;
            headers.insert(name, value);
        }
        Ok(headers)
    }
}

fn address(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| {
        raised("configuration", 400, format!("{text:?} is no address such as https://example.com/"))
    })
}

/// A list gives the parameter several times, null not at all.
fn add_query(url: &mut Url, name: &str, value: &Value) -> Result<(), Error> {
    match value {
        Value::Null => {}
        Value::Array(values) => {
            return values.iter().try_for_each(|value| add_query(url, name, value));
        }
        Value::Object(_) => {
            let detail = format!("the query parameter {name:?} must be a text, not a map");
            return Err(raised("validation", 400, detail));
        }
        value => drop(url.query_pairs_mut().append_pair(name, &plain(value))),
    }
    Ok(())
}

/// The body by its content type; without one it is JSON, a text is plain text.
fn body(body: Value, headers: &mut HeaderMap) -> Result<Option<Vec<u8>>, Error> {
    if body.is_null() {
        return Ok(None);
    }
    let default = if body.is_string() { "text/plain; charset=utf-8" } else { "application/json" };
    let kind = headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static(default));
    let kind = kind.to_str().unwrap_or_default().to_ascii_lowercase();
    Ok(Some(match body {
        Value::String(text) => text.into_bytes(),
        Value::Object(fields) if kind.starts_with("application/x-www-form-urlencoded") => {
            let pairs: Vec<(String, String)> =
                fields.into_iter().flat_map(|(name, value)| pairs(&name, value)).collect();
            oauth::form(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())))
                .into_bytes()
        }
        _ if kind.starts_with("multipart/") => {
            let detail = "a multipart body must be given as text, with its boundaries";
            return Err(raised("validation", 400, detail));
        }
        json => json.to_string().into_bytes(),
    }))
}

fn pairs(name: &str, value: Value) -> Vec<(String, String)> {
    match value {
        Value::Null => Vec::new(),
        Value::Array(values) => values.into_iter().flat_map(|value| pairs(name, value)).collect(),
        value => vec![(name.to_owned(), plain(&value))],
    }
}
