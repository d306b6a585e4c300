//! Settings.

use muster_runtime::{Env, SettingError};

pub(crate) struct Config {
    pub(crate) concurrency: usize,
}

impl Config {
    pub(crate) fn from_env(env: &Env) -> Result<Self, SettingError> {
        Ok(Self { concurrency: env.within("MUSTER_AGENT_CONCURRENCY", 64, 1..=4_096)? })
    }
}
