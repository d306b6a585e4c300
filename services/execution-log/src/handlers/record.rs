//! Records an event.

use muster_bus::{MessageId, Recorded};
use muster_contracts::log::v1::LogCreated;

use crate::app::App;
use crate::domain::Record;
use crate::error::Error;

pub(crate) async fn record(app: App, event: Recorded) -> Result<(), Error> {
    let record = Record::of(&event);
    let (log_id, execution_id) = (record.event_id.clone(), record.execution_id.clone());
    let Some(sequence) = app.store.record(record).await? else { return Ok(()) };
    // Told again after a second delivery too: the first may have ended between the commit and here.
    let id = MessageId::derived(["execution-log", &log_id]);
    let created = LogCreated { log_id, execution_id, sequence };
    app.bus.publish(&created, &id).await?;
    Ok(())
}
