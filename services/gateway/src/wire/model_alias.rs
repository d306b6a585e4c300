//! Names for models.

use muster_contracts::model::v1 as contract;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A name for models: which are asked for it, and in which order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelAlias {
    /// `^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`. In a request it may be absent: the path names it.
    #[serde(default)]
    pub name: String,
    /// What it is good for.
    #[serde(default)]
    pub description: String,
    /// Asked in their order until one answers; 1 to 32.
    pub targets: Vec<ModelTarget>,
    /// How often a target is asked again that failed for a passing reason, before the next one is asked; 0 to 5; absent: 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// How long a request may take over all tries and targets, 1 to 3600; 0: 600.
    #[serde(default)]
    pub timeout_seconds: u32,
    /// How replies for this name are cached; absent: as the model service's settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<ModelCache>,
    /// SHA-256 of the definition, hexadecimal; made at registration and ignored in a request.
    #[serde(default)]
    pub digest: String,
    /// It comes from the model service's own settings; ignored in a request.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub preset: bool,
}

/// How replies are cached. A reply is never given to another tenant than its first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelCache {
    /// How long a reply is kept, at most 3600; 0: nothing is cached.
    pub ttl_seconds: u32,
    /// How near a question must be to an earlier one to get its reply, 0.5 to 1; 0: only the same request gets it.
    #[serde(default)]
    pub similarity: f64,
    /// What tells how near questions are: a name for models, or `PROVIDER/MODEL`; empty: the first provider that has a
    /// model for vectors, else the built-in `offline/hashing-256`.
    #[serde(default)]
    pub embedding_model: String,
}

/// A model that is asked for a name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelTarget {
    /// The name of a configured provider.
    pub provider: String,
    /// The provider's name of the model; empty: the provider's default.
    #[serde(default)]
    pub model: String,
    /// Targets of the same group, 1 to 16, share the requests by their weights. 0: a group of its own.
    #[serde(default)]
    pub group: u32,
    /// The share of the requests within the group, 1 to 1000; 0: 1.
    #[serde(default)]
    pub weight: u32,
    /// How long it is asked last after it failed, 1 to 3600; 0: 30, or what the provider says.
    #[serde(default)]
    pub cooldown_seconds: u32,
}

/// All names for models.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct ModelAliases {
    /// In the order of their names.
    pub models: Vec<ModelAlias>,
}

impl From<ModelAlias> for contract::ModelDefinition {
    fn from(alias: ModelAlias) -> Self {
        let targets = alias.targets.into_iter().map(|target| contract::ModelTarget {
            provider: target.provider,
            model: target.model,
            group: target.group,
            weight: target.weight,
            cooldown_seconds: target.cooldown_seconds,
        });
        Self {
            name: alias.name,
            description: alias.description,
            targets: targets.collect(),
            retries: alias.retries,
            timeout_seconds: alias.timeout_seconds,
            cache: alias.cache.map(|cache| contract::CachePolicy {
                ttl_seconds: cache.ttl_seconds,
                similarity: cache.similarity,
                embedding_model: cache.embedding_model,
            }),
            ..Self::default()
        }
    }
}

impl From<contract::ModelDefinition> for ModelAlias {
    fn from(definition: contract::ModelDefinition) -> Self {
        let targets = definition.targets.into_iter().map(|target| ModelTarget {
            provider: target.provider,
            model: target.model,
            group: target.group,
            weight: target.weight,
            cooldown_seconds: target.cooldown_seconds,
        });
        Self {
            name: definition.name,
            description: definition.description,
            targets: targets.collect(),
            retries: definition.retries,
            timeout_seconds: definition.timeout_seconds,
            cache: definition.cache.map(|cache| ModelCache {
                ttl_seconds: cache.ttl_seconds,
                similarity: cache.similarity,
                embedding_model: cache.embedding_model,
            }),
            digest: definition.digest,
            preset: definition.preset,
        }
    }
}
