//! What goes when a conversation outgrows the model's window: the oldest, and tool calls only with their results.

use std::ops::Range;

use muster_contracts::agent::v1::AgentDefinition;
use muster_contracts::llm::v1::ChatMessage;

/// Tokens that a message takes beside its text.
const FRAME: u32 = 4;

/// What happens to what is too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It goes.
    Cut,
    /// A summary takes its place.
    Summarise,
    /// The run fails.
    Fail,
}

/// What a definition wants.
pub(crate) fn policy(definition: &AgentDefinition) -> Policy {
    match definition.context.as_ref().map(|context| context.policy.as_str()) {
        Some("summarise") => Policy::Summarise,
        Some("fail") => Policy::Fail,
        _ => Policy::Cut,
    }
}

/// The tokens of each message.
pub(crate) fn counts(messages: &[ChatMessage], count: impl Fn(&str) -> u32) -> Vec<u32> {
    let of = |message: &ChatMessage| {
        let calls = match message.tool_calls.as_slice() {
            [] => 0,
            calls => serde_json::to_string(calls).map_or(0, |text| count(&text)),
        };
        FRAME.saturating_add(count(&message.content)).saturating_add(calls)
    };
    messages.iter().map(of).collect()
}

/// Bytes of all messages: a token has at least one, so that few bytes need not be counted.
pub(crate) fn bytes(messages: &[ChatMessage]) -> usize {
    let of = |message: &ChatMessage| {
        let calls = serde_json::to_string(&message.tool_calls).map_or(0, |text| text.len());
        message.content.len() + calls + usize::try_from(FRAME).unwrap_or_default()
    };
    messages.iter().map(of).sum()
}

/// The oldest messages without which at least `surplus` tokens less are told, as far as they may go: first what was said before the run's question,
/// an exchange at a time, then what the run did, a turn at a time, but never its last one. Nothing where nothing may go.
pub(crate) fn surplus(
    messages: &[ChatMessage],
    question: usize,
    counts: &[u32],
    surplus: u32,
) -> Option<Range<usize>> {
    let begins_exchange = |place: usize| role(messages, place) == "user";
    let earlier = oldest(1..question, question, counts, surplus, begins_exchange);
    earlier.or_else(|| {
        let begins_turn = |place: usize| role(messages, place) != "tool";
        let last = (question + 1..messages.len()).rev().find(|place| begins_turn(*place))?;
        oldest(question + 1..last, last, counts, surplus, begins_turn)
    })
}

/// The beginning of a range that has enough tokens, up to where something begins.
fn oldest(
    range: Range<usize>,
    end: usize,
    counts: &[u32],
    surplus: u32,
    begins: impl Fn(usize) -> bool,
) -> Option<Range<usize>> {
    let (mut gone, start) = (0u32, range.start);
    for place in range.clone() {
        gone = gone.saturating_add(counts.get(place).copied().unwrap_or_default());
        let next = place + 1;
        if gone >= surplus && (next == end || begins(next)) {
            return Some(start..next);
        }
    }
    (!range.is_empty()).then_some(range)
}

fn role(messages: &[ChatMessage], place: usize) -> &str {
    messages.get(place).map_or("", |message| message.role.as_str())
}

/// Messages as a text to be summarised.
pub(crate) fn transcript(messages: &[ChatMessage]) -> String {
    let mut text = String::new();
    for message in messages {
        text.push_str(&format!("[{}] {}\n", message.role, message.content));
        for call in &message.tool_calls {
            let arguments = call.arguments.clone().unwrap_or_default();
            let arguments = serde_json::Value::Object(arguments.0);
            text.push_str(&format!("[calls {}] {arguments}\n", call.name));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use muster_contracts::llm::v1::ToolCall;

    use super::*;

    /// One letter a message: system, user, assistant, assistant with a Call, tool. The question is the last `u` in upper case.
    fn check(conversation: &str, surplus_tokens: u32, expected: Option<Range<usize>>) {
        let messages: Vec<ChatMessage> = conversation
            .chars()
            .map(|letter| {
                let (role, calls) = match letter {
                    's' => ("system", vec![]),
                    'a' => ("assistant", vec![]),
                    'c' => ("assistant", vec![ToolCall::default()]),
                    't' => ("tool", vec![]),
                    _ => ("user", vec![]),
                };
                ChatMessage { role: role.into(), tool_calls: calls, ..Default::default() }
            })
            .collect();
        let question = conversation.find('Q').expect("a question");
        let counts = vec![10; messages.len()];
        assert_eq!(
            surplus(&messages, question, &counts, surplus_tokens),
            expected,
            "{conversation} {surplus_tokens}"
        );
    }

    #[test]
    fn exchanges_go_as_a_whole_and_the_oldest_first() {
        check("suauaQ", 5, Some(1..3));
        check("suauaQ", 25, Some(1..5));
        check("suauaQ", 99, Some(1..5));
        check("suuaQ", 5, Some(1..2));
        check("sQ", 5, None);
    }

    #[test]
    fn turns_of_the_run_go_with_their_results_but_not_the_last() {
        check("sQctctt", 5, Some(2..4));
        check("sQctctt", 99, Some(2..4));
        check("sQctt", 5, None);
        check("sQcttct", 15, Some(2..5));
        check("suaQctct", 5, Some(1..3));
    }

    #[test]
    fn calls_count_as_well() {
        let call = ToolCall { name: "search".into(), ..Default::default() };
        let with =
            ChatMessage { role: "assistant".into(), tool_calls: vec![call], ..Default::default() };
        let counted = counts(&[ChatMessage::default(), with], |text| {
            u32::try_from(text.len()).expect("small")
        });
        assert!(counted[0] == 4 && counted[1] > 20, "{counted:?}");
    }
}
