//! How providers are reached.

use std::time::Duration;

use muster_runtime::Env;

use super::secret::{BaseUrl, Secret};

/// How a provider's interface is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// OpenAI's chat completions, which most servers speak.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Google's `generateContent`.
    Gemini,
    /// Ollama's `/api/chat`.
    Ollama,
    /// The built-in provider.
    Offline,
}

impl Dialect {
    pub(crate) const ALL: [Self; 5] =
        [Self::OpenAi, Self::Anthropic, Self::Gemini, Self::Ollama, Self::Offline];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
            Self::Gemini => "gemini",
            Self::Ollama => "ollama",
            Self::Offline => "offline",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dialect| dialect.name() == name)
    }

    /// Where the company itself is, or the server with its own settings.
    pub(crate) const fn home(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com/v1",
            Self::Anthropic => "https://api.anthropic.com/v1",
            Self::Gemini => "https://generativelanguage.googleapis.com/v1beta",
            Self::Ollama => "http://127.0.0.1:11434",
            Self::Offline => "",
        }
    }

    /// Whether servers that speak it want no key as a rule.
    const fn is_open(self) -> bool {
        matches!(self, Self::Ollama | Self::Offline)
    }
}

/// Where the key of a provider comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum KeySource {
    /// The server wants none.
    None,
    /// It stood in the environment.
    Given(Secret),
    /// It is in the key store under this name, or comes there later.
    Stored(String),
}

/// How a provider is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProviderSettings {
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    pub(crate) base_url: BaseUrl,
    pub(crate) key: KeySource,
    /// What an operator looks at when the key is refused.
    pub(crate) key_setting: String,
    /// The model where a request names none; empty: there is none.
    pub(crate) default_model: String,
    /// Models that it is known to have.
    pub(crate) models: Vec<String>,
    /// The model for vectors where a request names none; empty: there is none.
    pub(crate) embedding_model: String,
    /// How long a stream may be silent.
    pub(crate) idle: Duration,
}

/// What the environment has for a provider of the same name as its dialect.
struct Names {
    dialect: Dialect,
    key: &'static str,
    address: &'static str,
    model: &'static str,
    default_model: &'static str,
    embedding_model: &'static str,
}

const BUILT_IN: [Names; 4] = [
    Names {
        dialect: Dialect::OpenAi,
        key: "OPENAI_API_KEY",
        address: "OPENAI_BASE_URL",
        model: "MUSTER_OPENAI_MODEL",
        default_model: "gpt-4o-mini",
        embedding_model: "text-embedding-3-small",
    },
    Names {
        dialect: Dialect::Anthropic,
        key: "ANTHROPIC_API_KEY",
        address: "ANTHROPIC_BASE_URL",
        model: "MUSTER_ANTHROPIC_MODEL",
        default_model: "claude-haiku-4-5",
        embedding_model: "",
    },
    Names {
        dialect: Dialect::Gemini,
        key: "GEMINI_API_KEY",
        address: "GEMINI_BASE_URL",
        model: "MUSTER_GEMINI_MODEL",
        default_model: "gemini-flash-latest",
        embedding_model: "gemini-embedding-001",
    },
    Names {
        dialect: Dialect::Ollama,
        key: "OLLAMA_API_KEY",
        address: "OLLAMA_HOST",
        model: "MUSTER_OLLAMA_MODEL",
        default_model: "",
        embedding_model: "",
    },
];

impl ProviderSettings {
    /// The providers that the environment can tell of, whether it does or not: a key may come into the key store later.
    pub(crate) fn from_env(env: &Env, idle: Duration) -> anyhow::Result<Vec<Self>> {
        let known = BUILT_IN.iter().map(|names| Self::built_in(env, names, idle));
        known.filter_map(Result::transpose).collect()
    }

    fn built_in(env: &Env, names: &Names, idle: Duration) -> anyhow::Result<Option<Self>> {
        let set = |name| env.get(name).filter(|value| !value.trim().is_empty());
        let (address, key) = (set(names.address), set(names.key));
        if address.is_none() && names.dialect.is_open() {
            return Ok(None);
        }
        let key = match key {
            Some(key) => KeySource::Given(Secret::new(key)),
            None if address.is_some() => KeySource::None,
            None => KeySource::Stored(names.dialect.name().to_owned()),
        };
        let address = match (address, names.dialect) {
            (Some(address), Dialect::Ollama) => ollama_address(address),
            (address, dialect) => address.unwrap_or_else(|| dialect.home()).to_owned(),
        };
        Ok(Some(Self {
            name: names.dialect.name().to_owned(),
            dialect: names.dialect,
            base_url: BaseUrl::parse(names.address, &address)?,
            key,
            key_setting: names.key.to_owned(),
            default_model: set(names.model).unwrap_or(names.default_model).to_owned(),
            models: Vec::new(),
            embedding_model: names.embedding_model.to_owned(),
            idle,
        }))
    }

    /// Whether the models of the company itself are there, which is stricter than the servers that speak its format.
    pub(crate) fn is_home(&self) -> bool {
        let home = self.dialect.home().split('/').nth(2).unwrap_or_default();
        self.base_url.host() == home
    }
}

/// Ollama's own variable may leave out the scheme, and names the address to listen on.
fn ollama_address(text: &str) -> String {
    let text = text.trim();
    let address = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let address = address.replace("://0.0.0.0", "://127.0.0.1");
    let port = address
        .rsplit_once(':')
        .is_some_and(|(_, end)| end.trim_end_matches('/').parse::<u16>().is_ok());
    if port || text.contains("://") { address } else { format!("{address}:11434") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn providers(settings: &[(&str, &str)]) -> Vec<ProviderSettings> {
        let env: Env = settings.iter().copied().collect();
        ProviderSettings::from_env(&env, Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn the_environment_names_keys_and_addresses() {
        let names: Vec<String> = providers(&[]).into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["openai", "anthropic", "gemini"]);
        let found = providers(&[("ANTHROPIC_API_KEY", " sk-hush \n"), ("OLLAMA_HOST", "0.0.0.0")]);
        assert_eq!(found[0].key, KeySource::Stored("openai".into()));
        assert_eq!(found[1].key, KeySource::Given(Secret::new("sk-hush")));
        assert!(found[1].is_home());
        assert_eq!(found[3].base_url.shown(), "http://127.0.0.1:11434/");
        assert!(!format!("{found:?}").contains("hush"));
    }

    #[test]
    fn ollamas_own_variable_is_understood() {
        for (text, expected) in [
            ("localhost", "http://localhost:11434"),
            ("localhost:9", "http://localhost:9"),
            ("https://ollama.example/", "https://ollama.example/"),
            ("http://0.0.0.0:11434", "http://127.0.0.1:11434"),
        ] {
            assert_eq!(ollama_address(text), expected, "{text}");
        }
    }
}
