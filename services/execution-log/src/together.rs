//! Records that come at the same time are written by one statement: a commit costs more than a row.

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
    written: oneshot::Sender<()>,
}

impl Together {
    /// Writes a record, with others where there are some. False where it was not written: it was recorded before, or the
    /// statement failed, perhaps for another's sake.
    pub(crate) async fn write(&self, pool: &PgPool, record: &Arc<Record>) -> bool {
        let (written, mut told) = oneshot::channel();
        self.lock().push(Waiting { record: Arc::clone(record), written });
        let _turn = self.writing.lock().await;
        loop {
            match told.try_recv() {
                Ok(()) => return true,
                Err(oneshot::error::TryRecvError::Closed) => return false,
                Err(oneshot::error::TryRecvError::Empty) => {}
            }
            // Those who are taken here and not told find their channel closed.
            let batch = self.take();
            if let Ok(new) = insert(pool, batch.iter().map(|waiting| waiting.record.as_ref())).await
            {
                for Waiting { record, written } in batch {
                    let is_new = new.iter().any(|(id, sequence)| {
                        *id == record.event_id && *sequence == integer(record.sequence)
                    });
                    if is_new && written.send(()).is_err() {
                        trace!(event = record.event_id, "recorded, but its handler is gone");
                    }
                }
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

#[cfg(test)]
mod tests {
    use super::*;

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
