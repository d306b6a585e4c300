//! Who asks.

use std::ops::Deref;
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use muster_contracts::{Code, Fault};

use crate::error::Error;

/// Who asks. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Client(Arc<Who>);

/// What is known of who asks.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Who {
    /// Empty: the platform itself, as for admins.
    pub(crate) tenant: String,
    /// Of a virtual key.
    pub(crate) key_id: String,
    /// Of a virtual key: what it is looked up by.
    pub(crate) hash: [u8; 32],
    /// Of a virtual key, or of an admin token; empty where nobody had to say who he is.
    pub(crate) name: String,
    /// The models that the key is for; empty: every one.
    pub(crate) models: Vec<String>,
}

impl Deref for Client {
    type Target = Who;

    fn deref(&self) -> &Who {
        &self.0
    }
}

impl From<Who> for Client {
    fn from(who: Who) -> Self {
        Self(Arc::new(who))
    }
}

impl Client {
    pub(super) fn admin(name: &str) -> Self {
        Who { name: name.to_owned(), ..Who::default() }.into()
    }

    /// Who a request comes from; an error where it came by no way that asks for it.
    pub(crate) fn of(request: &Request) -> Result<Self, Error> {
        found(request.extensions().get::<Self>())
    }

    /// Whether everything is theirs to see and to do.
    pub(crate) fn is_admin(&self) -> bool {
        self.tenant.is_empty()
    }

    /// Whether what this tenant has is theirs.
    pub(crate) fn owns(&self, tenant: &str) -> bool {
        self.is_admin() || self.tenant == tenant
    }

    /// A name for idempotency keys, which two tenants may choose alike.
    pub(crate) fn scope(&self, of: &str) -> String {
        if self.is_admin() { of.to_owned() } else { format!("{of}/{}", self.tenant) }
    }

    /// Refuses a model, `agent:NAME` or `workflow:NAME` that the key is not for.
    pub(crate) fn may_use(&self, model: &str) -> Result<(), Error> {
        let fits = |allowed: &String| match allowed.strip_suffix('*') {
            Some(start) => model.starts_with(start),
            None => allowed == model,
        };
        if self.models.is_empty() || self.models.iter().any(fits) {
            return Ok(());
        }
        let text = format!(
            "the key {} is not for {model:?}, only for {}",
            self.key_id,
            self.models.join(", ")
        );
        Err(Fault::new(Code::Denied, text).into())
    }

    /// Who decides, where the client says that it is `by`. Who had to say who he is decides under that name and no other.
    pub(crate) fn decides(&self, by: String) -> Result<String, Error> {
        let own = if self.name.is_empty() { &self.key_id } else { &self.name };
        if own.is_empty() || *own == by {
            return Ok(by);
        }
        if by.is_empty() {
            return Ok(own.clone());
        }
        let text = format!("`by` is {by:.80?}, but this key decides as {own:?}: leave `by` out");
        Err(Fault::new(Code::Denied, text).into())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        found(parts.extensions.get::<Self>())
    }
}

/// Nobody is let in by a mistake in the table of paths.
fn found(client: Option<&Client>) -> Result<Client, Error> {
    client.cloned().ok_or_else(|| anyhow::anyhow!("a request came in unasked who it is of").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_for_the_models_that_it_names() {
        let client = |models: &[&str]| {
            let models = models.iter().map(|model| (*model).to_owned()).collect();
            Client::from(Who { models, ..Who::default() })
        };
        assert!(client(&[]).may_use("agent:a").is_ok());
        assert!(client(&["gpt-*", "fast"]).may_use("gpt-4o").is_ok());
        assert!(client(&["fast"]).may_use("faster").is_err());
        assert!(client(&["fast"]).may_use("workflow:w").is_err());
    }

    #[test]
    fn who_is_known_decides_under_no_other_name() {
        let decides =
            |client: &Client, by: &str| client.decides(by.to_owned()).map_err(|e| e.to_string());
        let (nobody, ann) = (Client::default(), Client::admin("ann"));
        assert_eq!(decides(&nobody, "bob"), Ok("bob".to_owned()));
        assert_eq!(decides(&ann, ""), Ok("ann".to_owned()));
        assert_eq!(decides(&ann, "ann"), Ok("ann".to_owned()));
        assert!(decides(&ann, "bob").unwrap_err().contains("\"bob\""));
        let unnamed = Client::from(Who { key_id: "k1".into(), ..Who::default() });
        assert_eq!(decides(&unnamed, ""), Ok("k1".to_owned()));
    }
}
