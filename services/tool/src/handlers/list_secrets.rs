//! Says which secrets there are, and nothing of what is in them.

use muster_contracts::tool::v1::{ListSecretsRequest, SecretList};

use crate::app::App;
use crate::error::Error;

pub(crate) async fn list_secrets(
    app: App,
    _request: ListSecretsRequest,
) -> Result<SecretList, Error> {
    Ok(SecretList { names: app.secrets.names().await? })
}
