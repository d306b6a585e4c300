//! What the handlers share.

use muster_bus::Bus;

use crate::config::Config;
use crate::definitions::Definitions;
use crate::executions::Executions;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) bus: Bus,
    pub(crate) definitions: Definitions,
    pub(crate) executions: Executions,
}

impl App {
    pub(crate) fn new(bus: Bus, config: &Config) -> Self {
        let definitions = Definitions::new(&bus);
        let executions = Executions::new(bus.clone(), definitions.clone(), config.hot);
        Self { bus, definitions, executions }
    }
}
