//! Records that come at the same time are written by one statement: a commit costs more than a row.

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use sqlx::PgPool;
use tokio::sync::{Mutex, oneshot};
use tracing::trace;

use crate::domain::Record;
use crate::store::{insert, integer};

/// Rows of a statement.
const ROWS: usize = 256;
/// Bytes of the bodies in a statement; one body may be larger than that by itself.
const BYTES: usize = 4 << 20;

/// Who writes next writes for all who came meanwhile. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Together {
    waiting: Arc<Lock<Vec<Waiting>>>,
    writing: Arc<Mutex<()>>,
}

#[derive(Debug)]
struct Waiting {
    record: Arc<Record>,
    written: oneshot::Sender<Written>,
}

/// How a record was written with others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Another event of the same execution stands behind it in the statement.
    Followed,
    /// It is the last of its execution in the statement, or belongs to none.
    Last,
}

impl Together {
    /// Writes a record, with others where there are some. Nothing where it was not written: it was recorded before, or the
    /// statement failed, perhaps for another's sake.
    pub(crate) async fn write(&self, pool: &PgPool, record: &Arc<Record>) -> Option<Written> {
        let (written, mut told) = oneshot::channel();
        self.lock().push(Waiting { record: Arc::clone(record), written });
        let _turn = self.writing.lock().await;
        loop {
            match told.try_recv() {
                Ok(written) => return Some(written),
                Err(oneshot::error::TryRecvError::Closed) => return None,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            // Those who are taken here and not told find their channel closed.
            let batch = self.take();
            if let Ok(new) = insert(pool, batch.iter().map(|waiting| waiting.record.as_ref())).await
            {
                tell(batch, &new);
            }
        }
    }

    /// The next to be written together, in the order in which they came.
    fn take(&self) -> Vec<Waiting> {
        let mut waiting = self.lock();
        let mut bytes = 0;
        let fitting = waiting.iter().take(ROWS).take_while(|waiting| {
            let first = bytes == 0;
            bytes += waiting.record.body.len().max(1);
            first || bytes <= BYTES
        });
        let count = fitting.count();
        let rest = waiting.split_off(count);
        mem::replace(&mut waiting, rest)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells those whose records were new; the others find their channel closed.
fn tell(batch: Vec<Waiting>, new: &[(String, i64)]) {
    let new: HashSet<(&str, i64)> =
        new.iter().map(|(event_id, sequence)| (event_id.as_str(), *sequence)).collect();
    let is_new =
        |record: &Record| new.contains(&(record.event_id.as_str(), integer(record.sequence)));
    let mut seen = HashSet::new();
    for Waiting { record, written } in batch.into_iter().rev().filter(|it| is_new(&it.record)) {
        let first = seen.insert(record.execution_id.clone());
        let how =
            if first || record.execution_id.is_empty() { Written::Last } else { Written::Followed };
        if written.send(how).is_err() {
            trace!(event = record.event_id, "recorded, but its handler is gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_each_execution_is_told_to_be_that() {
        let mut told = Vec::new();
        let mut batch = Vec::new();
        let mut new = Vec::new();
        for (number, (execution_id, is_new)) in
            [("a", true), ("b", true), ("", true), ("a", true), ("a", false), ("", true)]
                .into_iter()
                .enumerate()
        {
            let (written, receiver) = oneshot::channel();
            let (event_id, execution_id) = (number.to_string(), execution_id.to_owned());
            if is_new {
                new.push((event_id.clone(), 0));
            }
            let record = Arc::new(Record { event_id, execution_id, ..Record::default() });
            batch.push(Waiting { record, written });
            told.push(receiver);
        }
        tell(batch, &new);
        let told: Vec<_> = told.iter_mut().map(|told| told.try_recv().ok()).collect();
        let (followed, last) = (Some(Written::Followed), Some(Written::Last));
        assert_eq!(told, [followed, last, last, last, None, last]);
    }

    fn waiting(together: &Together, bytes: usize) {
        let (written, _told) = oneshot::channel();
        let record = Arc::new(Record { body: "x".repeat(bytes), ..Record::default() });
        together.lock().push(Waiting { record, written });
    }

    #[test]
    fn a_statement_is_bounded_in_rows_and_bytes() {
        let together = Together::default();
        for bytes in [BYTES + 1, 1, BYTES - 1, 1] {
            waiting(&together, bytes);
        }
        let taken = [together.take().len(), together.take().len(), together.take().len()];
        assert_eq!(taken, [1, 2, 1]);
        for _ in 0..=ROWS {
            waiting(&together, 0);
        }
        assert_eq!((together.take().len(), together.take().len()), (ROWS, 1));
        assert!(together.take().is_empty());
    }
}
