//! What is at an address that a workflow names, for who registers the workflow.

use std::sync::Arc;
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Map, Value};

use super::Net;
use super::request::Ask;
use super::vault::Vault;
use crate::config::Config;
use crate::error::Error;
use crate::outbound::{MAX_BODY, Outbound};

/// Reads resources. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Resources {
    net: Arc<Net>,
    timeout: Duration,
}

impl Resources {
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let net = Net::new(&Outbound::new(config)?, config);
        Ok(Self { net: Arc::new(net), timeout: config.timeout })
    }

    /// The text at `uri`, got with an authentication policy and the secrets that are declared.
    pub(crate) async fn fetch(
        &self,
        uri: &str,
        authentication: Option<Value>,
        secrets: &[String],
    ) -> Result<String, Error> {
        match tokio::time::timeout(self.timeout, self.get(uri, authentication, secrets)).await {
            Ok(fetched) => fetched,
            Err(_elapsed) => {
                let limit = self.timeout.as_millis();
                Err(Error::unavailable(format!("{uri} did not answer within {limit} ms")))
            }
        }
    }

    async fn get(
        &self,
        uri: &str,
        authentication: Option<Value>,
        secrets: &[String],
    ) -> Result<String, Error> {
        let needs: Map<String, Value> =
            authentication.iter().map(|policy| ("policy".to_owned(), policy.clone())).collect();
        let mut vault = Vault::open(&self.net.secrets, secrets, &needs).await?;
        let ask = Ask::document(uri, authentication);
        let asked = self.net.ask(&ask, "", MAX_BODY, &mut vault).await;
        let (asked, answer) = asked.map_err(|error| vault.mask_error(error))?;
        let url = asked.url;
        match answer.status {
            status if status.is_success() => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => {
                return Err(Error::NotFound(format!("{url} answered {}", answer.status.as_u16())));
            }
            status => {
                return Err(Error::unavailable(format!("{url} answered {}", status.as_u16())));
            }
        }
        String::from_utf8(vault.mask_bytes(&answer.body))
            .map_err(|error| Error::Invalid(format!("{url} answered no text: {error}")))
    }
}
