//! Whose key a client has.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use muster_bus::Bus;
use muster_contracts::model::v1::{CheckVirtualKeyRequest, ListVirtualKeysRequest, VirtualKey};
use muster_contracts::{Code, Fault};
use tokio::time::Instant;

use crate::domain::idempotency::hex;
use crate::error::Error;
use crate::wire::openai::Refusal;

/// How long an answer of the model service holds: as long a removed key may still be used.
const KEPT: Duration = Duration::from_secs(5);
/// The most answers that are kept.
const MOST: usize = 10_000;

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Client {
    /// Empty: the platform itself.
    pub(crate) tenant: String,
    pub(crate) key_id: String,
    /// The models that the key is for; empty: every one.
    pub(crate) models: Vec<String>,
}

impl Client {
    /// Refuses a model that the key is not for.
    pub(super) fn may_use(&self, model: &str) -> Result<(), Error> {
        let fits = |allowed: &String| match allowed.strip_suffix('*') {
            Some(start) => model.starts_with(start),
            None => allowed == model,
        };
        if self.models.is_empty() || self.models.iter().any(fits) {
            return Ok(());
        }
        let text = format!(
            "the key {} is not for the model {model:?}, only for {}",
            self.key_id,
            self.models.join(", ")
        );
        Err(Fault::new(Code::Denied, text).into())
    }
}

/// The virtual keys that clients came with, and to whom they belong. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Keys {
    bus: Bus,
    /// Whether a request needs a key even where none is registered.
    required: bool,
    known: Arc<Mutex<Known>>,
}

#[derive(Default)]
struct Known {
    /// By hash; none where the key is nobody's.
    clients: HashMap<String, (Instant, Option<Client>)>,
    exist: Option<(Instant, bool)>,
}

impl Keys {
    pub(crate) fn new(bus: &Bus, required: bool) -> Self {
        Self { bus: bus.clone(), required, known: Arc::default() }
    }

    /// Who asks. Where keys are registered, or required, a request without a valid one is refused; else any key will do, as clients of OpenAI's always send one.
    pub(crate) async fn client(&self, headers: &HeaderMap) -> Result<Client, Error> {
        if !self.required && !self.exist().await? {
            return Ok(Client::default());
        }
        let key = bearer(headers).ok_or_else(|| {
            let text = "You didn't provide an API key. Send it in the header Authorization: Bearer YOUR_KEY.";
            refused(text.to_owned())
        })?;
        let found = self.check(key).await?;
        found.ok_or_else(|| refused(format!("Incorrect API key provided: {}.", masked(key))))
    }

    async fn exist(&self) -> Result<bool, Fault> {
        if let Some((_, exist)) = self.known().exist.filter(|(at, _)| at.elapsed() < KEPT) {
            return Ok(exist);
        }
        let list = self.bus.request(&ListVirtualKeysRequest::default()).await?;
        let exist = !list.keys.is_empty();
        self.known().exist = Some((Instant::now(), exist));
        Ok(exist)
    }

    async fn check(&self, key: &str) -> Result<Option<Client>, Fault> {
        use sha2::Digest as _;
        let hash = hex(&sha2::Sha256::digest(key.as_bytes()));
        if let Some((at, client)) = self.known().clients.get(&hash)
            && at.elapsed() < KEPT
        {
            return Ok(client.clone());
        }
        let client = match self.bus.request(&CheckVirtualKeyRequest { hash: hash.clone() }).await {
            Ok(VirtualKey { key_id, tenant, models, .. }) => {
                Some(Client { tenant, key_id, models })
            }
            Err(fault) if fault.code == Code::Unauthenticated => None,
            Err(fault) => return Err(fault),
        };
        let mut known = self.known();
        if known.clients.len() >= MOST {
            known.clients.retain(|_, (at, _)| at.elapsed() < KEPT);
        }
        if known.clients.len() < MOST {
            known.clients.insert(hash, (Instant::now(), client.clone()));
        }
        Ok(client)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    Some(key.trim()).filter(|key| scheme.eq_ignore_ascii_case("bearer") && !key.is_empty())
}

/// Enough to know it again, too little to use it.
fn masked(key: &str) -> String {
    let end: Vec<char> = key.chars().rev().take(4).collect();
    if key.chars().count() < 12 {
        "****".to_owned()
    } else {
        format!("****{}", end.iter().rev().collect::<String>())
    }
}

fn refused(message: String) -> Error {
    Error::Unauthenticated(Refusal { message, param: None, code: Some("invalid_api_key") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_for_the_models_that_it_names() {
        let client = |models: &[&str]| Client {
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            ..Client::default()
        };
        assert!(client(&[]).may_use("agent:a").is_ok());
        assert!(client(&["gpt-*", "fast"]).may_use("gpt-4o").is_ok());
        assert!(client(&["fast"]).may_use("faster").is_err());
    }

    #[test]
    fn a_refused_key_is_not_repeated() {
        assert_eq!(masked("sk-0123456789"), "****6789");
        assert_eq!(masked("short"), "****");
    }
}
