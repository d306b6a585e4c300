//! What handlers share.

use muster_bus::{Bus, OpenCalls, RecordedCalls};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::calls::{Resources, Secrets};
use crate::config::Config;
use crate::tools::Registry;

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) bus: Bus,
    pub(crate) registry: Registry,
    pub(crate) secrets: Secrets,
    pub(crate) resources: Resources,
    /// Results by their idempotency key.
    pub(crate) results: RecordedCalls<Recorded>,
    /// What is done for tasks: a cancelled one needs no result.
    pub(crate) calls: OpenCalls,
}

/// A result as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Recorded {
    pub(crate) result: Value,
    pub(crate) duration_ms: u32,
    /// SHA-256 of the arguments, hexadecimal: another call under the same key is told apart.
    #[serde(default)]
    pub(crate) arguments: String,
}

impl App {
    pub(crate) fn new(bus: Bus, config: &Config) -> anyhow::Result<Self> {
        Ok(Self {
            registry: Registry::new(&bus, config)?,
            secrets: config.secrets.clone(),
            resources: Resources::new(config)?,
            results: RecordedCalls::new(&bus),
            calls: OpenCalls::new(&bus),
            bus,
        })
    }
}
