//! What the handlers share.

use muster_bus::{Bus, OpenCalls};

use crate::config::Config;
use crate::definitions::Definitions;
use crate::domain::lifecycle::Lifecycle;
use crate::executions::Executions;
use crate::schedules::Schedules;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) bus: Bus,
    pub(crate) definitions: Definitions,
    pub(crate) executions: Executions,
    pub(crate) schedules: Schedules,
    /// What this process asks for tasks itself.
    pub(crate) calls: OpenCalls,
    /// Which lifecycle events are told.
    pub(crate) lifecycle: Lifecycle,
}

impl App {
    pub(crate) fn new(bus: Bus, config: &Config) -> Self {
        let definitions = Definitions::new(&bus);
        let schedules = Schedules::new(bus.clone(), definitions.clone());
        let executions = Executions::new(bus.clone(), definitions.clone(), config);
        let calls = OpenCalls::new(&bus);
        Self { bus, definitions, executions, schedules, calls, lifecycle: config.lifecycle }
    }
}
