//! What the handlers share.

use muster_bus::Bus;

use crate::registry::Registry;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) registry: Registry,
}

impl App {
    pub(crate) fn new(bus: &Bus) -> anyhow::Result<Self> {
        Ok(Self { registry: Registry::new(bus)? })
    }
}
