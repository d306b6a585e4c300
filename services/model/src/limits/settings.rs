//! The settings of money, keys, limits and cache.

use std::time::Duration;

use anyhow::{Context, anyhow};
use muster_runtime::Env;

use crate::domain::caching::{self, Policy};
use crate::domain::prompt::check_model;
use crate::keys::MasterKeys;
use crate::money::Prices;

const SIMILARITY: &str = "MUSTER_RESPONSE_CACHE_SIMILARITY";
const CACHE_MODEL: &str = "MUSTER_RESPONSE_CACHE_EMBEDDING_MODEL";

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
    /// How replies are cached for whom no name says it.
    pub(crate) cache: Policy,
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
            cache: Policy {
                ttl: seconds("MUSTER_RESPONSE_CACHE_SECONDS", 0, 0)?,
                similarity: similarity(env)?,
                embedding_model: embedding_model(env)?,
            },
        })
    }
}

fn similarity(env: &Env) -> anyhow::Result<f64> {
    let similarity = env.parse(SIMILARITY, 0.0)?;
    caching::check_similarity(similarity)
        .map_err(|what| anyhow!("{SIMILARITY} is {similarity}, {what}"))?;
    Ok(similarity)
}

fn embedding_model(env: &Env) -> anyhow::Result<String> {
    let model = env.get(CACHE_MODEL).unwrap_or_default();
    check_model(model).with_context(|| CACHE_MODEL)?;
    Ok(model.to_owned())
}

impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("masters", &self.masters)
            .field("lease", &self.lease)
            .field("cache", &self.cache)
            .finish_non_exhaustive()
    }
}
