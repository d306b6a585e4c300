//! The keys of providers: the one place that hands them out.

use crate::config::{KeySource, ProviderSettings, Secret};
use crate::error::Error;

/// Where providers get their keys, for each request anew. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Keys {}

impl Keys {
    /// The key of a provider; none where it wants none.
    pub(crate) async fn of(&self, settings: &ProviderSettings) -> Result<Option<Secret>, Error> {
        match &settings.key {
            KeySource::None => Ok(None),
            KeySource::Given(secret) => Ok(Some(secret.clone())),
            KeySource::Stored(name) => Err(Error::NoKey {
                provider: settings.name.clone(),
                reason: format!(
                    "{} is not set and no key is stored as {name:?}",
                    settings.key_setting
                ),
            }),
        }
    }

    /// Whether [`Self::of`] has an answer.
    pub(crate) fn has(&self, settings: &ProviderSettings) -> bool {
        !matches!(settings.key, KeySource::Stored(_))
    }
}
