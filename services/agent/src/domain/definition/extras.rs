//! Tags, memory, context and what a failed tool does.

use muster_contracts::agent::v1::AgentDefinition;

use super::{Flaw, ensure};
use crate::domain::memory;

const MAX_TAGS: usize = 16;
const MAX_TAG: usize = 63;
const DEFAULT_ITEMS: u32 = 100;
const MAX_ITEMS: u32 = 1_000;
/// Ten years.
const MAX_TTL: u64 = 315_360_000;
const MIN_CONTEXT: u32 = 256;
const MAX_CONTEXT: u32 = 10_000_000;

/// The most that the agent remembers.
pub(crate) fn memory_items(definition: &AgentDefinition) -> usize {
    let items = definition.memory.as_ref().map(|memory| memory.max_items);
    let items = items.filter(|items| *items > 0).unwrap_or(DEFAULT_ITEMS);
    usize::try_from(items).unwrap_or(usize::MAX)
}

/// What a question may have; none where there is no limit.
pub(crate) fn context_tokens(definition: &AgentDefinition) -> Option<u32> {
    definition.context.as_ref().map(|context| context.max_tokens).filter(|tokens| *tokens > 0)
}

/// Whether a tool that fails ends the run.
pub(crate) fn fails_on_tool_error(definition: &AgentDefinition) -> bool {
    definition.on_tool_error == "fail"
}

pub(super) fn check(definition: &AgentDefinition) -> Result<(), Flaw> {
    check_tags(&definition.tags)?;
    check_memory(definition)?;
    check_context(definition)?;
    one_of("on_tool_error", &definition.on_tool_error, &["tell", "fail"])
}

fn check_tags(tags: &[String]) -> Result<(), Flaw> {
    ensure(tags.len() <= MAX_TAGS, || {
        format!("`tags` has {} words; at most {MAX_TAGS}", tags.len())
    })?;
    for (place, tag) in tags.iter().enumerate() {
        let right = !tag.is_empty()
            && tag.len() <= MAX_TAG
            && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte));
        ensure(right, || {
            format!(
                "`tags[{place}]` is {tag:.80?}; it must be 1 to {MAX_TAG} of a-z, A-Z, 0-9, `-`, `_`, `.` and `:`"
            )
        })?;
        let earlier = tags.iter().take(place).any(|other| other == tag);
        ensure(!earlier, || format!("`tags` has {tag:?} twice; once is enough"))?;
    }
    Ok(())
}

fn check_memory(definition: &AgentDefinition) -> Result<(), Flaw> {
    let Some(memory) = &definition.memory else { return Ok(()) };
    one_of("memory.scope", &memory.scope, &["agent", "tenant"])?;
    ensure(memory.ttl_seconds <= MAX_TTL, || {
        format!(
            "`memory.ttl_seconds` is {}; at most {MAX_TTL}, or 0 for what is never forgotten by itself",
            memory.ttl_seconds
        )
    })?;
    ensure(memory.max_items <= MAX_ITEMS, || {
        format!(
            "`memory.max_items` is {}; at most {MAX_ITEMS}, or 0 for {DEFAULT_ITEMS}",
            memory.max_items
        )
    })?;
    let taken = definition.tools.iter().find(|tool| memory::is_tool(tool));
    ensure(taken.is_none(), || {
        format!(
            "`tools` names {:?}, which `memory` offers already; leave it out",
            taken.map_or("", String::as_str)
        )
    })
}

fn check_context(definition: &AgentDefinition) -> Result<(), Flaw> {
    let Some(context) = &definition.context else { return Ok(()) };
    one_of("context.policy", &context.policy, &["cut", "summarise", "fail"])?;
    let tokens = context.max_tokens;
    ensure(tokens == 0 || (MIN_CONTEXT..=MAX_CONTEXT).contains(&tokens), || {
        format!(
            "`context.max_tokens` is {tokens}; it must be {MIN_CONTEXT} to {MAX_CONTEXT}, or 0 for no limit"
        )
    })
}

fn one_of(field: &str, value: &str, known: &[&str]) -> Result<(), Flaw> {
    ensure(value.is_empty() || known.contains(&value), || {
        format!("`{field}` is {value:.80?}; it must be one of {}", known.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use muster_contracts::agent::v1::{ContextSettings, MemorySettings};

    use super::*;

    fn flaw(change: impl FnOnce(&mut AgentDefinition)) -> String {
        let mut definition = AgentDefinition::default();
        change(&mut definition);
        check(&definition).expect_err("a flaw").to_string()
    }

    #[test]
    fn each_flaw_names_the_field_the_value_and_what_would_be_right() {
        assert!(flaw(|d| d.tags = vec!["a b".into()]).contains("`tags[0]` is \"a b\""));
        assert!(flaw(|d| d.tags = vec!["a".into(), "a".into()]).contains("twice"));
        let scope = MemorySettings { scope: "team".into(), ..Default::default() };
        assert!(flaw(|d| d.memory = Some(scope)).contains("one of agent, tenant"));
        let many = MemorySettings { max_items: 1001, ..Default::default() };
        assert!(flaw(|d| d.memory = Some(many)).contains("1001"));
        let twice = |d: &mut AgentDefinition| {
            d.memory = Some(MemorySettings::default());
            d.tools = vec!["recall".into()];
        };
        assert!(flaw(twice).contains("`memory` offers"));
        let small = ContextSettings { max_tokens: 10, ..Default::default() };
        assert!(flaw(|d| d.context = Some(small)).contains("is 10; it must be 256"));
        let policy = ContextSettings { policy: "drop".into(), ..Default::default() };
        assert!(flaw(|d| d.context = Some(policy)).contains("cut, summarise, fail"));
        assert!(flaw(|d| d.on_tool_error = "stop".into()).contains("tell, fail"));
    }
}
