//! What the handlers share.

use muster_bus::{Bus, OpenCalls};
use tokio_util::sync::CancellationToken;

use crate::memory::Memories;
use crate::presence::Presence;
use crate::registry::Registry;
use crate::threads::Threads;
use crate::work::Work;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) bus: Bus,
    pub(crate) registry: Registry,
    pub(crate) threads: Threads,
    pub(crate) memories: Memories,
    pub(crate) work: Work,
    pub(crate) presence: Presence,
    /// The runs of this process: one that is cancelled stops.
    pub(crate) calls: OpenCalls,
    /// A run need not be finished before a stop: its journal is all that it has.
    pub(crate) shutdown: CancellationToken,
}

impl App {
    pub(crate) fn new(bus: Bus, shutdown: CancellationToken) -> Self {
        Self {
            registry: Registry::new(&bus),
            threads: Threads::new(&bus),
            memories: Memories::new(&bus),
            work: Work::new(&bus),
            presence: Presence::new(&bus),
            calls: OpenCalls::new(&bus),
            bus,
            shutdown,
        }
    }
}
