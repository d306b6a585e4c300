//! Tasks that end with their owner: finished where it waits for them, cut off where it is dropped.

use std::future::Future;

use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

/// Tasks of one owner.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    tracker: TaskTracker,
    gone: CancellationToken,
}

impl Tasks {
    /// Cuts off every task when dropped.
    pub(crate) fn guard(&self) -> DropGuard {
        self.gone.clone().drop_guard()
    }

    /// Tasks that can be waited for apart, but are cut off with these.
    pub(crate) fn group(&self) -> Self {
        Self { tracker: TaskTracker::new(), gone: self.gone.clone() }
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let gone = self.gone.clone();
        // A task is moved several times until it runs; on the heap only its address is.
        let mut task = Box::pin(task);
        self.tracker.spawn(async move {
            tokio::select! {
                biased;
                () = &mut task => {}
                () = gone.cancelled() => {}
            }
        });
    }

    /// Waits until every task has ended.
    pub(crate) async fn finish(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}
