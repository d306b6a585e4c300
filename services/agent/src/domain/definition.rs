//! What makes a good agent definition.

use muster_contracts::{CATALOGUE, agent::v1::AgentDefinition, subject};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::schema::OutputSchema;
use super::{approval, notice, team, template};

mod extras;
pub(crate) mod overrides;

pub(crate) use extras::{context_tokens, fails_on_tool_error, memory_items};

const DEFAULT_TURNS: u32 = 16;
const MAX_TURNS: u32 = 100;
const DEFAULT_TOKENS: u32 = 200_000;
const DEFAULT_SECONDS: u32 = 600;
const MAX_SECONDS: u32 = 86_400;
const MAX_INSTRUCTIONS_BYTES: usize = 128 * 1024;
const MAX_TOOLS: usize = 64;
const MAX_NAME: usize = 63;
const MAX_MODEL: usize = 200;
/// More than any run costs: what is above is a slip.
const MAX_COST_USD: f64 = 1_000_000.0;
const NANOS: f64 = 1e9;

/// Words that stand where an agent's name stands in subjects that are to come.
const RESERVED: [&str; 8] =
    ["broadcast", "cache", "definition", "execution", "presence", "registry", "status", "token"];

/// A definition that cannot be registered. Says what is wrong and what would be right.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{0}")]
pub(crate) struct Flaw(pub(crate) String);

/// Turns that a run of the agent may take.
pub(crate) fn turns(definition: &AgentDefinition) -> u32 {
    or_default(definition.limits.as_ref().map(|limits| limits.turns), DEFAULT_TURNS)
}

/// Tokens that a run of the agent may spend.
pub(crate) fn tokens(definition: &AgentDefinition) -> u32 {
    or_default(definition.limits.as_ref().map(|limits| limits.tokens), DEFAULT_TOKENS)
}

/// Seconds that a run of the agent may last.
pub(crate) fn seconds(definition: &AgentDefinition) -> u32 {
    or_default(definition.limits.as_ref().map(|limits| limits.seconds), DEFAULT_SECONDS)
}

/// What a run of the agent may cost, in billionths of a US dollar; none where it says nothing.
pub(crate) fn cost_nanos(definition: &AgentDefinition) -> Option<u64> {
    let usd = definition.limits.as_ref().map(|limits| limits.cost_usd)?;
    // Checked at registration: from 0 to a million.
    (usd > 0.0).then_some((usd * NANOS).round() as u64)
}

/// The provider that answers for the agent.
pub(crate) fn provider(definition: &AgentDefinition) -> &str {
    match definition.model.as_ref().map(|model| model.provider.as_str()) {
        None | Some("") => "default",
        Some(provider) => provider,
    }
}

/// Checks everything that can be known without asking anyone.
///
/// # Errors
/// The first flaw, with the value and what would be right.
pub(crate) fn check(definition: &AgentDefinition) -> Result<(), Flaw> {
    check_name(&definition.name)?;
    let instructions = definition.instructions.trim();
    ensure(!instructions.is_empty() || team::is_worker(definition), || {
        "`instructions` are empty; say what the agent is to do".to_owned()
    })?;
    ensure(definition.instructions.len() <= MAX_INSTRUCTIONS_BYTES, || {
        format!(
            "`instructions` have {} bytes; at most {MAX_INSTRUCTIONS_BYTES}",
            definition.instructions.len()
        )
    })?;
    check_model(definition)?;
    check_tools(&definition.tools)?;
    check_limits(definition)?;
    notice::check(definition).map_err(|error| Flaw(error.to_string()))?;
    extras::check(definition)?;
    if let Some(settings) = &definition.approval {
        approval::check(settings)?;
    }
    if let Some(settings) = &definition.team {
        team::check(&definition.name, settings)?;
    }
    if definition.template {
        template::check(&definition.instructions)?;
    }
    OutputSchema::of(definition)?;
    Ok(())
}

/// The SHA-256 of the canonical JSON of a definition, without its digest.
///
/// # Errors
/// Where it cannot be written as JSON.
pub(crate) fn digest(definition: &AgentDefinition) -> serde_json::Result<String> {
    let plain =
        AgentDefinition { digest: String::new(), registered_at: None, ..definition.clone() };
    let canonical = canonical(serde_json::to_value(plain)?);
    Ok(hex(&Sha256::digest(canonical.to_string())))
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn check_name(name: &str) -> Result<(), Flaw> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let reads_well = name.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_' | '-'));
    ensure(starts_well && reads_well && name.len() <= MAX_NAME, || {
        let shown: String = name.chars().take(80).collect();
        format!(
            "`name` is {shown:?}; it must be 1 to {MAX_NAME} of a-z, 0-9, `_` and `-`, and begin with a letter or digit"
        )
    })?;
    ensure(!is_reserved(name), || {
        format!(
            "`name` is {name:?}, which is a word of the platform's own subjects `agent.{name}.…`; choose another"
        )
    })
}

fn is_reserved(name: &str) -> bool {
    let fixed = CATALOGUE.iter().filter_map(|entry| entry.subject.strip_prefix("agent."));
    RESERVED.contains(&name)
        || fixed.filter_map(|rest| rest.split('.').next()).any(|word| word == name)
}

fn check_model(definition: &AgentDefinition) -> Result<(), Flaw> {
    // It is a token of the subject on which the model is asked.
    subject::token("provider", provider(definition))
        .map_err(|error| Flaw(format!("`model.provider`: {error}")))?;
    let name = definition.model.as_ref().map_or("", |model| model.name.as_str());
    ensure(name.len() <= MAX_MODEL && !name.chars().any(char::is_control), || {
        format!(
            "`model.name` is {name:.80?}; it must be at most {MAX_MODEL} bytes without control characters"
        )
    })?;
    let temperature = definition.model.as_ref().and_then(|model| model.temperature);
    ensure(temperature.is_none_or(|value| (0.0..=2.0).contains(&value)), || {
        format!("`model.temperature` is {}; it must be 0 to 2", temperature.unwrap_or_default())
    })
}

fn check_tools(tools: &[String]) -> Result<(), Flaw> {
    ensure(tools.len() <= MAX_TOOLS, || {
        format!("`tools` names {} tools; at most {MAX_TOOLS}", tools.len())
    })?;
    for (place, tool) in tools.iter().enumerate() {
        // `NAME__*` is every tool of a server or document.
        let name = tool.strip_suffix('*').filter(|name| name.ends_with("__")).unwrap_or(tool);
        subject::token("tool", name).map_err(|error| Flaw(format!("`tools[{place}]`: {error}")))?;
        let earlier = tools.iter().take(place).any(|other| other == tool);
        ensure(!earlier, || format!("`tools` names {tool:?} twice; once is enough"))?;
    }
    Ok(())
}

fn check_limits(definition: &AgentDefinition) -> Result<(), Flaw> {
    let (turns, seconds) = (turns(definition), seconds(definition));
    ensure(turns <= MAX_TURNS, || {
        format!("`limits.turns` is {turns}; at most {MAX_TURNS}, or 0 for {DEFAULT_TURNS}")
    })?;
    ensure(seconds <= MAX_SECONDS, || {
        format!("`limits.seconds` is {seconds}; at most {MAX_SECONDS}, or 0 for {DEFAULT_SECONDS}")
    })?;
    let cost = definition.limits.as_ref().map_or(0.0, |limits| limits.cost_usd);
    ensure((0.0..=MAX_COST_USD).contains(&cost), || {
        format!("`limits.cost_usd` is {cost}; it must be 0 (no limit) to {MAX_COST_USD} US dollars")
    })
}

fn ensure(holds: bool, flaw: impl FnOnce() -> String) -> Result<(), Flaw> {
    if holds { Ok(()) } else { Err(Flaw(flaw())) }
}

fn or_default(value: Option<u32>, default: u32) -> u32 {
    value.filter(|value| *value > 0).unwrap_or(default)
}

/// The same value with the keys of every object in order, whatever map serde_json was built with.
fn canonical(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(canonical).collect(),
        Value::Object(map) => {
            let sorted: std::collections::BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, canonical(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use muster_contracts::{
        JsonObject,
        agent::v1::{Limits, ModelChoice},
    };
    use serde_json::json;

    use super::*;

    fn good() -> AgentDefinition {
        AgentDefinition {
            name: "researcher".into(),
            instructions: "Find out.".into(),
            tools: vec!["search".into()],
            ..Default::default()
        }
    }

    fn flaw(change: impl FnOnce(&mut AgentDefinition)) -> String {
        let mut definition = good();
        change(&mut definition);
        check(&definition).expect_err("a flaw").to_string()
    }

    #[test]
    fn a_good_definition_passes() {
        assert_eq!(check(&good()), Ok(()));
    }

    #[test]
    fn names_that_break_subjects_are_refused() {
        for name in ["", "A", "a.b", "-a", "a b", "é", &"a".repeat(64)] {
            assert!(flaw(|d| d.name = name.to_owned()).contains("1 to 63"), "{name}");
        }
    }

    #[test]
    fn every_fixed_word_after_agent_in_the_catalogue_is_reserved() {
        for word in ["execution", "definition", "broadcast", "cache", "token"] {
            assert!(flaw(|d| d.name = word.to_owned()).contains("platform's own"), "{word}");
        }
    }

    #[test]
    fn each_flaw_names_the_value_and_what_would_be_right() {
        assert!(flaw(|d| d.instructions = " \n".into()).contains("`instructions` are empty"));
        assert!(flaw(|d| d.tools.push("search".into())).contains("twice"));
        assert!(flaw(|d| d.tools.push("a.b".into())).contains("tools[1]"));
        let limits = |turns, seconds| Some(Limits { turns, seconds, ..Limits::default() });
        assert!(flaw(|d| d.limits = limits(101, 0)).contains("101"));
        assert!(flaw(|d| d.limits = limits(0, 86_401)).contains("86401"));
        let model = |provider: &str, temperature| {
            Some(ModelChoice { provider: provider.into(), temperature, ..Default::default() })
        };
        assert!(flaw(|d| d.model = model("g.p.t", None)).contains("g.p.t"));
        let cost = |cost_usd| Some(Limits { cost_usd, ..Limits::default() });
        assert!(flaw(|d| d.limits = cost(-0.5)).contains("-0.5"));
        assert!(flaw(|d| d.limits = cost(f64::NAN)).contains("NaN"));
        assert!(flaw(|d| d.model = model("", Some(2.5))).contains("2.5"));
        let schema = JsonObject::wrap(json!({"type": "strnig"}));
        assert!(flaw(|d| d.output_schema = Some(schema)).contains("strnig"));
    }

    #[test]
    fn money_is_a_whole_number_of_billionths() {
        let nanos = |cost_usd| {
            let limits = Some(Limits { cost_usd, ..Limits::default() });
            cost_nanos(&AgentDefinition { limits, ..good() })
        };
        assert_eq!(nanos(0.0), None);
        assert_eq!(nanos(0.1), Some(100_000_000));
        assert_eq!(nanos(0.000_000_001), Some(1));
    }

    #[test]
    fn the_digest_depends_on_the_content_only() {
        let digest_of = |definition: &AgentDefinition| digest(definition).expect("a digest");
        let registered_at = muster_contracts::now(chrono::DateTime::UNIX_EPOCH);
        let with_digest = AgentDefinition { digest: "x".into(), registered_at, ..good() };
        assert_eq!(digest_of(&good()), digest_of(&with_digest));
        let other = AgentDefinition { instructions: "Find more.".into(), ..good() };
        assert_ne!(digest_of(&good()), digest_of(&other));
        assert_eq!(digest_of(&good()).len(), 64);
    }
}
