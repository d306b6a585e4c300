//! Settings.

mod file;
mod provider;
mod secret;

use std::time::Duration;

use muster_contracts::model::v1::ModelDefinition;
use muster_runtime::Env;

use crate::limits;

pub(crate) use self::provider::{Dialect, KeySource, ProviderSettings};
pub(crate) use self::secret::Secret;

/// As many as the bus hands to one endpoint of a process at the same time: more never need a place.
const CONCURRENCY: usize = 1_024;

/// The settings of the service.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The providers beside the built-in one, the one that is asked first where nothing else decides at the front.
    pub(crate) providers: Vec<ProviderSettings>,
    /// Names for models that stand in the models file.
    pub(crate) aliases: Vec<ModelDefinition>,
    pub(crate) offline_delay: Duration,
    /// Requests to providers at the same time.
    pub(crate) concurrency: usize,
    /// How long one waits that finds no place among them.
    pub(crate) queue: Duration,
    /// How long a request may take that no alias says more of.
    pub(crate) timeout: Duration,
    /// Money, keys, limits and cache.
    pub(crate) limits: limits::Settings,
}

impl Config {
    pub(crate) fn from_env(env: &Env) -> anyhow::Result<Self> {
        let delay = env.within("MUSTER_OFFLINE_DELAY_MS", 0, 0..=1_000)?;
        let idle = env.within("MUSTER_MODEL_IDLE_SECONDS", 60, 1..=3_600)?;
        let timeout = env.within("MUSTER_MODEL_TIMEOUT_SECONDS", 600, 1..=3_600)?;
        let idle = Duration::from_secs(idle);
        let mut config = Self {
            providers: ProviderSettings::from_env(env, idle)?,
            aliases: Vec::new(),
            offline_delay: Duration::from_millis(delay),
            concurrency: env.within("MUSTER_MODEL_CONCURRENCY", CONCURRENCY, 1..=CONCURRENCY)?,
            queue: Duration::from_secs(env.within("MUSTER_MODEL_QUEUE_SECONDS", 30, 0..=600)?),
            timeout: Duration::from_secs(timeout),
            limits: limits::Settings::from_env(env)?,
        };
        if let Some(path) = env.get("MUSTER_MODELS_FILE").filter(|path| !path.is_empty()) {
            file::read(path, env, idle)?.put_into(&mut config);
        }
        let names = config.providers.iter().map(|provider| provider.name.as_str());
        let mut known: Vec<&str> = names.chain(Dialect::ALL.map(Dialect::name)).collect();
        known.sort_unstable();
        known.dedup();
        config.limits.prices.check_providers(&known)?;
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(settings: &[(&str, &str)]) -> anyhow::Result<Config> {
        Config::from_env(&settings.iter().copied().collect())
    }

    #[test]
    fn a_key_and_an_address_are_never_shown_with_their_secrets() {
        let settings =
            [("OPENAI_API_KEY", "sk-hush"), ("OPENAI_BASE_URL", "http://me:hush@localhost:9/v1")];
        let config = config(&settings).unwrap();
        assert!(!format!("{config:?}").contains("hush"), "{config:?}");
        let openai = &config.providers[0];
        assert!(
            matches!(&openai.key, KeySource::Given(key) if key.redact("bad key sk-hush") == "bad key ***")
        );
        assert_eq!((openai.default_model.as_str(), openai.is_home()), ("gpt-4o-mini", false));
    }

    #[test]
    fn a_wrong_name_in_the_file_of_prices_is_refused_with_the_file_and_the_right_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prices.yaml");
        let check = |prices: &str, parts: &[&str]| {
            std::fs::write(&path, format!("prices: [{prices}]")).unwrap();
            let path = path.to_str().unwrap();
            let read = config(&[("MUSTER_PRICES_FILE", path), ("OLLAMA_HOST", "localhost")]);
            let told = read.err().map_or_else(String::new, |error| format!("{error:#}"));
            assert_eq!(told.is_empty(), parts.is_empty(), "{told}");
            assert!(parts.iter().all(|part| told.contains(part)), "{told}");
        };
        let file = "MUSTER_PRICES_FILE";
        check(
            "{model: gpt-4o, imput: 2.5, output: 10}",
            &[file, "prices.yaml", "\"gpt-4o\", entry 1", "`imput`", "`input`"],
        );
        check(
            "{provider: opnai, model: gpt-4o, input: 2.5, output: 10}",
            &[file, "\"gpt-4o\"", "\"opnai\"", "did you mean \"openai\"?"],
        );
        check("{provider: openai, model: gpt-4o, input: 2.5, output: 10}", &[]);
        check("{provider: offline, model: '*', input: 0, output: 0}", &[]);
        // A provider of other services may have its prices in the same file.
        check("{provider: a-house-of-models, model: m, input: 0, output: 0}", &[]);
    }

    #[test]
    fn a_malformed_setting_is_named() {
        for (name, value) in [
            ("OPENAI_BASE_URL", "localhost:8000"),
            ("OPENAI_BASE_URL", "http://x/v1?key=1"),
            ("ANTHROPIC_BASE_URL", "nowhere"),
            ("MUSTER_OFFLINE_DELAY_MS", "9999"),
            ("MUSTER_MODEL_CONCURRENCY", "0"),
            ("MUSTER_MODEL_QUEUE_SECONDS", "601"),
            ("MUSTER_MODEL_TIMEOUT_SECONDS", "0"),
            ("MUSTER_MODELS_FILE", "/nowhere/models.yaml"),
        ] {
            let error = config(&[(name, value)]).unwrap_err();
            assert!(format!("{error:#}").contains(name), "{error:#}");
        }
    }
}
