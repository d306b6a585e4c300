//! Counting tokens with o200k, the tokenizer of GPT-4o.

use muster_contracts::llm::v1::{ChatMessage, ChatTool, TokenUsage, ToolCall};
pub(crate) use muster_text::tokens::{count, cut};

use super::content::{Part, images, parts};
use super::pictures;

/// Tokens that a message costs beside its text, as OpenAI counts them.
pub(crate) const PER_MESSAGE: usize = 3;

/// The usage of a reply of this model whose provider did not say it.
pub(crate) fn estimate(
    messages: &[ChatMessage],
    tools: &[ChatTool],
    (model, reply): (&str, &ChatMessage),
) -> TokenUsage {
    let thought = count(&reply.reasoning);
    TokenUsage {
        input_tokens: of_texts(messages, tools).saturating_add(of_images(messages, model)),
        output_tokens: small(thought + count(&reply.content) + of_calls(&reply.tool_calls)),
        estimated: true,
        reasoning_tokens: small(thought),
        ..TokenUsage::default()
    }
}

/// The tokens of what is asked, without its images.
pub(crate) fn of_texts(messages: &[ChatMessage], tools: &[ChatTool]) -> u32 {
    let asked =
        messages.iter().map(of_message).sum::<usize>() + tools.iter().map(of_tool).sum::<usize>();
    small(asked + PER_MESSAGE)
}

/// The most tokens that a model counts for the images of what is asked.
pub(crate) fn of_images(messages: &[ChatMessage], model: &str) -> u32 {
    let found = messages.iter().flat_map(images).map(|image| pictures::tokens(image, model));
    found.fold(0, u32::saturating_add)
}

fn small(tokens: usize) -> u32 {
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

fn of_message(message: &ChatMessage) -> usize {
    let said = parts(message).map(|part| match part {
        Part::Text(text) => count(text),
        Part::Image(_) => 0,
    });
    PER_MESSAGE + said.sum::<usize>() + count(&message.role) + of_calls(&message.tool_calls)
}

fn of_calls(calls: &[ToolCall]) -> usize {
    calls
        .iter()
        .map(|call| {
            let arguments = call.arguments.clone().map(|arguments| arguments.into_value());
            PER_MESSAGE
                + count(&call.name)
                + count(&call.invalid_arguments)
                + arguments.map_or(0, |arguments| count(&arguments.to_string()))
        })
        .sum()
}

fn of_tool(tool: &ChatTool) -> usize {
    let parameters = tool.parameters.clone().map(|parameters| parameters.into_value());
    PER_MESSAGE
        + count(&tool.name)
        + count(&tool.description)
        + parameters.map_or(0, |parameters| count(&parameters.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(count("hello world"), 2);
        assert_eq!(cut("hello world", 2), None);
        assert_eq!(cut("hello world", 1).as_deref(), Some("hello"));
        let cut = cut("\u{1f9ff}\u{1f9ff}\u{1f9ff}", 2).unwrap();
        assert!(cut.chars().all(|c| c == '\u{1f9ff}'), "{cut:?}");
    }

    #[test]
    fn an_estimate_counts_the_conversation_and_the_tools() {
        let message = |content: &str| ChatMessage {
            role: "user".into(),
            content: content.into(),
            ..Default::default()
        };
        let usage = estimate(&[message("hello world")], &[], ("m", &message("hello")));
        assert_eq!((usage.input_tokens, usage.output_tokens, usage.estimated), (9, 1, true));
    }
}
