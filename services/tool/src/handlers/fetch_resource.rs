//! Reads what is at an address that a workflow names.

use muster_contracts::JsonObject;
use muster_contracts::tool::v1::{FetchResourceRequest, Resource};

use crate::app::App;
use crate::error::Error;

pub(crate) async fn fetch_resource(
    app: App,
    request: FetchResourceRequest,
) -> Result<Resource, Error> {
    let policy = request.authentication.map(JsonObject::into_value);
    let text = app.resources.fetch(&request.uri, policy, &request.secrets).await?;
    Ok(Resource { text })
}
