//! The keys of providers: the one place that hands them out.

use crate::config::{KeySource, ProviderSettings, Secret};
use crate::error::Error;
use crate::keys::Vault;

/// Where providers get their keys, for each request anew. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    /// None in tests of what needs no stored key.
    vault: Option<Vault>,
}

impl Keys {
    pub(crate) fn new(vault: Vault) -> Self {
        Self { vault: Some(vault) }
    }

    /// The key of a provider; none where it wants none.
    pub(crate) async fn of(&self, settings: &ProviderSettings) -> Result<Option<Secret>, Error> {
        match &settings.key {
            KeySource::None => Ok(None),
            KeySource::Given(secret) => Ok(Some(secret.clone())),
            KeySource::Stored(name) => {
                let stored = match &self.vault {
                    Some(vault) => vault.open(&settings.name, name).await?,
                    None => None,
                };
                let none = || Error::NoKey {
                    provider: settings.name.clone(),
                    reason: format!(
                        "{} is not set and no key is stored as {name:?}",
                        settings.key_setting
                    ),
                };
                stored.map(Some).ok_or_else(none)
            }
        }
    }

    /// Whether [`Self::of`] has an answer.
    pub(crate) fn has(&self, settings: &ProviderSettings) -> bool {
        match &settings.key {
            KeySource::None | KeySource::Given(_) => true,
            KeySource::Stored(name) => {
                self.vault.as_ref().is_some_and(|vault| vault.has(&settings.name, name))
            }
        }
    }
}
