//! The models file: providers and names for models.

use std::time::Duration;

use anyhow::{Context, anyhow, bail};
use muster_contracts::model::v1::ModelDefinition;
use muster_document::{Bounds, Place, Schema, places, read as read_document};
use muster_runtime::{Env, files::regular_text};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Config;
use super::provider::{Dialect, KeySource, ProviderSettings};
use super::secret::{BaseUrl, Secret};
use crate::domain::definition;

const BOUNDS: Bounds = Bounds { bytes: 1 << 20, values: 50_000, depth: 16 };
const SCHEMA: &str = include_str!("models.schema.json");

/// What the file says.
#[derive(Debug)]
pub(crate) struct ModelsFile {
    providers: Vec<ProviderSettings>,
    aliases: Vec<ModelDefinition>,
}

#[derive(Deserialize)]
struct Provider {
    dialect: String,
    base_url: Option<String>,
    key_env: Option<String>,
    key: Option<String>,
    #[serde(default)]
    default_model: String,
    #[serde(default)]
    models: Vec<String>,
    #[serde(default)]
    embedding_model: String,
    idle_seconds: Option<u64>,
}

/// Reads the file that `MUSTER_MODELS_FILE` names.
pub(crate) fn read(path: &str, env: &Env, idle: Duration) -> anyhow::Result<ModelsFile> {
    let text = regular_text(path, u64::try_from(BOUNDS.bytes)?)
        .with_context(|| format!("MUSTER_MODELS_FILE is {path:?}, which cannot be read"))?;
    parse(&text, env, idle).with_context(|| format!("MUSTER_MODELS_FILE: {path}"))
}

fn parse(text: &str, env: &Env, idle: Duration) -> anyhow::Result<ModelsFile> {
    let value = read_document(text, &BOUNDS)?;
    let schema: Value = serde_json::from_str(SCHEMA).context("the schema of the file")?;
    let schema = Schema::trusted(&schema).map_err(|error| anyhow!(error))?;
    let violations = schema.violations(&value);
    if !violations.is_empty() {
        bail!(told(text, &violations));
    }
    let part = |name: &str| match value.get(name) {
        Some(Value::Object(entries)) => entries.clone(),
        _ => Map::new(),
    };
    let mut providers = Vec::new();
    for (name, entry) in part("providers") {
        let at = format!("/providers/{name}");
        let wrong =
            |error: anyhow::Error| anyhow!(told(text, &[(at.clone(), format!("{error:#}"))]));
        providers.push(provider(&name, entry, env, idle).map_err(wrong)?);
    }
    let mut aliases = Vec::new();
    for (name, entry) in part("aliases") {
        aliases.push(alias(name, entry)?);
    }
    Ok(ModelsFile { providers, aliases })
}

fn provider(
    name: &str,
    entry: Value,
    env: &Env,
    idle: Duration,
) -> anyhow::Result<ProviderSettings> {
    let entry: Provider = serde_json::from_value(entry)?;
    let dialect = Dialect::parse(&entry.dialect)
        .with_context(|| format!("there is no dialect {:?}", entry.dialect))?;
    let (key, key_setting) = match (entry.key_env, entry.key) {
        (Some(variable), _) => {
            let value = env.get(&variable).filter(|value| !value.trim().is_empty());
            let value = value.with_context(|| {
                format!("`key_env` names the variable {variable}, which is not set")
            })?;
            (KeySource::Given(Secret::new(value)), variable)
        }
        (None, Some(stored)) => {
            let setting = format!("the stored key {stored}");
            (KeySource::Stored(stored), setting)
        }
        (None, None) => (KeySource::None, "`key_env` or `key` of the provider".to_owned()),
    };
    Ok(ProviderSettings {
        name: name.to_owned(),
        dialect,
        base_url: BaseUrl::parse(
            "base_url",
            entry.base_url.as_deref().unwrap_or_else(|| dialect.home()),
        )?,
        key,
        key_setting,
        default_model: entry.default_model,
        models: entry.models,
        embedding_model: entry.embedding_model,
        idle: entry.idle_seconds.map_or(idle, Duration::from_secs),
    })
}

fn alias(name: String, entry: Value) -> anyhow::Result<ModelDefinition> {
    let definition: ModelDefinition = serde_json::from_value(entry)?;
    definition::sealed(ModelDefinition { name, preset: true, ..definition })
}

impl ModelsFile {
    /// Adds the file's entries to those of the environment; one of the same name stands in its place.
    pub(crate) fn put_into(self, config: &mut Config) {
        for provider in self.providers {
            match config.providers.iter_mut().find(|other| other.name == provider.name) {
                Some(place) => *place = provider,
                None => config.providers.push(provider),
            }
        }
        config.aliases.extend(self.aliases);
    }
}

fn told(text: &str, violations: &[(String, String)]) -> String {
    let pointers: Vec<&str> = violations.iter().map(|(pointer, _)| pointer.as_str()).collect();
    let lines =
        violations.iter().zip(places(text, &pointers)).map(|((pointer, message), place)| {
            let place = place.map_or_else(String::new, |Place { line, column }| {
                format!(" (line {line}, column {column})")
            });
            format!("{pointer}: {message}{place}")
        });
    lines.collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "
providers:
  openai: {dialect: openai, base_url: 'http://127.0.0.1:9/v1', models: [m1, m2]}
  claude: {dialect: anthropic, key_env: CLAUDE_KEY, default_model: claude-haiku-4-5}
  vault: {dialect: gemini, key: team-key, idle_seconds: 5}
aliases:
  fast:
    targets:
      - {provider: openai, model: m1, group: 1, weight: 3}
      - {provider: claude, group: 1}
      - {provider: offline}
    retries: 2
    timeout_seconds: 60
";

    fn read(text: &str) -> anyhow::Result<ModelsFile> {
        let env: Env = [("CLAUDE_KEY", "sk-hush")].into_iter().collect();
        parse(text, &env, Duration::from_secs(60))
    }

    #[test]
    fn a_file_gives_providers_and_aliases() {
        let file = read(FILE).unwrap();
        assert!(!format!("{file:?}").contains("hush"));
        let names: Vec<_> = file.providers.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["claude", "openai", "vault"]);
        assert_eq!(file.providers[1].key, KeySource::None);
        assert_eq!(file.providers[2].key, KeySource::Stored("team-key".into()));
        let fast = &file.aliases[0];
        assert_eq!((fast.name.as_str(), fast.targets.len(), fast.retries), ("fast", 3, Some(2)));
        assert!(fast.preset && fast.digest.len() == 64);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (from, to, expected) in [
            ("openai,", "soap,", "/providers/openai/dialect: \"soap\" is not one of"),
            ("weight: 3", "weight: -3", "/aliases/fast/targets/0/weight: -3 is less than"),
            ("retries: 2", "tries: 2", "('tries' was unexpected) (line 7, column 3)"),
            (
                "CLAUDE_KEY",
                "NO_KEY",
                "names the variable NO_KEY, which is not set (line 4, column 3)",
            ),
            ("http://127.0.0.1:9/v1", "nowhere", "base_url must be an address"),
            ("providers:", "providers: [", "line"),
        ] {
            let error = format!("{:#}", read(&FILE.replace(from, to)).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn what_is_no_file_or_too_large_is_told_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let check = |name: &str, expected: &str| {
            let path = folder.path().join(name);
            let idle = Duration::from_secs(60);
            let error = super::read(path.to_str().unwrap(), &Env::default(), idle).unwrap_err();
            let error = format!("{error:#}");
            assert!(error.contains(name) && error.contains(expected), "{error}");
        };
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("zero.yaml")).unwrap();
        check("zero.yaml", "a device, but must be a file");
        let pipe = folder.path().join("pipe.yaml");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        check("pipe.yaml", "a pipe, but must be a file");
        std::fs::write(folder.path().join("large.yaml"), "#".repeat((1 << 20) + 1)).unwrap();
        check("large.yaml", "at most 1048576 bytes");
        std::fs::write(folder.path().join("binary.yaml"), [0xff]).unwrap();
        check("binary.yaml", "not UTF-8");
        check("none.yaml", "cannot be read");
    }
}
