//! What handlers share.

use std::sync::Arc;

use muster_bus::{Bus, OpenCalls, RecordedCalls};
use muster_contracts::llm::v1::CompleteResponse;
use tokio::sync::Semaphore;

use crate::abandoned::Sessions;
use crate::config::Config;
use crate::providers::{Keys, Providers};
use crate::routing::Routing;

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) bus: Bus,
    pub(crate) routing: Routing,
    /// Replies by their idempotency key: what is paid is not bought twice.
    pub(crate) replies: RecordedCalls<CompleteResponse>,
    /// What is asked for tasks: a cancelled one needs no reply.
    pub(crate) calls: OpenCalls,
    /// What is asked for clients that may hang up.
    pub(crate) sessions: Sessions,
    /// Requests to providers at the same time.
    pub(crate) slots: Arc<Semaphore>,
}

impl App {
    pub(crate) fn new(bus: Bus, config: &Config) -> anyhow::Result<Self> {
        let providers = Providers::new(config, &Keys::default())?;
        Ok(Self {
            routing: Routing::new(&bus, config, providers)?,
            replies: RecordedCalls::new(&bus),
            calls: OpenCalls::new(&bus),
            sessions: Sessions::default(),
            slots: Arc::new(Semaphore::new(config.concurrency)),
            bus,
        })
    }
}
