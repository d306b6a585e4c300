//! What the controllers share.

use std::{ops::Deref, sync::Arc};

use muster_bus::Bus;
use muster_contracts::Fault;
use muster_contracts::vector::v1::{UpsertCompleted, UpsertFailed};
use muster_contracts::workflow::v1::{ExecutionCompleted, WorkflowDefinition};
use muster_runtime::{Context, Readiness};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::auth::{Audit, Auth};
use crate::controllers::openai::Abandoned;
use crate::{config::Config, fresh::Fresh, waits::Waits};

/// What the controllers share. Cheap to clone: each request does so more than once.
#[derive(Clone)]
pub(crate) struct App(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) bus: Bus,
    /// Executions whose end someone waits for, by execution id.
    pub(crate) ends: Waits<End>,
    /// Definitions that are being asked for, by name and version.
    pub(crate) definitions: Fresh<Result<WorkflowDefinition, Fault>>,
    /// Uploads whose end someone waits for, by request id.
    pub(crate) uploads: Waits<Upload>,
    /// A permit for each open live stream.
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) max_streams: usize,
    /// Live streams end when the process stops: their clients go on at another replica.
    pub(crate) stop: CancellationToken,
    pub(crate) readiness: Readiness,
    /// Knows who asks.
    pub(crate) auth: Auth,
    /// Requests to models that nobody waits for any more.
    pub(crate) abandoned: Abandoned,
}

/// How an execution ended, as far as it was told.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Completed(Arc<ExecutionCompleted>),
    /// It failed or was cancelled.
    Otherwise,
}

/// How an upload ended.
#[derive(Debug, Clone)]
pub(crate) enum Upload {
    Completed(UpsertCompleted),
    Failed(UpsertFailed),
}

impl App {
    pub(crate) fn new(
        cx: &Context,
        config: &Config,
        (abandoned, audit): (Abandoned, Audit),
    ) -> Self {
        Self(Arc::new(Shared {
            bus: cx.bus.clone(),
            ends: Waits::default(),
            definitions: Fresh::default(),
            uploads: Waits::default(),
            streams: Arc::new(Semaphore::new(config.max_streams)),
            max_streams: config.max_streams,
            stop: cx.shutdown.clone(),
            readiness: cx.readiness.clone(),
            auth: Auth::new(&cx.bus, &config.auth, audit),
            abandoned,
        }))
    }
}

impl Deref for App {
    type Target = Shared;
    fn deref(&self) -> &Shared {
        &self.0
    }
}
