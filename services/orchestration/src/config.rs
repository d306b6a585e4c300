//! Settings.

use muster_runtime::{Env, SettingError};

pub(crate) struct Config {
    pub(crate) concurrency: usize,
    pub(crate) hot: u64,
}

impl Config {
    pub(crate) fn from_env(env: &Env) -> Result<Self, SettingError> {
        Ok(Self {
            concurrency: env.parse("MUSTER_ORCHESTRATION_CONCURRENCY", 256)?,
            hot: env.parse("MUSTER_ORCHESTRATION_HOT", 10_000)?,
        })
    }
}
