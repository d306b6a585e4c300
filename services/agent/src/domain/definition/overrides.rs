//! What one run does differently from the definition.

use muster_contracts::JsonObject;
use muster_contracts::agent::v1::AgentDefinition;
use serde::Deserialize;
use serde_json::Value;

use super::{Flaw, check};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Overrides {
    model: Option<Model>,
    limits: Option<Limits>,
    instructions: Option<String>,
    tools: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "`model` must be a name or {provider, name, temperature, max_tokens}"
)]
enum Model {
    Name(String),
    Whole(Choice),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Choice {
    provider: Option<String>,
    name: Option<String>,
    temperature: Option<f64>,
    max_tokens: Option<u32>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    turns: Option<u32>,
    tokens: Option<u32>,
    seconds: Option<u32>,
    cost_usd: Option<f64>,
}

/// The definition with what the run does differently.
///
/// # Errors
/// The first flaw, with the value and what would be right.
pub(crate) fn overridden(
    mut definition: AgentDefinition,
    overrides: Option<&JsonObject>,
) -> Result<AgentDefinition, Flaw> {
    let Some(overrides) = overrides else { return Ok(definition) };
    let overrides: Overrides = serde_json::from_value(Value::Object(overrides.0.clone()))
        .map_err(|error| Flaw(format!("`overrides`: {error}")))?;
    if let Some(model) = overrides.model {
        replace_model(&mut definition, model);
    }
    if let Some(limits) = overrides.limits {
        replace_limits(&mut definition, &limits);
    }
    if let Some(more) = overrides.instructions {
        definition.instructions = format!("{}\n\n{more}", definition.instructions.trim_end());
    }
    if let Some(tools) = overrides.tools {
        restrict(&mut definition, &tools)?;
    }
    check(&definition).map_err(|flaw| Flaw(format!("with its `overrides`: {flaw}")))?;
    Ok(definition)
}

fn replace_model(definition: &mut AgentDefinition, model: Model) {
    let choice = match model {
        // A name alone is one of the default provider: an alias, say.
        Model::Name(name) => Choice {
            provider: Some(String::new()),
            name: Some(name),
            temperature: None,
            max_tokens: None,
        },
        Model::Whole(choice) => choice,
    };
    let mut kept = definition.model.take().unwrap_or_default();
    if let Some(provider) = choice.provider {
        kept.provider = provider;
        // A model of the provider before means nothing to this one.
        kept.name = String::new();
    }
    kept.name = choice.name.unwrap_or(kept.name);
    kept.temperature = choice.temperature.or(kept.temperature);
    kept.max_tokens = choice.max_tokens.unwrap_or(kept.max_tokens);
    definition.model = Some(kept);
}

fn replace_limits(definition: &mut AgentDefinition, limits: &Limits) {
    let mut kept = definition.limits.unwrap_or_default();
    kept.turns = limits.turns.unwrap_or(kept.turns);
    kept.tokens = limits.tokens.unwrap_or(kept.tokens);
    kept.seconds = limits.seconds.unwrap_or(kept.seconds);
    kept.cost_usd = limits.cost_usd.unwrap_or(kept.cost_usd);
    definition.limits = Some(kept);
}

fn restrict(definition: &mut AgentDefinition, tools: &[String]) -> Result<(), Flaw> {
    if let Some(other) = tools.iter().find(|tool| !definition.tools.contains(tool)) {
        let own = match definition.tools.as_slice() {
            [] => "none".to_owned(),
            own => own.join(", "),
        };
        return Err(Flaw(format!(
            "`overrides.tools` names {other:?}; it can only choose from the agent's own tools: {own}"
        )));
    }
    definition.tools.retain(|tool| tools.contains(tool));
    Ok(())
}

#[cfg(test)]
mod tests {
    use muster_contracts::agent::v1::ModelChoice;
    use serde_json::json;

    use super::*;

    fn agent() -> AgentDefinition {
        AgentDefinition {
            name: "a".into(),
            instructions: "Do.".into(),
            tools: vec!["x".into(), "y".into()],
            model: Some(ModelChoice {
                provider: "openai".into(),
                name: "gpt".into(),
                max_tokens: 9,
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn with(overrides: Value) -> Result<AgentDefinition, Flaw> {
        overridden(agent(), Some(&JsonObject::wrap(overrides)))
    }

    #[test]
    fn what_is_given_replaces_and_what_is_not_stays() {
        let other = with(json!({"model": "fast", "limits": {"turns": 2, "cost_usd": 0.5},
            "instructions": "Be brief.", "tools": ["y"]}))
        .expect("good overrides");
        let model = other.model.expect("a model");
        assert_eq!(
            (model.provider.as_str(), model.name.as_str(), model.max_tokens),
            ("", "fast", 9)
        );
        assert_eq!(other.limits.expect("limits").turns, 2);
        assert_eq!(other.instructions, "Do.\n\nBe brief.");
        assert_eq!(other.tools, ["y"]);
        let warm = with(json!({"model": {"temperature": 1.0}})).expect("good").model.expect("one");
        assert_eq!((warm.name.as_str(), warm.temperature), ("gpt", Some(1.0)));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let flaw = |overrides| with(overrides).expect_err("a flaw").to_string();
        assert!(flaw(json!({"modle": "x"})).contains("unknown field `modle`"));
        assert!(flaw(json!({"model": 7})).contains("must be a name"));
        assert!(flaw(json!({"limits": {"turn": 7}})).contains("unknown field `turn`"));
        assert!(flaw(json!({"limits": {"turns": 101}})).contains("101"));
        assert!(flaw(json!({"tools": ["z"]})).contains("\"z\"; it can only choose"));
    }
}
