//! A request, checked.

use muster_contracts::JsonObject;
use muster_contracts::llm::v1::{ChatMessage, ChatTool, CompleteRequest, Parameters};

use super::content;
use crate::error::Error;

/// The most text of a conversation, in bytes.
pub(crate) const MAX_MESSAGES: usize = 2 << 20;
/// The most tools of a request, as OpenAI has it.
const MAX_TOOLS: usize = 128;
/// The most text of all tools and of the schema of the reply, in bytes.
const MAX_SCHEMAS: usize = 1 << 20;
/// The most images of a request.
const MAX_IMAGES: usize = 64;
/// Texts that end a reply, and the longest of them in bytes.
const MAX_STOPS: usize = 4;
const MAX_STOP: usize = 256;
/// The longest name of a model, in bytes.
const MAX_MODEL: usize = 200;

/// What a provider is asked.
#[derive(Clone, Debug)]
pub(crate) struct Prompt {
    pub(crate) messages: Vec<ChatMessage>,
    pub(crate) tools: Vec<ChatTool>,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    /// 0: the provider's limit.
    pub(crate) max_tokens: u32,
    /// The most tokens of the answer and of what is thought together, where more is not paid for.
    pub(crate) bound: Option<u32>,
    pub(crate) stop: Vec<String>,
    pub(crate) tool_choice: ToolChoice,
    pub(crate) seed: Option<i32>,
    pub(crate) effort: Option<Effort>,
    /// The reply must be any JSON object; never beside `response_schema`.
    pub(crate) json_object: bool,
    pub(crate) response_schema: Option<JsonObject>,
    pub(crate) offline: Option<JsonObject>,
}

/// Whether tools are called.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    /// As the model likes.
    #[default]
    Auto,
    None,
    /// At least one of them.
    Required,
    /// This one.
    Named(String),
}

/// How much a model may think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effort {
    Low,
    Medium,
    High,
}

impl Effort {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

impl Prompt {
    /// Checks a request.
    pub(crate) fn parse(request: &CompleteRequest) -> Result<Self, Error> {
        let params = request.params.clone().unwrap_or_default();
        check_model(&request.model)?;
        check_messages(&request.messages)?;
        check_tools(&request.tools, params.response_schema.as_ref())?;
        check_numbers(&params)?;
        if params.json_object && params.response_schema.is_some() {
            return Err(Error::invalid(
                "params has json_object and response_schema, but must have one of them at most",
            ));
        }
        Ok(Self {
            messages: request.messages.clone(),
            tools: request.tools.clone(),
            temperature: params.temperature,
            top_p: params.top_p,
            max_tokens: params.max_tokens,
            bound: None,
            tool_choice: tool_choice(&params.tool_choice, &request.tools)?,
            stop: params.stop,
            seed: params.seed,
            effort: effort(&params.reasoning_effort)?,
            json_object: params.json_object,
            response_schema: params.response_schema,
            offline: request.offline.clone(),
        })
    }
}

impl Prompt {
    /// The most tokens that the reply may have; 0: the provider's limit.
    pub(crate) fn most(&self) -> u32 {
        self.bound.unwrap_or(self.max_tokens)
    }
}

/// Checks the name of a model, which becomes a part of addresses.
pub(crate) fn check_model(name: &str) -> Result<(), Error> {
    let known = |letter: u8| letter.is_ascii_alphanumeric() || b"-_./:@+".contains(&letter);
    if name.len() > MAX_MODEL || !name.bytes().all(known) || name.contains("..") {
        let shown: String = name.chars().take(80).collect();
        return Err(Error::invalid(format!(
            "model is {shown:?}, but must be at most {MAX_MODEL} letters, digits and -_./:@+ without `..`"
        )));
    }
    Ok(())
}

fn check_messages(messages: &[ChatMessage]) -> Result<(), Error> {
    if messages.is_empty() {
        return Err(Error::invalid("messages is empty, but a model needs at least one message"));
    }
    let (mut size, mut images) = (0, 0);
    for (at, message) in messages.iter().enumerate() {
        let wrong = |what: String| Error::invalid(format!("messages[{at}]{what}"));
        size += size_of(message);
        if !matches!(message.role.as_str(), "system" | "user" | "assistant" | "tool") {
            return Err(wrong(format!(
                ".role is {:?}, but must be system, user, assistant or tool",
                message.role
            )));
        }
        if message.role == "tool" && message.tool_call_id.is_empty() {
            return Err(wrong(
                " is a tool's, but has no tool_call_id that says which call it answers".to_owned(),
            ));
        }
        for (place, part) in message.parts.iter().enumerate() {
            let told = |what: String| wrong(format!(".parts[{place}].{what}"));
            size += content::check(part).map_err(told)?;
        }
        let pictures = content::images(message).count();
        if pictures > 0 && message.role != "user" {
            return Err(wrong(format!(
                " is of the role {} and has an image, but only a user's message may have one",
                message.role
            )));
        }
        images += pictures;
    }
    if size > MAX_MESSAGES {
        return Err(Error::invalid(format!(
            "messages have {size} bytes of text, but must have at most {MAX_MESSAGES}"
        )));
    }
    if images > MAX_IMAGES {
        return Err(Error::invalid(format!(
            "messages have {images} images, but must have at most {MAX_IMAGES}"
        )));
    }
    Ok(())
}

fn size_of(message: &ChatMessage) -> usize {
    let calls = message.tool_calls.iter().map(|call| {
        let arguments = call.arguments.as_ref().map_or(0, json_size);
        call.name.len() + call.invalid_arguments.len() + arguments
    });
    message.content.len() + calls.sum::<usize>()
}

fn json_size(object: &JsonObject) -> usize {
    serde_json::to_string(object).map_or(0, |text| text.len())
}

fn check_tools(tools: &[ChatTool], schema: Option<&JsonObject>) -> Result<(), Error> {
    if tools.len() > MAX_TOOLS {
        return Err(Error::invalid(format!(
            "tools has {} entries, but must have at most {MAX_TOOLS}",
            tools.len()
        )));
    }
    let mut size = schema.map_or(0, json_size);
    for (at, tool) in tools.iter().enumerate() {
        let good = (1..=64).contains(&tool.name.len())
            && tool.name.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'-'));
        if !good {
            return Err(Error::invalid(format!(
                "tools[{at}].name is {:?}, but must be 1 to 64 letters, digits, `_` and `-`",
                tool.name
            )));
        }
        if tools.iter().take(at).any(|other| other.name == tool.name) {
            return Err(Error::invalid(format!("tools has two with the name {:?}", tool.name)));
        }
        size += tool.description.len() + tool.parameters.as_ref().map_or(0, json_size);
    }
    if size > MAX_SCHEMAS {
        return Err(Error::invalid(format!(
            "tools and response_schema have {size} bytes, but must have at most {MAX_SCHEMAS}"
        )));
    }
    Ok(())
}

fn check_numbers(params: &Parameters) -> Result<(), Error> {
    if let Some(temperature) = params.temperature
        && !(0.0..=2.0).contains(&temperature)
    {
        return Err(Error::invalid(format!("`temperature` is {temperature}, but must be 0 to 2")));
    }
    if let Some(top_p) = params.top_p
        && !(top_p > 0.0 && top_p <= 1.0)
    {
        return Err(Error::invalid(format!(
            "`top_p` is {top_p}, but must be above 0 and at most 1"
        )));
    }
    if params.stop.len() > MAX_STOPS {
        return Err(Error::invalid(format!(
            "`stop` has {} entries, but must have at most {MAX_STOPS}",
            params.stop.len()
        )));
    }
    let fits = |text: &String| (1..=MAX_STOP).contains(&text.len());
    if let Some(at) = params.stop.iter().position(|text| !fits(text)) {
        return Err(Error::invalid(format!("`stop[{at}]` must have 1 to {MAX_STOP} bytes")));
    }
    Ok(())
}

fn tool_choice(text: &str, tools: &[ChatTool]) -> Result<ToolChoice, Error> {
    let choice = match text {
        "" | "auto" => ToolChoice::Auto,
        "none" => ToolChoice::None,
        "required" => ToolChoice::Required,
        name if tools.iter().any(|tool| tool.name == name) => ToolChoice::Named(name.to_owned()),
        other => {
            let shown: String = other.chars().take(80).collect();
            return Err(Error::invalid(format!(
                "`tool_choice` is {shown:?}, but must be auto, none, required or the name of one of `tools`"
            )));
        }
    };
    if choice == ToolChoice::Required && tools.is_empty() {
        return Err(Error::invalid("`tool_choice` is required, but there are no tools"));
    }
    Ok(choice)
}

fn effort(text: &str) -> Result<Option<Effort>, Error> {
    match text {
        "" => Ok(None),
        "low" => Ok(Some(Effort::Low)),
        "medium" => Ok(Some(Effort::Medium)),
        "high" => Ok(Some(Effort::High)),
        other => {
            let shown: String = other.chars().take(80).collect();
            Err(Error::invalid(format!(
                "`reasoning_effort` is {shown:?}, but must be low, medium, high or empty"
            )))
        }
    }
}

#[cfg(test)]
mod tests;
