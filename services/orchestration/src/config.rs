//! Settings.

use muster_runtime::{Env, SettingError};

pub(crate) struct Config {
    pub(crate) concurrency: usize,
    pub(crate) hot: u64,
}

impl Config {
    pub(crate) fn from_env(env: &Env) -> Result<Self, SettingError> {
        Ok(Self {
            concurrency: env.within("MUSTER_ORCHESTRATION_CONCURRENCY", 256, 1..=4_096)?,
            hot: env.within("MUSTER_ORCHESTRATION_HOT", 10_000, 1..=10_000_000)?,
        })
    }
}
