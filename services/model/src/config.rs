//! Settings.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, ensure};
use muster_runtime::Env;

/// Where OpenAI itself is.
const OPENAI: &str = "https://api.openai.com/v1";

/// The settings of the service.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// `None`: neither key nor address is set.
    pub(crate) openai: Option<OpenAiSettings>,
    pub(crate) offline_delay: Duration,
    /// Requests to providers at the same time.
    pub(crate) concurrency: usize,
}

/// How an OpenAI-compatible server is reached.
#[derive(Clone, Debug)]
pub(crate) struct OpenAiSettings {
    pub(crate) base_url: BaseUrl,
    pub(crate) key: Option<Secret>,
    /// The model where a request names none.
    pub(crate) model: String,
    /// How long a stream may be silent.
    pub(crate) idle: Duration,
}

impl Config {
    pub(crate) fn from_env(env: &Env) -> anyhow::Result<Self> {
        let delay = env.within("MUSTER_OFFLINE_DELAY_MS", 0, 0..=1_000)?;
        let concurrency = env.within("MUSTER_MODEL_CONCURRENCY", 64, 1..=1_024)?;
        let offline_delay = Duration::from_millis(delay);
        Ok(Self { openai: OpenAiSettings::from_env(env)?, offline_delay, concurrency })
    }
}

impl OpenAiSettings {
    fn from_env(env: &Env) -> anyhow::Result<Option<Self>> {
        let (address, key) = (env.get("OPENAI_BASE_URL"), env.get("OPENAI_API_KEY"));
        if address.is_none() && key.is_none() {
            return Ok(None);
        }
        let idle = env.within("MUSTER_MODEL_IDLE_SECONDS", 60, 1..=3_600)?;
        Ok(Some(Self {
            base_url: BaseUrl::parse(address.unwrap_or(OPENAI))?,
            key: key.map(|key| Secret(key.trim().to_owned())),
            model: env.get("MUSTER_OPENAI_MODEL").unwrap_or("gpt-4o-mini").to_owned(),
            idle: Duration::from_secs(idle),
        }))
    }

    /// Whether this is OpenAI itself, which is stricter than the servers that speak its format.
    pub(crate) fn is_openai(&self) -> bool {
        self.base_url.0.host_str() == Some("api.openai.com")
    }

    /// The text without the key, where a provider repeats it.
    pub(crate) fn redact(&self, text: &str) -> String {
        match &self.key {
            Some(Secret(key)) if !key.is_empty() => text.replace(key.as_str(), "***"),
            _ => text.to_owned(),
        }
    }
}

/// The address of a server; its password, where it has one, is never shown.
#[derive(Clone)]
pub(crate) struct BaseUrl(reqwest::Url);

impl BaseUrl {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let expected = "OPENAI_BASE_URL must be an address like https://api.openai.com/v1";
        let url = reqwest::Url::parse(text).with_context(|| expected)?;
        ensure!(matches!(url.scheme(), "http" | "https") && url.has_host(), expected);
        ensure!(
            url.query().is_none() && url.fragment().is_none(),
            "{expected}, without `?` and `#`"
        );
        Ok(Self(url))
    }

    pub(crate) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The address as errors and logs may have it.
    pub(crate) fn shown(&self) -> String {
        let url = &self.0;
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}{}", url.scheme(), url.host_str().unwrap_or_default(), url.path())
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown())
    }
}

/// A text that is never printed.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    /// The text, for the one place that sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> anyhow::Result<Config> {
        Config::from_env(&settings.iter().copied().collect())
    }

    #[test]
    fn a_key_or_an_address_turns_openai_on_and_neither_is_shown_with_its_secret() {
        assert!(config(&[]).unwrap().openai.is_none());
        let settings =
            [("OPENAI_API_KEY", "sk-hush"), ("OPENAI_BASE_URL", "http://me:hush@localhost:9/v1")];
        let config = config(&settings).unwrap();
        assert!(!format!("{config:?}").contains("hush"), "{config:?}");
        let openai = config.openai.unwrap();
        assert_eq!(openai.redact("bad key sk-hush"), "bad key ***");
        assert_eq!(openai.model, "gpt-4o-mini");
    }

    #[test]
    fn a_malformed_setting_is_named() {
        for (name, value) in [
            ("OPENAI_BASE_URL", "localhost:8000"),
            ("OPENAI_BASE_URL", "http://x/v1?key=1"),
            ("MUSTER_OFFLINE_DELAY_MS", "9999"),
            ("MUSTER_MODEL_CONCURRENCY", "0"),
        ] {
            let error = config(&[(name, value)]).unwrap_err();
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
    }
}
