//! The settings of money, keys, limits and cache.

use std::time::Duration;

use muster_runtime::Env;

use crate::keys::MasterKeys;
use crate::money::Prices;

/// The settings of money, keys, limits and cache.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) prices: Prices,
    pub(crate) masters: MasterKeys,
    /// How long a reservation lasts whose process gives no sign of life.
    pub(crate) lease: Duration,
    /// Whether a model without a price may be asked where a budget applies.
    pub(crate) takes_unpriced: bool,
    /// What is reserved for a reply that has no limit of its own.
    pub(crate) output_tokens: u32,
    /// How long replies are cached; zero: not at all.
    pub(crate) cache_ttl: Duration,
}

impl Settings {
    pub(crate) fn from_env(env: &Env) -> anyhow::Result<Self> {
        let seconds = |name: &str, default: u64, least: u64| {
            env.within(name, default, least..=3_600).map(Duration::from_secs)
        };
        Ok(Self {
            prices: Prices::from_env(env)?,
            masters: MasterKeys::from_env(env)?,
            lease: seconds("MUSTER_RESERVATION_SECONDS", 120, 2)?,
            takes_unpriced: env.parse("MUSTER_UNPRICED_MODELS", true)?,
            output_tokens: env.within("MUSTER_RESERVED_OUTPUT_TOKENS", 4_096, 1..=1_000_000)?,
            cache_ttl: seconds("MUSTER_RESPONSE_CACHE_SECONDS", 0, 0)?,
        })
    }
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("masters", &self.masters)
            .field("lease", &self.lease)
            .field("cache_ttl", &self.cache_ttl)
            .finish_non_exhaustive()
    }
}
