//! A template, as it is registered.

use std::collections::BTreeMap;

use muster_contracts::template::v1::TemplateDefinition;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::variables::Variables;
use super::{Flaw, render, shown};

/// The longest name and the longest tag.
const MAX_NAME: usize = 63;
/// The longest text, in bytes.
const MAX_TEXT: usize = 64 << 10;
/// The longest description, in bytes.
const MAX_DESCRIPTION: usize = 4 << 10;
const MAX_TAGS: usize = 20;

/// The definition with its digest, where it can be registered.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn checked(definition: TemplateDefinition) -> Result<TemplateDefinition, Flaw> {
    check_name(&definition.name)?;
    check_length("description", &definition.description, MAX_DESCRIPTION)?;
    check_length("text", &definition.text, MAX_TEXT)?;
    if definition.text.trim().is_empty() {
        return Err(Flaw::new("`text` is empty: it is what the template says"));
    }
    check_tags(&definition.tags)?;
    let variables = Variables::of(definition.variables.as_ref())?;
    variables.check()?;
    for name in render::names(&definition.text)? {
        variables.known(&name, "`text` uses")?;
    }
    with_digest(definition)
}

/// The definition with its digest and without what is no part of it, unchecked.
///
/// # Errors
/// Where it cannot be written as JSON.
pub(super) fn with_digest(definition: TemplateDefinition) -> Result<TemplateDefinition, Flaw> {
    let plain = TemplateDefinition {
        digest: String::new(),
        registered_at: None,
        built_in: false,
        ..definition
    };
    Ok(TemplateDefinition { digest: digest(&plain)?, ..plain })
}

/// Checks the name of a template.
///
/// # Errors
/// Where it cannot be one.
pub(crate) fn check_name(name: &str) -> Result<(), Flaw> {
    let starts_well = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let reads_well = name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if starts_well && reads_well && name.len() <= MAX_NAME {
        return Ok(());
    }
    Err(Flaw(format!(
        "`name` is {:?}; it must be 1 to {MAX_NAME} of a-z, 0-9, `_` and `-`, and begin with a letter or digit",
        shown(name)
    )))
}

fn check_length(field: &str, text: &str, most: usize) -> Result<(), Flaw> {
    let length = text.len();
    if length > most {
        return Err(Flaw(format!("`{field}` has {length} bytes, {most} at most")));
    }
    Ok(())
}

fn check_tags(tags: &[String]) -> Result<(), Flaw> {
    if tags.len() > MAX_TAGS {
        return Err(Flaw(format!("`tags` has {} words, {MAX_TAGS} at most", tags.len())));
    }
    match tags.iter().find(|tag| tag.is_empty() || tag.len() > MAX_NAME) {
        Some(tag) => {
            Err(Flaw(format!("`tags` has {:?}; a tag has 1 to {MAX_NAME} bytes", shown(tag))))
        }
        None => Ok(()),
    }
}

/// SHA-256 of the definition's canonical JSON.
fn digest(definition: &TemplateDefinition) -> Result<String, Flaw> {
    let value = serde_json::to_value(definition).map_err(|error| Flaw::new(error.to_string()))?;
    let digest = Sha256::digest(canonical(value).to_string());
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The value with the keys of its maps in their order.
pub(super) fn canonical(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(canonical).collect(),
        Value::Object(map) => {
            let sorted: BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, canonical(value))).collect();
            Value::Object(sorted.into_iter().collect())
        }
        plain => plain,
    }
}
