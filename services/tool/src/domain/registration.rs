//! What is said about a tool when it is registered.

use muster_contracts::JsonObject;
use muster_contracts::tool::v1::{RegisterToolRequest, ToolDefinition, ToolRate};
use serde_json::{Value, json};

use super::call::Effect;

/// The longest name.
const MAX_NAME: usize = 63;
/// The largest definition, in bytes of its JSON: a model reads it in every turn.
const MAX_DEFINITION: usize = 64 << 10;
/// The longest call, in milliseconds.
const MAX_TIMEOUT_MS: u32 = 600_000;

/// The largest `with`, in bytes of its JSON.
const MAX_WITH: usize = 256 << 10;
const MAX_CONCURRENCY: u32 = 4_096;
const MAX_CALLS: u32 = 1_000_000;
const MAX_PER_SECONDS: u32 = 86_400;
/// The most secrets of a tool.
const MAX_SECRETS: usize = 32;
/// Stands between the name of a server or document and that of a tool that it has.
pub(crate) const BETWEEN: &str = "__";
/// What can be registered.
pub(crate) const KINDS: [&str; 5] = ["worker", "http", "openapi", "mcp", "wasm"];

/// A definition that is complete and within the limits, or what is wrong with it.
pub(crate) fn parse(request: RegisterToolRequest) -> Result<ToolDefinition, String> {
    own_name(&request.name)?;
    let kind = if request.kind.is_empty() { "worker" } else { &request.kind };
    if !KINDS.contains(&kind) {
        return Err(format!("`kind` is {:?}, but must be one of {}", cut(kind), KINDS.join(", ")));
    }
    let kind = kind.to_owned();
    let effect = effect(&request.effect, &kind)?;
    within("timeout_ms", request.timeout_ms, MAX_TIMEOUT_MS)?;
    within("max_concurrency", request.max_concurrency, MAX_CONCURRENCY)?;
    rate(request.rate.as_ref())?;
    if request.secrets.len() > MAX_SECRETS {
        let count = request.secrets.len();
        return Err(format!("`secrets` has {count} names, but may have at most {MAX_SECRETS}"));
    }
    let with = request.with.filter(|with| !with.is_empty());
    with_of(&kind, with.as_ref())?;
    let parameters = parameters(request.parameters, &request.description)?;
    Ok(ToolDefinition {
        name: request.name,
        description: request.description,
        parameters: Some(parameters),
        effect,
        timeout_ms: request.timeout_ms,
        kind,
        with,
        max_concurrency: request.max_concurrency,
        rate: request.rate,
        secrets: request.secrets,
        approval: request.approval,
        ..Default::default()
    })
}

/// The class that is registered. Where the kind itself knows the class of a call, none is.
fn effect(effect: &str, kind: &str) -> Result<String, String> {
    if effect.is_empty() {
        return Ok(if kind == "worker" { Effect::Once.name() } else { "" }.to_owned());
    }
    if Effect::from_name(effect).is_none() {
        return Err(format!(
            "`effect` is {:?}, but must be \"pure\", \"idempotent\" or \"once\"",
            cut(effect)
        ));
    }
    Ok(effect.to_owned())
}

fn within(field: &str, value: u32, most: u32) -> Result<(), String> {
    if value > most {
        return Err(format!(
            "`{field}` is {value}, but must be 1 to {most}, or 0 for the tool service's own limit"
        ));
    }
    Ok(())
}

fn rate(rate: Option<&ToolRate>) -> Result<(), String> {
    let Some(rate) = rate else { return Ok(()) };
    for (field, value, most) in
        [("calls", rate.calls, MAX_CALLS), ("per_seconds", rate.per_seconds, MAX_PER_SECONDS)]
    {
        if !(1..=most).contains(&value) {
            return Err(format!("`rate.{field}` is {value}, but must be 1 to {most}"));
        }
    }
    Ok(())
}

fn with_of(kind: &str, with: Option<&JsonObject>) -> Result<(), String> {
    match with {
        Some(_) if kind == "worker" => {
            Err("`with` is of no use for the kind worker: leave it out, or give the `kind`".into())
        }
        None if kind != "worker" => {
            Err(format!("`with` is missing: the kind {kind} needs to know what it calls"))
        }
        Some(with) => {
            let size = serde_json::to_string(with).unwrap_or_default().len();
            if size > MAX_WITH && kind != "wasm" {
                return Err(format!("`with` has {size} bytes, but must have at most {MAX_WITH}"));
            }
            Ok(())
        }
        None => Ok(()),
    }
}

/// The schema with its type, of a size that a model can read in every turn.
fn parameters(given: Option<JsonObject>, description: &str) -> Result<JsonObject, String> {
    let mut parameters = given.unwrap_or_default();
    let kind = parameters.entry("type").or_insert_with(|| json!("object")).clone();
    if kind != "object" {
        return Err(format!(
            "`parameters.type` is {}, but arguments are always an \"object\"",
            cut(&kind.to_string())
        ));
    }
    let size = description.len() + serde_json::to_string(&parameters).unwrap_or_default().len();
    if size > MAX_DEFINITION {
        return Err(format!(
            "`description` and `parameters` have {size} bytes, but must have at most {MAX_DEFINITION}"
        ));
    }
    Ok(parameters)
}

/// Whether a tool that a server or document has is small enough to be shown to a model.
pub(crate) fn is_small(description: &str, parameters: &Value) -> bool {
    description.len() + parameters.to_string().len() <= MAX_DEFINITION
}

/// Checks the name of what is registered.
fn own_name(name: &str) -> Result<(), String> {
    self::name(name)?;
    if name.contains(BETWEEN) {
        return Err(format!(
            "`name` is {:?}, but `{BETWEEN}` stands between the name of a server or document and that of its tool",
            cut(name)
        ));
    }
    Ok(())
}

/// A name of a tool for what a server or document calls so, that none of `taken` has: `getPet` becomes `get_pet`.
pub(crate) fn derived(source: &str, foreign: &str, taken: impl Fn(&str) -> bool) -> String {
    let mut slug = String::with_capacity(foreign.len());
    let mut before = '_';
    for letter in foreign.chars() {
        match letter {
            'A'..='Z' => {
                if before.is_ascii_lowercase() || before.is_ascii_digit() {
                    slug.push('_');
                }
                slug.push(letter.to_ascii_lowercase());
            }
            'a'..='z' | '0'..='9' | '-' => slug.push(letter),
            _ if slug.ends_with('_') => {}
            _ => slug.push('_'),
        }
        before = letter;
    }
    let room = MAX_NAME.saturating_sub(source.len() + BETWEEN.len());
    let cut_to = |room: usize| slug.chars().take(room).collect::<String>();
    let mut name = format!("{source}{BETWEEN}{}", cut_to(room));
    let mut count = 2u32;
    while taken(&name) {
        let end = format!("_{count}");
        name = format!("{source}{BETWEEN}{}{end}", cut_to(room.saturating_sub(end.len())));
        count += 1;
    }
    name
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
        check(|tool| tool.name = "a__b".into(), "`name` is \"a__b\"");
        check(|tool| tool.kind = "grpc".into(), "worker, http, openapi, mcp, wasm");
        check(|tool| tool.kind = "http".into(), "`with` is missing");
        check(
            |tool| tool.with = Some(JsonObject::wrap(json!({ "endpoint": "x" }))),
            "of no use for the kind worker",
        );
        check(|tool| tool.max_concurrency = 5_000, "1 to 4096");
        check(
            |tool| tool.rate = Some(ToolRate { calls: 0, per_seconds: 1 }),
            "`rate.calls` is 0, but must be 1 to 1000000",
        );
        check(
            |tool| tool.rate = Some(ToolRate { calls: 1, per_seconds: 90_000 }),
            "`rate.per_seconds` is 90000",
        );
        check(
            |tool| tool.parameters = Some(JsonObject::wrap(json!({ "type": "array" }))),
            "`parameters.type` is \"array\"",
        );
    }

    #[test]
    fn foreign_names_become_names_of_tools() {
        let check = |foreign: &str, expected: &str| {
            let name = derived("pets", foreign, |_| false);
            assert_eq!(name, expected);
            super::name(&name).unwrap();
        };
        check("getPetById", "pets__get_pet_by_id");
        check("get-sum", "pets__get-sum");
        check("a.b//c", "pets__a_b_c");
        check("printEnv2X", "pets__print_env2_x");
        check("größe", "pets__gr_e");
        let long = derived("pets", &"x".repeat(100), |name| !name.ends_with("_3"));
        assert_eq!((long.len(), long.ends_with("x_3")), (63, true));
    }
}
