//! Cached replies that are stale.

use muster_bus::Delivery;
use muster_contracts::cache::v1::GatewayCacheInvalidate;
use tracing::info;

use crate::app::App;
use crate::error::Error;

pub(crate) async fn invalidate(
    app: App,
    command: Delivery<GatewayCacheInvalidate>,
) -> Result<(), Error> {
    let GatewayCacheInvalidate { pattern, reason, .. } = command.message;
    let cleared = app.cache.clear(&pattern, &reason).await?;
    info!(pattern, reason, cleared, "cached replies are forgotten");
    Ok(())
}
