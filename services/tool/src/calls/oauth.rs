//! OAuth2 and OpenID Connect: tokens that an authority gives out, kept as long as they live.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use chrono::Utc;
use muster_bus::MessageId;
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use super::vault::{Vault, percent};
use super::{outward, raised};
use crate::error::Error;
use crate::outbound::{Answer, Outbound, Question};

/// A token is not used any more so long before its end.
const MARGIN: Duration = Duration::from_secs(10);
/// How long a token lives whose end nobody tells.
const LIFE: Duration = Duration::from_secs(300);
/// The longest that a token is kept.
const MAX_LIFE: Duration = Duration::from_secs(24 * 3_600);
/// The most policies whose tokens are kept.
const MAX_KEPT: usize = 1_000;
const DISCOVERY: &str = "/.well-known/openid-configuration";
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// How to get a token.
#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    #[serde(skip)]
    oidc: bool,
    #[serde(skip)]
    key: String,
    authority: String,
    grant: String,
    #[serde(default)]
    endpoints: Endpoints,
    #[serde(default)]
    client: OauthClient,
    #[serde(default)]
    request: Encoding,
    #[serde(default)]
    issuers: Vec<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    audiences: Vec<String>,
    username: Option<String>,
    password: Option<String>,
    subject: Option<Exchanged>,
    actor: Option<Exchanged>,
}

#[derive(Debug, Default, Deserialize)]
struct Endpoints {
    token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct OauthClient {
    id: Option<String>,
    secret: Option<String>,
    assertion: Option<String>,
    authentication: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
struct Encoding {
    encoding: Option<String>,
}

/// A token that is given for another one.
#[derive(Debug, Deserialize)]
struct Exchanged {
    token: String,
    r#type: String,
}

/// A request's fields, each with its value.
type Fields = Vec<(&'static str, String)>;

impl Policy {
    pub(super) fn parse(kind: &str, properties: &Value) -> Result<Self, Error> {
        let mut policy = Self::deserialize(properties).map_err(|error| {
            raised("configuration", 400, format!("the authentication {kind}: {error}"))
        })?;
        policy.oidc = kind == "oidc";
        policy.key = format!("{:x}", Sha256::digest(format!("{kind}{properties}")));
        Ok(policy)
    }

    /// Tells policies apart, without saying what is in them.
    pub(super) fn key(&self) -> String {
        self.key.clone()
    }

    /// Asks the authority for a token.
    pub(super) async fn ask(
        &self,
        outbound: &Outbound,
        vault: &mut Vault,
    ) -> Result<(String, Duration), Error> {
        let url = self.token_url(outbound).await?;
        let question = self.question(url, vault)?;
        let response = outbound.send(&question).await.map_err(outward)?;
        let answer = question.read(response, 1 << 20).await.map_err(outward)?;
        let said: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let token = said.get("access_token").and_then(Value::as_str);
        let Some(token) = token.filter(|_| answer.status.is_success()) else {
            return Err(refused(&question.url, &answer, &said));
        };
        vault.hide(token);
        self.check_issuer(token)?;
        let seconds = said.get("expires_in");
        let seconds =
            seconds.and_then(|value| value.as_u64().or_else(|| value.as_str()?.parse().ok()));
        let life = seconds.map_or(LIFE, Duration::from_secs).min(MAX_LIFE);
        Ok((token.to_owned(), life.saturating_sub(MARGIN)))
    }

    async fn token_url(&self, outbound: &Outbound) -> Result<Url, Error> {
        let authority = self.authority.trim_end_matches('/');
        if !self.oidc {
            let path = self.endpoints.token.as_deref().unwrap_or("/oauth2/token");
            let absolute = path.starts_with("http://") || path.starts_with("https://");
            let slash = if path.starts_with('/') { "" } else { "/" };
            let whole =
                if absolute { path.to_owned() } else { format!("{authority}{slash}{path}") };
            return address(&whole);
        }
        let place = authority.strip_suffix(DISCOVERY).unwrap_or(authority);
        let question = Question::get(address(&format!("{place}{DISCOVERY}"))?);
        let (question, answer) = outbound.follow(question).await.map_err(outward)?;
        let found: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        match found.get("token_endpoint").and_then(Value::as_str) {
            Some(endpoint) if answer.status.is_success() => address(endpoint),
            _ => Err(raised(
                "authentication",
                401,
                format!("{} answered {} and no `token_endpoint`", question.url, answer.status),
            )),
        }
    }

    fn question(&self, url: Url, vault: &mut Vault) -> Result<Question, Error> {
        let mut question = Question::get(url);
        question.method = Method::POST;
        question.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let mut fields = self.fields();
        self.authenticate(&mut question, &mut fields, vault)?;
        let json = self.request.encoding.as_deref() == Some("application/json");
        let kind = if json { "application/json" } else { "application/x-www-form-urlencoded" };
        question.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        question.body = Some(if json {
            let mut map = Map::new();
            for (name, value) in fields {
                map.insert(name.to_owned(), Value::String(value));
            }
            Value::Object(map).to_string().into_bytes()
        } else {
            form(fields.iter().map(|(name, value)| (*name, value.as_str()))).into_bytes()
        });
        Ok(question)
    }

    fn fields(&self) -> Fields {
        let mut fields: Fields = vec![("grant_type", self.grant.clone())];
        if !self.scopes.is_empty() {
            fields.push(("scope", self.scopes.join(" ")));
        }
        fields.extend(self.audiences.iter().map(|audience| ("audience", audience.clone())));
        if self.grant == "password" {
            fields.push(("username", self.username.clone().unwrap_or_default()));
            fields.push(("password", self.password.clone().unwrap_or_default()));
        }
        if let Some(subject) = self.subject.as_ref().filter(|_| self.grant == EXCHANGE) {
            fields.push(("subject_token", subject.token.clone()));
            fields.push(("subject_token_type", subject.r#type.clone()));
        }
        if let Some(actor) = self.actor.as_ref().filter(|_| self.grant == EXCHANGE) {
            fields.push(("actor_token", actor.token.clone()));
            fields.push(("actor_token_type", actor.r#type.clone()));
        }
        fields
    }

    /// Says who the client is.
    fn authenticate(
        &self,
        question: &mut Question,
        fields: &mut Fields,
        vault: &mut Vault,
    ) -> Result<(), Error> {
        let id = self.client.id.clone().unwrap_or_default();
        let secret = self.client.secret.clone().unwrap_or_default();
        match self.client.authentication.as_deref().unwrap_or("client_secret_post") {
            "client_secret_basic" => {
                let pair = BASE64_STANDARD.encode(format!("{}:{}", percent(&id), percent(&secret)));
                vault.hide(&pair);
                if let Ok(mut value) = HeaderValue::from_str(&format!("Basic {pair}")) {
                    value.set_sensitive(true);
                    question.headers.insert(AUTHORIZATION, value);
                }
            }
            "client_secret_post" => {
                fields.extend([("client_id", id), ("client_secret", secret)]);
            }
            "client_secret_jwt" => {
                let assertion = self.client.assertion.clone();
                let assertion = assertion.unwrap_or_else(|| signed(&id, &secret, &question.url));
                fields.push(("client_id", id));
                fields.push(("client_assertion_type", ASSERTION.to_owned()));
                fields.push(("client_assertion", assertion));
            }
            "private_key_jwt" => {
                fields.push(("client_id", id));
                fields.push(("client_assertion_type", ASSERTION.to_owned()));
                fields
                    .push(("client_assertion", self.client.assertion.clone().unwrap_or_default()));
            }
            "none" => fields.push(("client_id", id)),
            other => {
                let detail = format!("{other:?} is no way to authenticate a client");
                return Err(raised("configuration", 400, detail));
            }
        }
        Ok(())
    }

    /// A token must be of one of the issuers, where some are named.
    fn check_issuer(&self, token: &str) -> Result<(), Error> {
        if self.issuers.is_empty() {
            return Ok(());
        }
        let claims =
            token.split('.').nth(1).and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
        let claims: Value =
            claims.and_then(|claims| serde_json::from_slice(&claims).ok()).unwrap_or_default();
        let issuer = claims.get("iss").and_then(Value::as_str).unwrap_or_default();
        if self.issuers.iter().any(|known| known == issuer) {
            return Ok(());
        }
        let known = self.issuers.join(", ");
        let detail = format!("the token is of the issuer {issuer:?}, but must be of {known}");
        Err(raised("authentication", 401, detail))
    }
}

/// A JWT that proves the knowledge of a secret (RFC 7523).
fn signed(id: &str, secret: &str, url: &Url) -> String {
    let now = Utc::now().timestamp();
    let claims = json!({
        "iss": id, "sub": id, "aud": url.as_str(), "jti": MessageId::random().as_str(), "iat": now, "exp": now + 60,
    });
    let head = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256","typ":"JWT"}"#);
    let text = format!("{head}.{}", BASE64_URL_SAFE_NO_PAD.encode(claims.to_string()));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let tag = ring::hmac::sign(&key, text.as_bytes());
    format!("{text}.{}", BASE64_URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

/// Pairs as a form or a query has them.
pub(super) fn form<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let encode = |text: &str| percent(text).replace("%20", "+");
    pairs
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}

fn address(text: &str) -> Result<Url, Error> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    url.ok_or_else(|| {
        raised("configuration", 400, format!("the authority's address {text:?} is no http address"))
    })
}

/// What an authority said instead of giving a token.
fn refused(url: &Url, answer: &Answer, said: &Value) -> Error {
    let field = |name: &str| said.get(name).and_then(Value::as_str).unwrap_or_default();
    let why = format!("{} {}", field("error"), field("error_description"));
    let detail = format!("{url} gave no token: it answered {} {why:.300}", answer.status.as_u16());
    raised("authentication", 401, detail.trim_end())
}

/// The tokens that are alive. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Tokens(Arc<Mutex<HashMap<String, Slot>>>);

/// One asks, the others wait for what it gets.
type Slot = Arc<tokio::sync::Mutex<Option<(String, Instant)>>>;

impl Tokens {
    /// The token of a policy: the one that is alive, or a new one.
    pub(super) async fn get<F>(&self, key: &str, ask: impl FnOnce() -> F) -> Result<String, Error>
    where
        F: Future<Output = Result<(String, Duration), Error>>,
    {
        let slot = self.slot(key);
        let mut kept = slot.lock().await;
        if let Some((token, until)) = kept.as_ref()
            && Instant::now() < *until
        {
            return Ok(token.clone());
        }
        let (token, life) = ask().await?;
        *kept = Some((token.clone(), Instant::now() + life));
        Ok(token)
    }

    /// Forgets a token that a server refused.
    pub(super) async fn forget(&self, key: &str, refused: &str) {
        let slot = self.slot(key);
        let mut kept = slot.lock().await;
        if kept.as_ref().is_some_and(|(token, _)| token == refused) {
            *kept = None;
        }
    }

    fn slot(&self, key: &str) -> Slot {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.len() >= MAX_KEPT && !slots.contains_key(key) {
            slots.clear();
        }
        slots.entry(key.to_owned()).or_default().clone()
    }
}
