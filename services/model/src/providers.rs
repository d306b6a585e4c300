//! The models that can be asked, behind one trait.

mod anthropic;
mod counts;
mod dialect;
mod events;
mod gemini;
mod keys;
mod numbers;
mod offline;
mod ollama;
mod openai;
mod output;
mod refusal;
mod remote;

use std::sync::Arc;

use futures::future::BoxFuture;
use muster_contracts::model::v1::ProviderInfo;
use muster_text::hashing;

pub(crate) use self::keys::Keys;
pub(crate) use self::output::{Output, Piece, Received};
use crate::config::{Config, Dialect, ProviderSettings};
use crate::domain::prompt::Prompt;
use crate::domain::reply::Reply;
use crate::domain::script;
use crate::domain::usage::Told;
use crate::error::Error;

/// The provider that answers without key and network.
pub(crate) const OFFLINE: &str = "offline";

/// Texts that vectors are made of.
#[derive(Clone, Debug)]
pub(crate) struct Texts {
    pub(crate) inputs: Vec<String>,
    /// 0: the model's own.
    pub(crate) dimensions: u32,
}

/// Vectors of texts, in their order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vectors {
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) usage: Told,
    /// The model's name as the provider gives it.
    pub(crate) model: String,
}

/// A model that can be asked.
pub(crate) trait Provider: Send + Sync {
    /// Asks a model for one reply; an empty name is the provider's default. All that comes of it goes to `output` at once.
    fn complete<'a>(
        &'a self,
        model: &'a str,
        prompt: &'a Prompt,
        output: Output,
    ) -> BoxFuture<'a, Result<Reply, Error>>;

    /// Asks a model for vectors; an empty name is the provider's default.
    fn embed<'a>(
        &'a self,
        model: &'a str,
        texts: &'a Texts,
    ) -> BoxFuture<'a, Result<Vectors, Error>>;

    /// Whether it has what it needs to be asked. A key may come and go while the service runs.
    fn is_ready(&self) -> bool {
        self.lacks().is_none()
    }

    /// What it lacks to be asked, told after its name.
    fn lacks(&self) -> Option<String>;
}

/// A configured provider.
pub(crate) struct Configured {
    pub(crate) info: ProviderInfo,
    provider: Box<dyn Provider>,
}

impl Configured {
    pub(crate) fn provider(&self) -> &dyn Provider {
        &*self.provider
    }

    /// What it lacks to be asked, told after its name.
    pub(crate) fn lacks(&self) -> Option<String> {
        self.provider.lacks()
    }

    /// Whether the model is among those that it is known to have.
    pub(crate) fn has(&self, model: &str) -> bool {
        let info = &self.info;
        info.default_model == model
            || info.embedding_model == model
            || info.models.iter().any(|known| known == model)
    }
}

/// The providers that are configured, in the order in which they are preferred; the built-in one is the last. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Providers {
    known: Arc<Vec<Configured>>,
}

impl Providers {
    /// The providers that the settings allow, whose keys these are.
    pub(crate) fn new(config: &Config, keys: &Keys) -> anyhow::Result<Self> {
        let client = remote::client()?;
        let remote = |settings: &ProviderSettings| Configured {
            info: info(settings),
            provider: Box::new(remote::Remote::new(client.clone(), settings.clone(), keys.clone())),
        };
        let mut known: Vec<Configured> = config.providers.iter().map(remote).collect();
        known.push(Configured {
            info: ProviderInfo {
                name: OFFLINE.to_owned(),
                dialect: Dialect::Offline.name().to_owned(),
                default_model: script::MODEL.to_owned(),
                embedding_model: hashing::NAME.to_owned(),
                ..ProviderInfo::default()
            },
            provider: Box::new(offline::Offline::new(config.offline_delay)),
        });
        Ok(Self { known: Arc::new(known) })
    }

    /// The provider with this name, whether it has a key or not.
    pub(crate) fn find(&self, name: &str) -> Option<&Configured> {
        self.known.iter().find(|found| found.info.name == name)
    }

    /// Every name that may stand in a definition.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.known.iter().map(|found| found.info.name.as_str()).collect()
    }

    /// Those that can be asked now.
    pub(crate) fn ready(&self) -> impl Iterator<Item = &Configured> {
        self.known.iter().filter(|found| found.provider.is_ready())
    }

    /// Those that can be asked now and are language models.
    pub(crate) fn real(&self) -> impl Iterator<Item = &Configured> {
        self.ready().filter(|found| found.info.name != OFFLINE)
    }
}

fn info(settings: &ProviderSettings) -> ProviderInfo {
    ProviderInfo {
        name: settings.name.clone(),
        dialect: settings.dialect.name().to_owned(),
        default_model: settings.default_model.clone(),
        models: settings.models.clone(),
        base_url: settings.base_url.shown(),
        embedding_model: settings.embedding_model.clone(),
    }
}
