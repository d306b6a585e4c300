//! Notices: what the next agent reads instead of a whole deliverable. And where an agent's answers are stored.

use muster_contracts::agent::v1::{AgentDefinition, DeliverableAddress};
use muster_contracts::subject;
pub(crate) use muster_deliverable::notice::{About, TooLarge, compose, scan};
use muster_deliverable::{Address, AddressError};
use serde_json::Value;

/// What agents produce, where the definition does not say it.
const KIND: &str = "report";
/// What stands for a feature where only the form of an address is checked.
const ANY: &str = "any";

/// An address that a run cannot have.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Unaddressed {
    /// The input does not name the feature.
    #[error(
        "`deliverable.feature` is {pointer:?}, but the run's input has no text there; it must name the feature, such as \"csv-export\""
    )]
    NoFeature {
        /// Where it should be.
        pointer: String,
    },
    /// A part of it is none.
    #[error("`deliverable`: {0}")]
    Address(#[from] AddressError),
}

/// Checks what can be known of the addresses of an agent's answers before there is one.
///
/// # Errors
/// Where it has none.
pub(crate) fn check(definition: &AgentDefinition) -> Result<(), Unaddressed> {
    let settings = settings(definition);
    let pointer = settings.feature.as_str();
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Err(Unaddressed::NoFeature { pointer: pointer.to_owned() });
    }
    made_of(&settings, &definition.name, ANY).map(drop)
}

/// Whether several runs may share an address, so that a notice has to say which version it is about.
pub(crate) fn is_shared(definition: &AgentDefinition) -> bool {
    !settings(definition).feature.is_empty()
}

/// Where the answer of a run is stored. `run` names the feature where the definition does not say where its name is.
///
/// # Errors
/// Where the input does not name it, or by a text that cannot be a part of an address.
pub(crate) fn address(
    definition: &AgentDefinition,
    input: &Value,
    run: &str,
) -> Result<Address, Unaddressed> {
    let settings = settings(definition);
    let pointer = settings.feature.as_str();
    if pointer.is_empty() {
        return made_of(&settings, &definition.name, run);
    }
    let text = input.pointer(pointer).and_then(Value::as_str).map(str::trim);
    let text = text.filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| Unaddressed::NoFeature { pointer: pointer.to_owned() })?;
    // A name for people may have blanks: it becomes one that an address may have.
    let fits = made_of(&settings, &definition.name, text);
    fits.or_else(|_other| made_of(&settings, &definition.name, &subject::derived_token(text)))
}

fn settings(definition: &AgentDefinition) -> DeliverableAddress {
    definition.deliverable.clone().unwrap_or_default()
}

fn made_of(
    settings: &DeliverableAddress,
    agent: &str,
    feature: &str,
) -> Result<Address, Unaddressed> {
    let kind = if settings.r#type.is_empty() { KIND } else { settings.r#type.as_str() };
    Ok(Address::new(&settings.team, agent, kind, feature)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agent(name: &str, team: &str, feature: &str) -> AgentDefinition {
        AgentDefinition {
            name: name.to_owned(),
            deliverable: Some(DeliverableAddress {
                team: team.to_owned(),
                r#type: "research".to_owned(),
                feature: feature.to_owned(),
            }),
            ..AgentDefinition::default()
        }
    }

    #[test]
    fn an_answer_lies_where_the_definition_says() {
        let plain = AgentDefinition { name: "ann".to_owned(), ..AgentDefinition::default() };
        let of = |definition: &AgentDefinition, input: Value| {
            address(definition, &input, "run1").map(|address| address.to_string())
        };
        assert_eq!(of(&plain, json!("x")).unwrap(), "deliverables/ann/report/run1");
        let cynthia = agent("cynthia", "agog", "/feature");
        let found = of(&cynthia, json!({"feature": "csv-export"})).unwrap();
        assert_eq!(found, "deliverables/agog/cynthia/research/csv-export");
        let named = of(&agent("ann", "", "/name"), json!({"name": "CSV export, v2."})).unwrap();
        assert!(named.starts_with("deliverables/ann/research/") && !named.contains(' '), "{named}");
    }

    #[test]
    fn what_cannot_be_an_address_is_refused_when_it_can_be_known() {
        assert_eq!(check(&agent("cynthia", "agog", "/feature")), Ok(()));
        let flaw = |definition| check(&definition).unwrap_err().to_string();
        assert!(flaw(agent("rob", "agog", "")).contains("cynthia, sylvia, roy"));
        assert!(flaw(agent("roy", "agag", "")).contains("\"agag\""));
        assert!(flaw(agent("roy", "agog", "feature")).contains("\"feature\""));
        let error = address(&agent("roy", "agog", "/feature"), &json!({"feature": 7}), "r");
        assert!(error.unwrap_err().to_string().contains("has no text there"));
    }
}
