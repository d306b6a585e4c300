//! The names for models that are known: those of the settings, and those that were registered, which all replicas see at once.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{anyhow, bail};
use futures::StreamExt;
use muster_bus::{Bucket, Bus, Kv};
use muster_contracts::Fault;
use muster_contracts::model::v1::ModelDefinition;
use tokio::sync::OnceCell;
use tracing::warn;

use crate::domain::definition;

const PREFIX: &str = "models/latest/";

type Known = BTreeMap<String, ModelDefinition>;

/// The names for models. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Definitions {
    stored: Kv<ModelDefinition>,
    presets: Arc<Known>,
    known: Arc<RwLock<Arc<Known>>>,
    loaded: Arc<OnceCell<()>>,
}

impl Definitions {
    pub(crate) fn new(
        bus: &Bus,
        presets: &[ModelDefinition],
        providers: &[&str],
    ) -> anyhow::Result<Self> {
        let mut known = Known::new();
        for preset in presets {
            definition::check(preset, providers)
                .map_err(|what| anyhow!("MUSTER_MODELS_FILE: aliases.{}: {what}", preset.name))?;
            if known.insert(preset.name.clone(), preset.clone()).is_some() {
                bail!("MUSTER_MODELS_FILE: the alias {:?} stands twice", preset.name);
            }
        }
        let presets = Arc::new(known);
        Ok(Self {
            stored: bus.kv(Bucket::Registry),
            known: Arc::new(RwLock::new(presets.clone())),
            presets,
            loaded: Arc::default(),
        })
    }

    /// All of them. The first call reads what was registered before this process began.
    pub(crate) async fn known(&self) -> Result<Arc<Known>, Fault> {
        self.loaded.get_or_try_init(|| self.load()).await?;
        Ok(self.known.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Registers a definition that is checked and has its digest.
    pub(crate) async fn put(&self, definition: &ModelDefinition) -> Result<(), Fault> {
        let version = format!("models/version/{}/{}", key(&definition.name), definition.digest);
        self.stored.put(&version, definition).await?;
        self.stored.put(&latest(&definition.name), definition).await?;
        self.change(&definition.name, Some(definition.clone()));
        Ok(())
    }

    /// Removes what is registered under a name. Its versions stay.
    pub(crate) async fn remove(&self, name: &str) -> Result<(), Fault> {
        self.stored.delete(&latest(name)).await?;
        self.change(name, None);
        Ok(())
    }

    /// Keeps up with what is registered elsewhere. Never ends.
    pub(crate) async fn listen(self) {
        let mut changes = Box::pin(self.stored.watch(PREFIX));
        while let Some(change) = changes.next().await {
            match change {
                Ok(change) => {
                    let name = change.key.strip_prefix(PREFIX).unwrap_or(&change.key);
                    self.change(&name.replace('=', "."), change.value.map(|found| found.value));
                }
                Err(error) => warn!(%error, "a registered model cannot be read"),
            }
        }
    }

    async fn load(&self) -> Result<(), Fault> {
        for key in self.stored.keys(PREFIX).await? {
            if let Some(found) = self.stored.get(&key).await? {
                self.change(&found.value.name.clone(), Some(found.value));
            }
        }
        Ok(())
    }

    fn change(&self, name: &str, definition: Option<ModelDefinition>) {
        let definition = definition.or_else(|| self.presets.get(name).cloned());
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut next = Known::clone(&known);
        match definition {
            Some(definition) => drop(next.insert(name.to_owned(), definition)),
            None => drop(next.remove(name)),
        }
        *known = Arc::new(next);
    }
}

/// A dot means something to the broker, and `=` is in no name.
fn key(name: &str) -> String {
    name.replace('.', "=")
}

fn latest(name: &str) -> String {
    format!("{PREFIX}{}", key(name))
}
