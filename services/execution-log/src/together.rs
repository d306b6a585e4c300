//! Records that come at the same time are written by one statement: a commit costs more than a row.

use std::collections::{HashMap, HashSet};
use std::mem;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use sqlx::PgPool;
use tokio::sync::{Mutex, oneshot};
use tracing::trace;

use crate::domain::Record;
use crate::store::{insert, integer};

/// Rows of a statement: as many as come at once, where they do not come more at a time than this.
const ROWS: usize = 1024;
/// Bytes of the bodies in a statement; those that came together may be larger by themselves.
const BYTES: usize = 4 << 20;

/// Who writes next writes for all who came meanwhile. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Together {
    waiting: Arc<Lock<Vec<Waiting>>>,
    writing: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Waiting {
    records: Arc<[Record]>,
    written: oneshot::Sender<Vec<Written>>,
}

/// How a record was written with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Another event of the same execution stands behind it in the statement.
    Followed,
    /// It is the last of its execution in the statement, or belongs to none.
    Last,
    /// Not now: it was recorded before.
    Before,
}

impl Together {
    /// Writes records, with others where there are some. Nothing where the statement failed, perhaps for another's sake.
    pub(crate) async fn write(
        &self,
        pool: &PgPool,
        records: &Arc<[Record]>,
    ) -> Option<Vec<Written>> {
        let (written, mut told) = oneshot::channel();
        self.lock().push(Waiting { records: Arc::clone(records), written });
        let _turn = self.writing.lock().await;
        loop {
            match told.try_recv() {
                Ok(written) => return Some(written),
                Err(oneshot::error::TryRecvError::Closed) => return None,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            // Those who are taken here and not told find their channel closed.
            let batch = self.take();
            let records = batch.iter().flat_map(|waiting| waiting.records.iter());
            if let Ok(new) = insert(pool, records).await {
                tell(batch, &new);
            }
        }
    }

    /// The next to be written together, in the order in which they came.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.lock();
        let (mut rows, mut bytes) = (0, 0);
        let fitting = waiting.iter().take_while(|waiting| {
            let first = rows == 0;
            rows += waiting.records.len();
            bytes += waiting.records.iter().map(|record| record.body.len()).sum::<usize>();
            first || (rows <= ROWS && bytes <= BYTES)
        });
        let count = fitting.count();
        let rest = waiting.split_off(count);
        mem::replace(&mut waiting, rest)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tell(batch: Vec<Waiting>, new: &[(String, i64)]) {
    let fates = fates(batch.iter().map(|waiting| &waiting.records[..]), new);
    for (waiting, fates) in batch.into_iter().zip(fates) {
        if waiting.written.send(fates).is_err() {
            trace!("recorded, but its handler is gone");
        }
    }
}

/// How the records of a statement were written, which returned these as new. The last of an execution is the one with the highest sequence: they may come in any order.
pub(crate) fn fates<'a>(
    groups: impl Iterator<Item = &'a [Record]> + Clone,
    new: &[(String, i64)],
) -> Vec<Vec<Written>> {
    let new: HashSet<(&str, i64)> =
        new.iter().map(|(event_id, sequence)| (event_id.as_str(), *sequence)).collect();
    let is_new =
        |record: &Record| new.contains(&(record.event_id.as_str(), integer(record.sequence)));
    let mut last: HashMap<&str, u64> = HashMap::new();
    for record in groups.clone().flatten().filter(|record| is_new(record)) {
        let known = last.entry(&record.execution_id).or_default();
        *known = record.sequence.max(*known);
    }
    let fate = |record: &Record| {
        if !is_new(record) {
            Written::Before
        } else if record.execution_id.is_empty()
            || last.get(record.execution_id.as_str()) == Some(&record.sequence)
        {
            Written::Last
        } else {
            Written::Followed
        }
    };
    groups.map(|records| records.iter().map(fate).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sequence: u64, execution_id: &str) -> Record {
        Record {
            event_id: sequence.to_string(),
            sequence,
            execution_id: execution_id.to_owned(),
            ..Record::default()
        }
    }

    #[test]
    fn the_last_of_each_execution_is_told_to_be_that_in_whatever_order_they_come() {
        use Written::{Before, Followed, Last};
        let groups = [
            vec![record(4, "a"), record(2, "b"), record(3, "")],
            vec![record(1, "a"), record(5, "a"), record(6, "")],
        ];
        let new = [1, 2, 3, 4, 6].map(|sequence| (sequence.to_string(), sequence));
        let found = fates(groups.iter().map(|group| &group[..]), &new);
        assert_eq!(found, [vec![Last, Last, Last], vec![Followed, Before, Last]]);
    }

    fn waiting(together: &Together, rows: usize, bytes: usize) {
        let (written, _told) = oneshot::channel();
        let row = Record { body: "x".repeat(bytes), ..Record::default() };
        together.lock().push(Waiting { records: vec![row; rows].into(), written });
    }

    #[test]
    fn a_statement_is_bounded_in_rows_and_bytes() {
        let together = Together::default();
        for bytes in [BYTES + 1, 1, BYTES - 1, 1] {
            waiting(&together, 1, bytes);
        }
        let taken = [together.take().len(), together.take().len(), together.take().len()];
        assert_eq!(taken, [1, 2, 1]);
        for rows in [ROWS + 1, ROWS - 1, 1, 1] {
            waiting(&together, rows, 0);
        }
        let taken = [together.take().len(), together.take().len(), together.take().len()];
        assert_eq!(taken, [1, 2, 1]);
        assert!(together.take().is_empty());
    }
}
