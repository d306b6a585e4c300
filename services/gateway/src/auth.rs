//! Who asks, and what they may: before anything else of a request is read.
//!
//! **Invariant: what is not listed for tenants is for admins.** A path that nobody thought of is refused to tenants, and so
//! is one that does not exist.

mod access;
mod audit;
mod client;
mod keys;
mod tokens;

use std::net::IpAddr;

use axum::{
    extract::Request,
    http::{Extensions, HeaderMap, HeaderValue, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::future::BoxFuture;
use muster_bus::Bus;
use muster_contracts::{Code, Fault};
use sha2::{Digest as _, Sha256};

pub use self::access::{Access, access};
pub(crate) use self::audit::{Audit, Changed, tell_audit};
pub(crate) use self::client::Client;
use self::keys::Keys;
use self::tokens::Tokens;
pub(crate) use self::tokens::{AuthSettings, Mode};
use crate::app::App;
use crate::controllers::openai;
use crate::error::Error;
use crate::wire::openai::Refusal;

/// What every virtual key begins with, so that people and scanners know what it is.
pub(crate) const KEY_PREFIX: &str = "sk-muster-";

/// The client's address, as its connection says: behind a proxy, the proxy's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address(pub(crate) IpAddr);

/// Knows clients by what they send. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Auth {
    mode: Mode,
    tokens: Tokens,
    keys: Keys,
    pub(crate) audit: Audit,
}

impl Auth {
    pub(crate) fn new(bus: &Bus, settings: &AuthSettings, audit: Audit) -> Self {
        Self {
            mode: settings.mode,
            tokens: settings.tokens.clone(),
            keys: Keys::new(bus, settings.require_keys),
            audit,
        }
    }

    /// A key was taken away: nobody comes in with it any more, and its streams end.
    pub(crate) fn forget(&self, key_id: &str) {
        self.keys.forget(key_id);
    }

    /// Waits until the client's key is nobody's any more; for ever where it has none.
    pub(crate) fn gone(&self, client: &Client) -> BoxFuture<'static, ()> {
        self.keys.gone(client)
    }

    async fn client(&self, head: &Parts) -> Result<Client, Error> {
        let (method, path) = (&head.method, head.uri.path());
        let (access, is_openai) = (access(method, path), openai::speaks(method, path));
        let token = bearer(&head.headers);
        let needs_nobody = match self.mode {
            _ if access == Access::Open => true,
            Mode::Off if !is_openai => true,
            // What looks like one of ours is looked up: the last key that was removed opens nothing.
            Mode::Off if token.is_some_and(|token| token.starts_with(KEY_PREFIX)) => false,
            // On the heap, here and below: every request would have room for it.
            Mode::Off => !Box::pin(self.keys.are_needed()).await?,
            Mode::Required => false,
        };
        if needs_nobody {
            return Ok(Client::default());
        }
        let asker = Asker { address: of(&head.extensions), is_openai };
        let token = token.ok_or_else(|| asker.unknown(NO_TOKEN.to_owned()))?;
        let client = Box::pin(self.known(token, &asker)).await?;
        if access == Access::Admin && !client.is_admin() {
            let (tenant, method) = (&client.tenant, method.as_str());
            let path: String = path.chars().take(200).collect();
            let text = format!(
                "{method} {path} needs an admin token; this key is one of the tenant {tenant:?}"
            );
            return Err(Fault::new(Code::Denied, text).into());
        }
        Ok(client)
    }

    async fn known(&self, token: &str, asker: &Asker) -> Result<Client, Error> {
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(name) = self.tokens.find(&hash) {
            let client = Client::admin(name);
            self.audit.came_in(&client, asker.address);
            return Ok(client);
        }
        let (client, is_new) = self.keys.check(&hash).await?;
        match client {
            Some(client) => {
                if is_new {
                    self.audit.came_in(&client, asker.address);
                }
                Ok(client)
            }
            None => {
                if is_new {
                    self.audit.refused(&masked(token), asker.address);
                }
                Err(asker.unknown(format!("Incorrect API key provided: {}.", masked(token))))
            }
        }
    }
}

const NO_TOKEN: &str =
    "You didn't provide an API key. Send it in the header Authorization: Bearer YOUR_KEY.";

/// Where a request comes from, and how its errors are written.
struct Asker {
    address: Option<IpAddr>,
    is_openai: bool,
}

impl Asker {
    fn unknown(&self, message: String) -> Error {
        if self.is_openai {
            let code = Some("invalid_api_key");
            return Error::Unauthenticated(Refusal { message, param: None, code });
        }
        let what = "send an admin token or a virtual key as Authorization: Bearer TOKEN";
        Fault::new(Code::Unauthenticated, format!("{message} Here, {what}.")).into()
    }
}

/// Lets a request in with its [`Client`], or answers it.
pub(crate) async fn authenticate(app: App, request: Request, next: Next) -> Response {
    let (mut head, body) = request.into_parts();
    match app.auth.client(&head).await {
        Ok(client) => {
            head.extensions.insert(client);
            next.run(Request::from_parts(head, body)).await
        }
        Err(error) => {
            let is_unknown = error.code() == Code::Unauthenticated;
            let mut response = error.into_response();
            if is_unknown {
                // RFC 6750: who has sent nothing is told the scheme only.
                let challenge = match bearer(&head.headers) {
                    None => "Bearer realm=\"muster\"",
                    Some(_) => "Bearer realm=\"muster\", error=\"invalid_token\"",
                };
                let challenge = HeaderValue::from_static(challenge);
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
            response
        }
    }
}

/// The address that a request comes from, where it came by a connection.
pub(crate) fn address(request: &Request) -> Option<IpAddr> {
    of(request.extensions())
}

fn of(extensions: &Extensions) -> Option<IpAddr> {
    extensions.get::<Address>().map(|address| address.0)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

/// Enough to know it again, too little to use it.
fn masked(token: &str) -> String {
    let end: Vec<char> = token.chars().rev().take(4).collect();
    if token.chars().count() < 12 {
        "****".to_owned()
    } else {
        format!("****{}", end.iter().rev().collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_key_is_not_repeated() {
        assert_eq!(masked("sk-0123456789"), "****6789");
        assert_eq!(masked("short"), "****");
    }
}
