//! `call: openapi`: an operation of a document that is somewhere else.

mod document;
mod operation;
mod parameters;
mod schema;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Url;
use serde_json::{Map, Value};
use tokio::time::Instant;

use self::document::Document;
pub(crate) use self::schema::Described;
use super::answer::Output;
use super::request::{Ask, effect};
use super::vault::Vault;
use super::{Net, Perform, http, raised};
use crate::domain::call::{Call, Effect};
use crate::error::Error;

/// How long a document is used before it is read again.
const FRESH: Duration = Duration::from_secs(300);
/// The most documents that are kept.
const MAX_KEPT: usize = 64;
/// The largest document, in bytes.
const MAX_DOCUMENT: usize = 8 << 20;

/// Documents by their endpoints, each with when it was read.
type Documents = HashMap<String, (Arc<Document>, Instant)>;

pub(crate) struct Openapi {
    net: Arc<Net>,
    documents: Mutex<Documents>,
}

impl Openapi {
    pub(super) fn new(net: Arc<Net>) -> Self {
        Self { net, documents: Mutex::default() }
    }

    pub(super) async fn document(
        &self,
        arguments: &Map<String, Value>,
        vault: &mut Vault,
    ) -> Result<Arc<Document>, Error> {
        let endpoint = arguments.get("document").and_then(|document| document.get("endpoint"));
        let endpoint = endpoint.cloned().unwrap_or_default();
        let key = endpoint.to_string();
        let kept = self.kept().get(&key).cloned();
        if let Some((document, read)) = kept
            && read.elapsed() < FRESH
        {
            return Ok(document);
        }
        let document = Arc::new(self.fetch(&endpoint, vault).await?);
        let mut kept = self.kept();
        if kept.len() >= MAX_KEPT {
            kept.clear();
        }
        kept.insert(key, (document.clone(), Instant::now()));
        Ok(document)
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Documents> {
        self.documents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self, endpoint: &Value, vault: &mut Vault) -> Result<Document, Error> {
        let uri = endpoint.get("uri").and_then(Value::as_str).unwrap_or_default();
        let ask = Ask::document(uri, endpoint.get("authentication").cloned());
        let (asked, answer) = self.net.ask(&ask, "", MAX_DOCUMENT, vault).await?;
        if !answer.status.is_success() {
            let status = answer.status.as_u16();
            let detail = format!("the document {} cannot be had: it answered {status}", asked.url);
            return Err(raised("communication", status, detail));
        }
        let url: Url = asked.url;
        Document::parse(&answer.body, url.clone()).map_err(|problem| {
            raised("configuration", 400, format!("the document {url} is no OpenAPI: {problem}"))
        })
    }
}

impl Perform for Openapi {
    const NAME: &'static str = "call:openapi";

    fn net(&self) -> &Net {
        &self.net
    }

    /// The document says the method.
    async fn prepare(&self, call: &Call, vault: &mut Vault) -> Result<Effect, Error> {
        let document = self.document(&call.arguments, vault).await?;
        let method = document.operation(name(&call.arguments))?.method;
        Ok(effect(method.as_str(), call.arguments.get("parameters")))
    }

    async fn perform(&self, call: &Call, vault: &mut Vault) -> Result<Value, Error> {
        let arguments = &call.arguments;
        let document = self.document(arguments, vault).await?;
        let operation = document.operation(name(arguments))?;
        let made = operation.fill(http::map(arguments, "parameters")?)?;
        let ask = Ask {
            method: operation.method.clone(),
            uri: made.uri,
            headers: made.headers,
            query: made.query,
            body: made.body,
            authentication: arguments.get("authentication").cloned(),
            output: Output::parse(arguments.get("output"))?,
            redirect: arguments.get("redirect").and_then(Value::as_bool).unwrap_or_default(),
        };
        self.net.perform(&ask, &call.idempotency_key, vault).await
    }
}

fn name(arguments: &Map<String, Value>) -> &str {
    arguments.get("operationId").and_then(Value::as_str).unwrap_or_default()
}
