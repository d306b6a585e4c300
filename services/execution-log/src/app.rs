//! What the handlers share.

use muster_bus::Bus;

use crate::store::Store;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
}
