//! What the controllers share.

use std::sync::Arc;

use muster_bus::Bus;
use muster_contracts::vector::v1::{UpsertCompleted, UpsertFailed};
use muster_runtime::{Context, Readiness};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::{config::Config, waits::Waits};

/// What the controllers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) bus: Bus,
    /// Executions whose end someone waits for, by execution id.
    pub(crate) ends: Waits<()>,
    /// Uploads whose end someone waits for, by request id.
    pub(crate) uploads: Waits<Upload>,
    /// A permit for each open live stream.
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) max_streams: usize,
    /// Live streams end when the process stops: their clients go on at another replica.
    pub(crate) stop: CancellationToken,
    pub(crate) readiness: Readiness,
}

/// How an upload ended.
#[derive(Debug, Clone)]
pub(crate) enum Upload {
    Completed(UpsertCompleted),
    Failed(UpsertFailed),
}

impl App {
    pub(crate) fn new(cx: &Context, config: &Config) -> Self {
        Self {
            bus: cx.bus.clone(),
            ends: Waits::default(),
            uploads: Waits::default(),
            streams: Arc::new(Semaphore::new(config.max_streams)),
            max_streams: config.max_streams,
            stop: cx.shutdown.clone(),
            readiness: cx.readiness.clone(),
        }
    }
}
