//! A request, checked.

use muster_contracts::JsonObject;
use muster_contracts::llm::v1::{ChatMessage, ChatTool, CompleteRequest};

use crate::error::Error;

/// The largest conversation, in bytes.
pub(crate) const MAX_MESSAGES: usize = 2 << 20;
/// The most tools of a request, as OpenAI has it.
const MAX_TOOLS: usize = 128;

/// What a provider is asked.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    /// Empty: the provider's default.
    pub(crate) model: String,
    pub(crate) messages: Vec<ChatMessage>,
    pub(crate) tools: Vec<ChatTool>,
    pub(crate) temperature: Option<f64>,
    /// 0: the provider's limit.
    pub(crate) max_tokens: u32,
    pub(crate) response_schema: Option<JsonObject>,
    pub(crate) offline: Option<JsonObject>,
}

impl Prompt {
    /// Checks a request.
    pub(crate) fn parse(request: &CompleteRequest) -> Result<Self, Error> {
        let params = request.params.clone().unwrap_or_default();
        check_messages(&request.messages)?;
        check_tools(&request.tools)?;
        if let Some(temperature) = params.temperature
            && !(0.0..=2.0).contains(&temperature)
        {
            return Err(Error::invalid(format!(
                "params.temperature is {temperature}, but must be 0 to 2"
            )));
        }
        Ok(Self {
            model: request.model.clone(),
            messages: request.messages.clone(),
            tools: request.tools.clone(),
            temperature: params.temperature,
            max_tokens: params.max_tokens,
            response_schema: params.response_schema,
            offline: request.offline.clone(),
        })
    }
}

fn check_messages(messages: &[ChatMessage]) -> Result<(), Error> {
    if messages.is_empty() {
        return Err(Error::invalid("messages is empty, but a model needs at least one message"));
    }
    let mut size = 0;
    for (at, message) in messages.iter().enumerate() {
        size += message.content.len();
        size += message
            .tool_calls
            .iter()
            .map(|call| call.name.len() + call.invalid_arguments.len())
            .sum::<usize>();
        if !matches!(message.role.as_str(), "system" | "user" | "assistant" | "tool") {
            return Err(Error::invalid(format!(
                "messages[{at}].role is {:?}, but must be system, user, assistant or tool",
                message.role
            )));
        }
        if message.role == "tool" && message.tool_call_id.is_empty() {
            return Err(Error::invalid(format!(
                "messages[{at}] is a tool's, but has no tool_call_id that says which call it answers"
            )));
        }
    }
    if size > MAX_MESSAGES {
        return Err(Error::invalid(format!(
            "messages have {size} bytes of text, but must have at most {MAX_MESSAGES}"
        )));
    }
    Ok(())
}

fn check_tools(tools: &[ChatTool]) -> Result<(), Error> {
    if tools.len() > MAX_TOOLS {
        return Err(Error::invalid(format!(
            "tools has {} entries, but must have at most {MAX_TOOLS}",
            tools.len()
        )));
    }
    for (at, tool) in tools.iter().enumerate() {
        let good = (1..=64).contains(&tool.name.len())
            && tool.name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'));
        if !good {
            return Err(Error::invalid(format!(
                "tools[{at}].name is {:?}, but must be 1 to 64 letters, digits, `_` and `-`",
                tool.name
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use muster_contracts::llm::v1::Parameters;

    use super::*;

    fn message(role: &str, content: &str) -> ChatMessage {
        ChatMessage { role: role.into(), content: content.into(), ..Default::default() }
    }

    #[test]
    fn a_bad_request_is_told_what_is_wrong() {
        let good = CompleteRequest { messages: vec![message("user", "hi")], ..Default::default() };
        assert!(Prompt::parse(&good).is_ok());
        let check = |request: CompleteRequest, part: &str| {
            let error = Prompt::parse(&request).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        };
        check(CompleteRequest::default(), "messages is empty");
        check(
            CompleteRequest { messages: vec![message("robot", "hi")], ..good.clone() },
            "messages[0].role is \"robot\"",
        );
        check(
            CompleteRequest { messages: vec![message("tool", "hi")], ..good.clone() },
            "no tool_call_id",
        );
        check(
            CompleteRequest {
                messages: vec![message("user", &"x".repeat(MAX_MESSAGES + 1))],
                ..good.clone()
            },
            "at most 2097152",
        );
        let tool = ChatTool { name: "a b".into(), ..Default::default() };
        check(CompleteRequest { tools: vec![tool], ..good.clone() }, "tools[0].name is \"a b\"");
        let params = Parameters { temperature: Some(3.5), ..Default::default() };
        check(CompleteRequest { params: Some(params), ..good }, "params.temperature is 3.5");
    }
}
