//! The models that can be asked, behind one trait.

mod offline;
mod openai;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::BoxFuture;
use tokio::sync::mpsc;

use crate::config::Config;
use crate::domain::prompt::Prompt;
use crate::domain::reply::Reply;
use crate::error::Error;

/// The provider that a request names when it does not care.
const DEFAULT: &str = "default";

/// Takes the pieces of a reply's text as they arrive. A provider waits where it is full.
pub(crate) type Pieces = mpsc::Sender<String>;

/// A model that can be asked.
pub(crate) trait Provider: Send + Sync {
    /// Asks for one reply. Its text also goes to `pieces`, while it is made.
    fn complete<'a>(
        &'a self,
        prompt: &'a Prompt,
        pieces: Pieces,
    ) -> BoxFuture<'a, Result<Reply, Error>>;
}

/// The providers that are configured. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Providers {
    known: Arc<BTreeMap<&'static str, Box<dyn Provider>>>,
}

impl Providers {
    /// The providers that the settings allow.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let mut known: BTreeMap<&'static str, Box<dyn Provider>> = BTreeMap::new();
        known.insert(offline::NAME, Box::new(offline::Offline::new(config.offline_delay)));
        if let Some(settings) = &config.openai {
            known.insert(openai::NAME, Box::new(openai::OpenAi::new(settings)?));
        }
        Ok(Self { known: Arc::new(known) })
    }

    /// The provider with this name, and its own name where the request said `default`.
    pub(crate) fn get(&self, name: &str) -> Result<(&'static str, &dyn Provider), Error> {
        let wanted = match name {
            DEFAULT if self.known.contains_key(openai::NAME) => openai::NAME,
            DEFAULT => offline::NAME,
            other => other,
        };
        let found = self.known.get_key_value(wanted);
        found.map(|(name, provider)| (*name, &**provider)).ok_or_else(|| {
            let names: Vec<&str> = self.known.keys().copied().collect();
            let mut known = format!("configured are {} and `{DEFAULT}`", names.join(", "));
            if wanted == openai::NAME {
                known.push_str("; `openai` needs OPENAI_API_KEY or OPENAI_BASE_URL");
            }
            Error::UnknownProvider { name: name.to_owned(), known }
        })
    }
}
