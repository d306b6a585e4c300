//! `/v1/agents/{name}/memory`.

pub(crate) mod forget;
pub(crate) mod list;

use muster_contracts::{Code, Fault};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::{
    auth::Client,
    domain::{name, openai::AGENT},
    error::Error,
};

/// Whose memory of an agent.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Whose {
    /// What the agent remembers for this tenant. Absent: for that of the key; with an admin token, what it remembers where no tenant asked.
    #[serde(default)]
    tenant: String,
}

impl Whose {
    /// The tenant whose memory of the agent the client may see and change.
    fn tenant(self, client: &Client, agent: &str) -> Result<String, Error> {
        name::name("agent's name", agent)?;
        client.may_use(&format!("{AGENT}{agent}"))?;
        if client.is_admin() {
            return Ok(self.tenant);
        }
        if self.tenant.is_empty() || self.tenant == client.tenant {
            return Ok(client.tenant.clone());
        }
        let (asked, own) = (&self.tenant, &client.tenant);
        let text = format!("`tenant` is {asked:.80?}, but this key is for {own:?}: leave it out");
        Err(Fault::new(Code::Denied, text).into())
    }
}
