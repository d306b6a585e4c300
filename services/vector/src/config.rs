//! Settings.

use std::sync::Arc;

use anyhow::{bail, ensure};
use muster_runtime::{Database, Env};

use crate::providers::{Embedder, Hashing, OpenAi, Settings};

const OPENAI: &str = "https://api.openai.com/v1";

/// What the environment says.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// The endpoint for embeddings; without one the built-in embedder is used.
    pub(crate) openai: Option<Settings>,
    pub(crate) database: Database,
}

impl Config {
    /// Reads the environment.
    pub(crate) fn from_env(env: &Env) -> anyhow::Result<Self> {
        let database = Database::from_env(env, "vector")?;
        let set = |name| env.get(name).filter(|value| !value.is_empty());
        let Some(model) = set("MUSTER_EMBEDDING_MODEL").filter(|model| *model != Hashing.name())
        else {
            return Ok(Self { openai: None, database });
        };
        let (base_url, api_key) = (set("OPENAI_BASE_URL"), set("OPENAI_API_KEY"));
        if base_url.is_none() && api_key.is_none() {
            bail!(
                "MUSTER_EMBEDDING_MODEL is {model:?}, but neither OPENAI_API_KEY nor OPENAI_BASE_URL says where it is; unset it for the built-in embedder {:?}",
                Hashing.name()
            );
        }
        let base_url = base_url.unwrap_or(OPENAI);
        let known = ["http://", "https://"].iter().any(|scheme| base_url.starts_with(scheme));
        ensure!(known, "OPENAI_BASE_URL must be an address like {OPENAI}");
        let dimensions = env.parse::<u32>("MUSTER_EMBEDDING_DIMENSIONS", 0)?;
        Ok(Self {
            openai: Some(Settings {
                base_url: base_url.to_owned(),
                api_key: api_key.map(str::to_owned),
                model: model.to_owned(),
                dimensions: (dimensions > 0).then_some(dimensions),
            }),
            database,
        })
    }

    /// The embedder that the settings choose.
    pub(crate) fn embedder(self) -> anyhow::Result<Arc<dyn Embedder>> {
        Ok(match self.openai {
            Some(settings) => Arc::new(OpenAi::new(settings)?),
            None => Arc::new(Hashing),
        })
    }
}
