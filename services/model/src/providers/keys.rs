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

    /// What [`Self::of`] lacks for an answer, told after the provider's name.
    pub(crate) fn lacks(&self, settings: &ProviderSettings) -> Option<String> {
        let KeySource::Stored(name) = &settings.key else { return None };
        let provider = &settings.name;
        if self.vault.as_ref().is_some_and(|vault| vault.has(provider, name)) {
            return None;
        }
        let stored = format!("a key stored as {name:?} with POST /v1/providers/{provider}/keys");
        let variable = Some(settings.key_setting.as_str())
            .filter(|setting| setting.starts_with(|first: char| first.is_ascii_uppercase()));
        Some(match variable {
            // An address alone is enough for servers that want no key.
            Some(variable @ "OPENAI_API_KEY") => {
                format!("needs {variable} or OPENAI_BASE_URL, or {stored}")
            }
            Some(variable) => format!("needs {variable}, or {stored}"),
            None => format!("needs {stored}"),
        })
    }
}
