//! What the handlers share.

use std::sync::Arc;

use muster_bus::Bus;

use crate::providers::Embedder;
use crate::store::Store;

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) embedder: Arc<dyn Embedder>,
}
