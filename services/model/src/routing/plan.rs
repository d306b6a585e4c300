//! From the names in a request to the targets that are asked.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use muster_contracts::model::v1::ModelDefinition;
use muster_text::{hashing, nearest};

use crate::domain::caching::Policy;
use crate::domain::definition;
use crate::error::Error;
use crate::providers::{Configured, OFFLINE, Providers};

/// The provider that a request names when it does not care.
pub(crate) const DEFAULT: &str = "default";
/// Names that an error lists.
const LISTED: usize = 20;

/// A model of a provider that is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) provider: String,
    /// Empty: the provider's default.
    pub(crate) model: String,
    /// How long it is asked last after it failed.
    pub(super) cooldown: Duration,
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.model.as_str() {
            "" => f.write_str(&self.provider),
            model => write!(f, "{}/{model}", self.provider),
        }
    }
}

/// Who is asked, in which order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Plan {
    pub(crate) routes: Vec<Route>,
    pub(super) retries: u32,
    /// None: the service's own.
    pub(super) timeout: Option<Duration>,
    /// How replies are cached. None: as the service's settings say.
    pub(crate) cache: Option<Policy>,
}

impl Plan {
    fn one(provider: &str, model: &str) -> Self {
        let (provider, model) = (provider.to_owned(), model.to_owned());
        let route = Route { provider, model, cooldown: Duration::ZERO };
        // Who asks for one model by its name asks again himself.
        Self { routes: vec![route], retries: 0, timeout: None, cache: None }
    }

    fn of(definition: &ModelDefinition, key: &str) -> Self {
        let routes = definition::order(&definition.targets, key).into_iter().map(|target| Route {
            provider: target.provider.clone(),
            model: target.model.clone(),
            cooldown: definition::cooldown(target),
        });
        Self {
            routes: routes.collect(),
            retries: definition::retries(definition),
            timeout: Some(definition::timeout(definition)),
            cache: definition.cache.as_ref().map(Policy::of),
        }
    }
}

type Definitions = BTreeMap<String, ModelDefinition>;

/// Finds the plan for a provider, a model and an idempotency key.
pub(super) fn resolve(
    providers: &Providers,
    definitions: &Definitions,
    (provider, model, key): (&str, &str, &str),
) -> Result<Plan, Error> {
    if provider != DEFAULT {
        return match providers.ready().find(|found| found.info.name == provider) {
            Some(_) => Ok(Plan::one(provider, model)),
            None => Err(unknown_provider(providers, provider)),
        };
    }
    let wanted = if model.is_empty() { DEFAULT } else { model };
    if let Some(definition) = definitions.get(wanted) {
        return Ok(Plan::of(definition, key));
    }
    if wanted == DEFAULT {
        let name = providers.real().next().map_or(OFFLINE, |found| found.info.name.as_str());
        return Ok(Plan::one(name, ""));
    }
    if wanted == hashing::NAME {
        return Ok(Plan::one(OFFLINE, wanted));
    }
    let ready = |name: &str| providers.ready().find(|found| found.info.name == name);
    // `offline` is a provider, and the name of its model.
    if ready(wanted).is_some() {
        return Ok(Plan::one(wanted, ""));
    }
    if let Some((name, rest)) = wanted.split_once('/')
        && ready(name).is_some()
    {
        return Ok(Plan::one(name, rest));
    }
    let mut real: Vec<&Configured> = providers.real().collect();
    if let Some(found) = real.iter().find(|found| found.has(wanted)) {
        return Ok(Plan::one(&found.info.name, wanted));
    }
    match (real.pop(), real.is_empty()) {
        (Some(only), true) => Ok(Plan::one(&only.info.name, wanted)),
        _ => Err(unknown_model(providers, definitions, wanted)),
    }
}

fn unknown_provider(providers: &Providers, name: &str) -> Error {
    let names: Vec<&str> = providers.ready().map(|found| found.info.name.as_str()).collect();
    let mut known = format!("configured are {} and `{DEFAULT}`", names.join(", "));
    // It has its place in the settings, and lacks its key alone.
    if let Some(what) = providers.find(name).and_then(Configured::lacks) {
        known.push_str(&format!("; `{}` {what}", short(name)));
        return Error::UnknownProvider { name: short(name), known };
    }
    let setting = match name {
        "openai" => "OPENAI_API_KEY or OPENAI_BASE_URL",
        "anthropic" => "ANTHROPIC_API_KEY",
        "gemini" => "GEMINI_API_KEY",
        "ollama" => "OLLAMA_HOST",
        _ => "an entry in the models file",
    };
    known.push_str(&format!("; `{}` needs {setting}", short(name)));
    Error::UnknownProvider { name: short(name), known }
}

fn unknown_model(providers: &Providers, definitions: &Definitions, name: &str) -> Error {
    let real: Vec<&str> = providers.real().map(|found| found.info.name.as_str()).collect();
    let mut known = match real.as_slice() {
        [] => "no provider of language models is configured; set OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY or OLLAMA_HOST, or leave the model empty for the built-in `offline`".to_owned(),
        names => format!(
            "several are configured ({}): name one before the model, as in {}/{}",
            names.join(", "),
            names.first().copied().unwrap_or_default(),
            short(name)
        ),
    };
    // Who names a provider that lacks its key alone is told that.
    let named = name.split_once('/').map_or(name, |(named, _)| named);
    if let Some(what) = providers.find(named).and_then(Configured::lacks) {
        known.push_str(&format!("; `{}` {what}", short(named)));
    }
    if !definitions.is_empty() {
        let names: Vec<&str> = definitions.keys().take(LISTED).map(String::as_str).collect();
        known.push_str(&format!("; names for models are {}", names.join(", ")));
    }
    if let Some(near) = nearest(name, definitions.keys().map(String::as_str)) {
        known.push_str(&format!("; is {near:?} meant?"));
    }
    Error::UnknownModel { name: short(name), known }
}

fn short(name: &str) -> String {
    name.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use muster_contracts::model::v1::ModelTarget;
    use muster_contracts::{Code, HasCode};

    use super::*;
    use crate::config::Config;
    use crate::providers::Keys;

    fn check(settings: &[(&str, &str)], asked: (&str, &str), expected: &str) {
        let config = Config::from_env(&settings.iter().copied().collect()).unwrap();
        let providers = Providers::new(&config, &Keys::default()).unwrap();
        let target =
            |provider: &str| ModelTarget { provider: provider.into(), ..Default::default() };
        let fast = ModelDefinition {
            name: "fast".into(),
            targets: vec![target("openai"), target("offline")],
            ..Default::default()
        };
        let definitions = BTreeMap::from([("fast".to_owned(), fast)]);
        let found = match resolve(&providers, &definitions, (asked.0, asked.1, "key")) {
            Ok(plan) => plan.routes.iter().map(Route::to_string).collect::<Vec<_>>().join(" "),
            Err(error) => {
                assert_eq!(error.code(), Code::NotFound);
                format!("refused: {error}")
            }
        };
        assert!(
            found == expected || found.starts_with("refused: ") && found.contains(expected),
            "{asked:?}: {found}"
        );
    }

    const OPENAI: (&str, &str) = ("OPENAI_API_KEY", "x");
    const ANTHROPIC: (&str, &str) = ("ANTHROPIC_API_KEY", "x");

    #[test]
    fn with_nothing_configured_only_an_empty_model_is_answered_offline() {
        check(&[], ("default", ""), "offline");
        check(&[], ("default", "offline"), "offline");
        check(&[], ("offline", "anything"), "offline/anything");
        check(&[], ("default", "gpt-4o"), "no provider of language models is configured");
        check(&[], ("default", "openai/gpt-4o"), "no provider of language models is configured");
        check(&[], ("openai", "gpt-4o"), "`openai` needs OPENAI_API_KEY or OPENAI_BASE_URL");
        check(&[], ("acme", ""), "configured are offline and `default`");
        check(&[], ("acme", ""), "`acme` needs an entry in the models file");
        let stored = "`gemini` needs GEMINI_API_KEY, or a key stored as \"gemini\" with POST /v1/providers/gemini/keys";
        check(&[], ("gemini", ""), stored);
        check(&[OPENAI, ANTHROPIC], ("default", "gemini/x"), stored);
        check(&[OPENAI], ("default", "hashing-256"), "offline/hashing-256");
    }

    #[test]
    fn a_model_goes_to_whom_it_belongs() {
        check(&[OPENAI], ("default", ""), "openai");
        check(&[OPENAI], ("default", "gpt-9"), "openai/gpt-9");
        check(&[OPENAI], ("default", "meta/llama"), "openai/meta/llama");
        check(&[OPENAI], ("openai", "x"), "openai/x");
        check(&[OPENAI, ANTHROPIC], ("default", ""), "openai");
        check(&[OPENAI, ANTHROPIC], ("default", "claude-haiku-4-5"), "anthropic/claude-haiku-4-5");
        check(&[OPENAI, ANTHROPIC], ("default", "anthropic/x/y"), "anthropic/x/y");
        check(&[OPENAI, ANTHROPIC], ("default", "anthropic"), "anthropic");
        check(
            &[OPENAI, ANTHROPIC],
            ("default", "gpt-9"),
            "as in openai/gpt-9; names for models are fast",
        );
        check(&[OPENAI, ANTHROPIC], ("default", "fast"), "openai offline");
        check(&[OPENAI], ("openai", "fast"), "openai/fast");
    }
}
