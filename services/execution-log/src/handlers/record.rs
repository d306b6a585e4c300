//! Records events.

use futures::future::try_join_all;
use muster_bus::{MessageId, Recorded};
use muster_contracts::log::v1::LogCreated;

use crate::app::App;
use crate::domain::Record;
use crate::error::Error;

pub(crate) async fn record(app: App, events: Vec<Recorded>) -> Result<(), Error> {
    let records = events.iter().map(Record::of).collect();
    // Told again after a second delivery too: the first may have ended between the commit and here.
    let telling = app.store.record(records).await?.into_iter().map(|created| tell(&app, created));
    try_join_all(telling).await.map(drop)
}

async fn tell(app: &App, created: LogCreated) -> Result<(), Error> {
    let id = MessageId::derived(["execution-log", &created.log_id]);
    app.bus.publish(&created, &id).await?;
    Ok(())
}
