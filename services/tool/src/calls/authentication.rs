//! Authentication policies: what is put into the `Authorization` header.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use serde_json::Value;

use super::vault::{Vault, plain};
use super::{Net, oauth, raised};
use crate::error::Error;

/// How a request is authorized.
pub(super) enum Credentials {
    /// Scheme and parameter of the header.
    Header { scheme: &'static str, parameter: String },
    /// By an answer to the server's challenge.
    Digest { username: String, password: String },
    /// With a token that a server gives out; it is kept as long as it lives.
    Token { token: String, key: String },
}

impl Credentials {
    /// The header's value, where it is known before the request.
    pub(super) fn header(&self) -> Result<Option<HeaderValue>, Error> {
        let text = match self {
            Self::Header { scheme, parameter } => format!("{scheme} {parameter}"),
            Self::Token { token, .. } => format!("Bearer {token}"),
            Self::Digest { .. } => return Ok(None),
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_error| {
            let detail = "the credentials have characters that a header cannot have";
            raised("authentication", 401, detail)
        })?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    fn parameter(&self) -> &str {
        match self {
            Self::Header { parameter, .. } => parameter,
            Self::Token { token, .. } => token,
            Self::Digest { .. } => "",
        }
    }
}

impl Net {
    /// What a policy comes to. `policy` still has marks.
    pub(super) async fn credentials(
        &self,
        policy: Option<&Value>,
        vault: &mut Vault,
    ) -> Result<Option<Credentials>, Error> {
        let Some((kind, properties)) =
            policy.and_then(Value::as_object).and_then(|p| p.iter().next())
        else {
            return Ok(None);
        };
        let properties = match properties.get("use").and_then(Value::as_str) {
            Some(name) => from_secret(kind, name, vault)?,
            None => vault.reveal(properties)?,
        };
        let field = |name: &str| field(kind, &properties, name);
        let credentials = match kind.as_str() {
            "basic" => {
                let (username, password) = (field("username")?, field("password")?);
                let parameter = BASE64_STANDARD.encode(format!("{username}:{password}"));
                Credentials::Header { scheme: "Basic", parameter }
            }
            "bearer" => Credentials::Header { scheme: "Bearer", parameter: field("token")? },
            "digest" => {
                Credentials::Digest { username: field("username")?, password: field("password")? }
            }
            "oauth2" | "oidc" => {
                let policy = oauth::Policy::parse(kind, &properties)?;
                let key = policy.key();
                let token = self.tokens.get(&key, || policy.ask(&self.outbound, vault)).await?;
                Credentials::Token { token, key }
            }
            other => {
                let detail = format!("{other:?} is no kind of authentication");
                return Err(raised("configuration", 400, detail));
            }
        };
        vault.authorize(credentials.parameter());
        Ok(Some(credentials))
    }
}

/// The properties of a policy as a secret has them; a plain text is a bearer's token.
fn from_secret(kind: &str, name: &str, vault: &Vault) -> Result<Value, Error> {
    match vault.secret(name) {
        Some(Value::String(token)) if kind == "bearer" => Ok(serde_json::json!({ "token": token })),
        Some(properties @ Value::Object(_)) => Ok(properties.clone()),
        _ => {
            let detail = format!(
                "the secret {name:?} must be a JSON object with the properties of {kind}, to be used as one"
            );
            Err(raised("configuration", 400, detail))
        }
    }
}

/// A property that must be a text, or a number where somebody wrote one.
pub(super) fn field(kind: &str, properties: &Value, name: &str) -> Result<String, Error> {
    match properties.get(name) {
        Some(value @ (Value::String(_) | Value::Number(_))) => Ok(plain(value)),
        // Never the value: it may be a secret that stands in the wrong place.
        _ => {
            let detail = format!("the authentication {kind} needs `{name}`, a text");
            Err(raised("configuration", 400, detail))
        }
    }
}
