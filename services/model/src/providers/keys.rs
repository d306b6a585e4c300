//! The keys of providers: the one place that hands them out, and hears what their limits are.

use reqwest::header::HeaderMap;

use crate::config::{KeySource, ProviderSettings, Secret};
use crate::error::Error;
use crate::keys::Vault;
use crate::limits::warning;
use crate::money::{Telemetry, Told};

/// Where providers get their keys, for each request anew. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Keys {
    /// None in tests of what needs no stored key.
    vault: Option<Vault>,
    telemetry: Option<Telemetry>,
}

impl Keys {
    pub(crate) fn new(vault: Vault, telemetry: Telemetry) -> Self {
        Self { vault: Some(vault), telemetry: Some(telemetry) }
    }

    /// Tells where the headers of an answer say that little is left of the key's limits.
    pub(crate) fn answered(&self, provider: &str, model: &str, headers: &HeaderMap) {
        if let Some(telemetry) = &self.telemetry
            && let Some(warning) = warning(provider, model, headers)
        {
            telemetry.tell(Told::LimitNear(warning));
        }
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
