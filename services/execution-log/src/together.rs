//! Records that come at the same time are written by one statement: a commit costs more than a row.

use std::mem;
use std::sync::{Arc, Mutex as Lock, PoisonError};

use sqlx::PgPool;
use tokio::sync::{Mutex, oneshot};
use tracing::trace;

use crate::domain::Record;
use crate::store::insert;

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
    written: oneshot::Sender<()>,
}

impl Together {
    /// Writes records, with others where there are some. False where the statement failed, perhaps for another's sake.
    pub(crate) async fn write(&self, pool: &PgPool, records: &Arc<[Record]>) -> bool {
        let (written, mut told) = oneshot::channel();
        self.lock().push(Waiting { records: Arc::clone(records), written });
        let _turn = self.writing.lock().await;
        loop {
            match told.try_recv() {
                Ok(()) => return true,
                Err(oneshot::error::TryRecvError::Closed) => return false,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            // Those who are taken here and not told find their channel closed.
            let batch = self.take();
            let records = batch.iter().flat_map(|waiting| waiting.records.iter());
            if insert(pool, records).await.is_ok() {
                tell(batch);
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

fn tell(batch: Vec<Waiting>) {
    for waiting in batch {
        if waiting.written.send(()).is_err() {
            trace!("recorded, but its handler is gone");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
