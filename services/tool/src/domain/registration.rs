//! What a worker says about its tool when it registers it.

use muster_contracts::tool::v1::{RegisterToolRequest, ToolDefinition};
use serde_json::json;

use super::call::Effect;

/// The longest name.
const MAX_NAME: usize = 63;
/// The largest definition, in bytes of its JSON: a model reads it in every turn.
const MAX_DEFINITION: usize = 64 << 10;
/// The longest call, in milliseconds.
const MAX_TIMEOUT_MS: u32 = 600_000;

/// A definition that is complete and within the limits, or what is wrong with it.
pub(crate) fn parse(request: RegisterToolRequest) -> Result<ToolDefinition, String> {
    name(&request.name)?;
    let effect = if request.effect.is_empty() { Effect::Once.name() } else { &request.effect };
    if Effect::from_name(effect).is_none() {
        return Err(format!(
            "`effect` is {:?}, but must be \"pure\", \"idempotent\" or \"once\"",
            cut(&request.effect)
        ));
    }
    if request.timeout_ms > MAX_TIMEOUT_MS {
        return Err(format!(
            "`timeout_ms` is {}, but must be 1 to {MAX_TIMEOUT_MS}, or 0 for the tool service's own limit",
            request.timeout_ms
        ));
    }
    let mut parameters = request.parameters.unwrap_or_default();
    let kind = parameters.entry("type").or_insert_with(|| json!("object")).clone();
    if kind != "object" {
        return Err(format!(
            "`parameters.type` is {}, but arguments are always an \"object\"",
            cut(&kind.to_string())
        ));
    }
    let size =
        request.description.len() + serde_json::to_string(&parameters).unwrap_or_default().len();
    if size > MAX_DEFINITION {
        return Err(format!(
            "`description` and `parameters` have {size} bytes, but must have at most {MAX_DEFINITION}"
        ));
    }
    Ok(ToolDefinition {
        name: request.name,
        description: request.description,
        parameters: Some(parameters),
        effect: effect.to_owned(),
        timeout_ms: request.timeout_ms,
        kind: "worker".to_owned(),
        ..Default::default()
    })
}

/// Checks a name: `^[a-z0-9][a-z0-9_-]{0,62}$`.
pub(crate) fn name(name: &str) -> Result<(), String> {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good = name.len() <= MAX_NAME
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|byte| letter(byte) || matches!(byte, b'_' | b'-'));
    if good {
        return Ok(());
    }
    Err(format!(
        "`name` is {:?}, but has 1 to {MAX_NAME} of a-z, 0-9, `_` and `-`, and begins with a letter or digit",
        cut(name)
    ))
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use muster_contracts::JsonObject;

    use super::*;

    fn request(change: impl FnOnce(&mut RegisterToolRequest)) -> RegisterToolRequest {
        let mut request = RegisterToolRequest { name: "shout".into(), ..Default::default() };
        change(&mut request);
        request
    }

    #[test]
    fn what_a_worker_leaves_out_is_the_careful_choice() {
        let definition = parse(request(|_| ())).unwrap();
        assert_eq!((definition.effect.as_str(), definition.timeout_ms), ("once", 0));
        assert_eq!(definition.parameters.unwrap().into_value(), json!({ "type": "object" }));
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        let check = |change: fn(&mut RegisterToolRequest), part: &str| {
            let problem = parse(request(change)).unwrap_err();
            assert!(problem.contains(part), "{problem}");
        };
        check(|tool| tool.name = "a.b".into(), "`name` is \"a.b\"");
        check(|tool| tool.name = "x".repeat(10_000), "1 to 63");
        check(|tool| tool.effect = "twice".into(), "`effect` is \"twice\"");
        check(|tool| tool.timeout_ms = 600_001, "1 to 600000");
        check(|tool| tool.description = "x".repeat(70_000), "at most 65536");
        check(
            |tool| tool.parameters = Some(JsonObject::wrap(json!({ "type": "array" }))),
            "`parameters.type` is \"array\"",
        );
    }
}
