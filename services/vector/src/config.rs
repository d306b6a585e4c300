//! Settings.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{bail, ensure};
use muster_runtime::{Database, Env};

use crate::providers::{Embedder, Hashing, OpenAi, Settings};

const OPENAI: &str = "https://api.openai.com/v1";
const DIRECTORY: &str = "MUSTER_EMBEDDINGS_DIR";

/// What the environment says.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) embedder: Chosen,
    pub(crate) database: Database,
}

/// What makes the vectors.
#[derive(Debug, Clone)]
pub(crate) enum Chosen {
    BuiltIn,
    /// An endpoint for embeddings.
    OpenAi(Settings),
    /// A model in this directory.
    Local(PathBuf),
}

impl Config {
    /// Reads the environment.
    pub(crate) fn from_env(env: &Env) -> anyhow::Result<Self> {
        let database = Database::from_env(env, "vector")?;
        let set = |name| env.get(name).filter(|value| !value.is_empty());
        let model = set("MUSTER_EMBEDDING_MODEL").filter(|model| *model != Hashing.name());
        let embedder = match (set(DIRECTORY), model) {
            (Some(dir), Some(model)) => bail!(
                "{DIRECTORY} is {dir:?} and MUSTER_EMBEDDING_MODEL {model:?}, but only one of them can make the vectors: unset the other"
            ),
            (Some(dir), None) => local(dir)?,
            (None, Some(model)) => Chosen::OpenAi(Self::openai(env, model)?),
            (None, None) => Chosen::BuiltIn,
        };
        Ok(Self { embedder, database })
    }

    fn openai(env: &Env, model: &str) -> anyhow::Result<Settings> {
        let set = |name| env.get(name).filter(|value| !value.is_empty());
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
        Ok(Settings {
            base_url: base_url.to_owned(),
            api_key: api_key.map(str::to_owned),
            model: model.to_owned(),
            dimensions: (dimensions > 0).then_some(dimensions),
        })
    }

    /// The embedder that the settings choose. A local model is read, which may take seconds.
    pub(crate) fn embedder(self) -> anyhow::Result<Arc<dyn Embedder>> {
        Ok(match self.embedder {
            Chosen::BuiltIn => Arc::new(Hashing),
            Chosen::OpenAi(settings) => Arc::new(OpenAi::new(settings)?),
            Chosen::Local(dir) => loaded(&dir)?,
        })
    }
}

fn local(dir: &str) -> anyhow::Result<Chosen> {
    ensure!(
        cfg!(feature = "local-embeddings"),
        "{DIRECTORY} is {dir:?}, but this program was built without local models: build it with `--features local-embeddings`, or unset {DIRECTORY}"
    );
    Ok(Chosen::Local(dir.into()))
}

#[cfg(feature = "local-embeddings")]
fn loaded(dir: &Path) -> anyhow::Result<Arc<dyn Embedder>> {
    use anyhow::Context as _;
    let local = crate::providers::Local::load(dir);
    Ok(Arc::new(local.with_context(|| format!("{DIRECTORY} is {}", dir.display()))?))
}

#[cfg(not(feature = "local-embeddings"))]
fn loaded(dir: &Path) -> anyhow::Result<Arc<dyn Embedder>> {
    bail!("the model in {} cannot be read by this program", dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_embedder_is_chosen_or_the_program_says_why_not() {
        let read = |settings: &[(&str, &str)]| {
            let database = ("DATABASE_URL", "postgres://localhost/x");
            Config::from_env(&settings.iter().copied().chain([database]).collect())
        };
        assert!(matches!(read(&[]).unwrap().embedder, Chosen::BuiltIn));
        let remote = [("MUSTER_EMBEDDING_MODEL", "m"), ("OPENAI_API_KEY", "x")];
        assert!(matches!(read(&remote).unwrap().embedder, Chosen::OpenAi(_)));
        let both = read(&[(DIRECTORY, "/models/x"), ("MUSTER_EMBEDDING_MODEL", "m")]).unwrap_err();
        assert!(both.to_string().contains("only one of them"), "{both}");
        let local = read(&[(DIRECTORY, "/models/x"), ("MUSTER_EMBEDDING_MODEL", "hashing-256")]);
        if cfg!(feature = "local-embeddings") {
            let error = local.unwrap().embedder().err().unwrap();
            assert!(format!("{error:#}").contains("/models/x/config.json"), "{error:#}");
        } else {
            assert!(local.unwrap_err().to_string().contains("--features local-embeddings"));
        }
    }
}
