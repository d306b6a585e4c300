//! Whether a JSON object has only fields that its message has. Services ignore what they do not know, so that new and old ones get on; a person has made a mistake.

use anyhow::{Result, bail};
use prost_reflect::{Kind, MessageDescriptor};
use serde_json::Value;

use super::description::Contract;

/// Refuses a field that the message does not have, with its path.
pub(crate) fn check(message: &str, body: &Value) -> Result<()> {
    walk(&Contract::load()?.message(message)?, body, "")
}

fn walk(message: &MessageDescriptor, value: &Value, path: &str) -> Result<()> {
    // Free JSON, times and the like have no fields of ours.
    if message.full_name().starts_with("google.protobuf.") {
        return Ok(());
    }
    // What is no object at all is refused by its type.
    let Value::Object(fields) = value else { return Ok(()) };
    for (name, value) in fields {
        let Some(field) = message.get_field_by_name(name) else {
            let known: Vec<String> =
                message.fields().map(|field| field.name().to_owned()).collect();
            let (full, known) = (message.full_name(), known.join(", "));
            bail!("{full} has no field `{path}{name}`; it has {known}");
        };
        let below = format!("{path}{name}.");
        match field.kind() {
            Kind::Message(entry) if field.is_map() => {
                let of_value = entry.map_entry_value_field().kind();
                if let (Kind::Message(inner), Value::Object(map)) = (of_value, value) {
                    for value in map.values() {
                        walk(&inner, value, &below)?;
                    }
                }
            }
            Kind::Message(inner) if field.is_list() => {
                for value in value.as_array().into_iter().flatten() {
                    walk(&inner, value, &below)?;
                }
            }
            Kind::Message(inner) => walk(&inner, value, &below)?,
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_that_a_message_does_not_have_is_told_with_its_path() {
        let check = |body: Value| check("muster.tool.v1.RegisterToolRequest", &body);
        assert!(
            check(
                json!({ "name": "x", "rate": { "calls": 1 }, "with": { "any": { "thing": 1 } } })
            )
            .is_ok()
        );
        let error = check(json!({ "name": "x", "rate": { "cals": 1 } })).unwrap_err().to_string();
        assert_eq!(
            error,
            "muster.tool.v1.ToolRate has no field `rate.cals`; it has calls, per_seconds"
        );
    }
}
