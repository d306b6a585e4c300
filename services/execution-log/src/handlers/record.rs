//! Records events.

use std::collections::BTreeSet;

use muster_bus::{MessageId, Recorded};
use muster_contracts::log::v1::LogCreated;

use crate::app::App;
use crate::domain::Record;
use crate::error::Error;

pub(crate) async fn record(app: App, events: Vec<Recorded>) -> Result<(), Error> {
    let records: Vec<Record> = events.iter().map(Record::of).collect();
    let Some(created) = created(&records) else { return Ok(()) };
    // Of all of them: the same last one may come with others another time, who are still to be told of.
    let ids = records.iter().map(|record| record.event_id.as_str());
    let id = MessageId::derived(std::iter::once("execution-log").chain(ids));
    app.store.record(records).await?;
    // Told again after a second delivery too: the first may have ended between the commit and here.
    app.bus.publish(&created, &id).await?;
    Ok(())
}

/// What is told of events that are recorded together.
fn created(records: &[Record]) -> Option<LogCreated> {
    let last = records.iter().max_by_key(|record| record.sequence)?;
    let executions: BTreeSet<&str> =
        records.iter().map(|record| record.execution_id.as_str()).collect();
    let is_other = |id: &&str| !id.is_empty() && *id != last.execution_id;
    Some(LogCreated {
        log_id: last.event_id.clone(),
        execution_id: last.execution_id.clone(),
        sequence: last.sequence,
        others: executions.into_iter().filter(is_other).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64, execution_id: &str) -> Record {
        Record {
            event_id: format!("event-{sequence}"),
            sequence,
            execution_id: execution_id.to_owned(),
            ..Record::default()
        }
    }

    #[test]
    fn the_event_that_is_last_in_its_stream_is_told_of_with_the_other_executions() {
        let records =
            [record(3, "a"), record(7, "b"), record(5, "c"), record(4, ""), record(2, "a")];
        let told = created(&records).unwrap();
        assert_eq!((told.log_id.as_str(), told.execution_id.as_str()), ("event-7", "b"));
        assert_eq!((told.sequence, told.others), (7, vec!["a".to_owned(), "c".to_owned()]));
        assert_eq!(created(&[]), None);
    }
}
