//! What handlers share.

use std::sync::Arc;

use muster_bus::{Bus, OpenCalls, RecordedCalls};
use muster_contracts::llm::v1::CompleteResponse;
use tokio::sync::Semaphore;

use crate::config::Config;
use crate::providers::Providers;

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) bus: Bus,
    pub(crate) providers: Providers,
    /// Replies by their idempotency key: what is paid is not bought twice.
    pub(crate) replies: RecordedCalls<CompleteResponse>,
    /// What is asked for tasks: a cancelled one needs no reply.
    pub(crate) calls: OpenCalls,
    /// Requests to providers at the same time.
    pub(crate) slots: Arc<Semaphore>,
}

impl App {
    pub(crate) fn new(bus: Bus, config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            providers: Providers::new(config)?,
            replies: RecordedCalls::new(&bus),
            calls: OpenCalls::new(&bus),
            slots: Arc::new(Semaphore::new(config.concurrency)),
            bus,
        })
    }
}
