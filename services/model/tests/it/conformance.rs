//! What every provider must do: one list for the scripted provider in each dialect, and for real ones.

use muster_contracts::JsonObject;
use muster_contracts::llm::v1::{
    ChatMessage, ChatTool, CompleteRequest, CompleteResponse, ContentPart, Parameters, ToolCall,
};
use muster_testkit::{Answer, Finish};
use serde_json::{Value, json};

use crate::user;

/// A red square of 16 pixels a side.
const RED: &str = "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAIAAACQkWg2AAAAFklEQVR42mP4z8BAEmIY1TCqYfhqAACQ+f8B8u7oVwAAAABJRU5ErkJggg==";

/// One thing that a provider must do.
pub(crate) struct Check {
    pub(crate) name: &'static str,
    pub(crate) request: CompleteRequest,
    /// What the scripted provider says.
    pub(crate) answer: Answer,
    /// What is wrong with a reply.
    pub(crate) flaw: fn(&CompleteResponse) -> Option<String>,
}

fn asked(messages: Vec<ChatMessage>, params: Parameters) -> CompleteRequest {
    CompleteRequest { messages, params: Some(params), ..Default::default() }
}

fn message(role: &str, content: &str) -> ChatMessage {
    ChatMessage { role: role.into(), ..user(content) }
}

fn weather() -> ChatTool {
    let parameters = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    ChatTool {
        name: "weather".into(),
        description: "The weather of a city now.".into(),
        parameters: Some(JsonObject::wrap(parameters)),
    }
}

fn text(reply: &CompleteResponse) -> &str {
    reply.message.as_ref().map_or("", |message| message.content.as_str())
}

fn says(reply: &CompleteResponse, word: &str) -> Option<String> {
    let found = text(reply).to_lowercase().contains(word);
    (!found).then(|| format!("it should say {word:?}, but says {:?}", text(reply)))
}

fn ends_with(reply: &CompleteResponse, reason: &str) -> Option<String> {
    let found = &reply.finish_reason;
    (found != reason).then(|| format!("it should end with {reason}, but ends with {found}"))
}

/// The list.
pub(crate) fn list() -> Vec<Check> {
    let mut list = texts();
    list.extend(limits());
    list.extend(tools());
    list.extend(formats());
    list
}

fn texts() -> Vec<Check> {
    let talk = vec![
        message("system", "You answer with one word in lower case."),
        user("My name is Ada."),
        message("assistant", "hello"),
        user("What is my name?"),
    ];
    let picture = ContentPart {
        r#type: "image".into(),
        image_url: format!("data:image/png;base64,{RED}"),
        ..Default::default()
    };
    let look = ChatMessage { parts: vec![picture], ..user("Which colour is this? One word.") };
    vec![
        Check {
            name: "a text with its usage",
            request: asked(
                vec![user("Say the word pong and nothing else.")],
                Parameters { temperature: Some(0.0), ..Default::default() },
            ),
            answer: Answer::text("pong"),
            flaw: |reply| {
                let usage = reply.usage.unwrap_or_default();
                let counted = usage.input_tokens > 0 && usage.output_tokens > 0 && !usage.estimated;
                let uncounted = (!counted).then(|| format!("no usage: {usage:?}"));
                says(reply, "pong").or_else(|| ends_with(reply, "stop")).or(uncounted)
            },
        },
        Check {
            name: "a conversation with a system's message",
            request: asked(talk, Parameters::default()),
            answer: Answer::text("ada"),
            flaw: |reply| says(reply, "ada"),
        },
        Check {
            name: "an image",
            request: asked(vec![look], Parameters::default()),
            answer: Answer::text("red"),
            flaw: |reply| says(reply, "red"),
        },
    ]
}

fn limits() -> Vec<Check> {
    vec![
        Check {
            name: "a reply that is cut at its longest",
            request: asked(
                vec![user("Count from 1 to 500.")],
                Parameters { max_tokens: 16, ..Default::default() },
            ),
            answer: Answer::text("1 2 3").finish(Finish::Length),
            flaw: |reply| ends_with(reply, "length"),
        },
        Check {
            name: "a text that ends a reply",
            request: asked(
                vec![user("Say in words, with commas: one, two, three, four, five, six.")],
                Parameters { stop: vec!["five".into()], ..Default::default() },
            ),
            answer: Answer::text("one, two, three, four, "),
            flaw: |reply| {
                let over = text(reply).contains("five").then(|| "it goes on".to_owned());
                says(reply, "two").or(over)
            },
        },
    ]
}

fn tools() -> Vec<Check> {
    let ask = user("What is the weather in Oslo? Use the tool.");
    let call = ToolCall {
        id: "call_weather".into(),
        name: "weather".into(),
        arguments: Some(JsonObject::wrap(json!({ "city": "Oslo" }))),
        ..Default::default()
    };
    let called = ChatMessage { tool_calls: vec![call], ..message("assistant", "") };
    let told = ChatMessage {
        tool_call_id: "call_weather".into(),
        name: "weather".into(),
        ..message("tool", r#"{"celsius":-7,"sky":"clear"}"#)
    };
    vec![
        Check {
            name: "a tool call",
            request: CompleteRequest {
                tools: vec![weather()],
                ..asked(vec![ask.clone()], Parameters::default())
            },
            answer: Answer::tool_call("weather", json!({ "city": "Oslo" })),
            flaw: |reply| {
                let calls = reply.message.as_ref().map(|message| message.tool_calls.as_slice());
                let call = calls.unwrap_or_default().first();
                let city = call.and_then(|call| call.arguments.as_ref()?.get("city").cloned());
                let right = city.as_ref().and_then(Value::as_str) == Some("Oslo")
                    && call.is_some_and(|call| call.name == "weather" && !call.id.is_empty());
                let wrong = (!right).then(|| format!("no call for Oslo: {calls:?}"));
                wrong.or_else(|| ends_with(reply, "tool_calls"))
            },
        },
        Check {
            name: "the answer of a tool",
            request: CompleteRequest {
                tools: vec![weather()],
                ..asked(vec![ask, called, told], Parameters::default())
            },
            answer: Answer::text("It is -7 degrees and clear."),
            flaw: |reply| says(reply, "7"),
        },
    ]
}

fn formats() -> Vec<Check> {
    let schema = json!({ "type": "object", "properties": { "answer": { "type": "integer" } },
        "required": ["answer"], "additionalProperties": false });
    vec![
        Check {
            name: "any JSON object",
            request: asked(
                vec![user("Give a JSON object with the key answer and the number 7.")],
                Parameters { json_object: true, ..Default::default() },
            ),
            answer: Answer::text(r#"{"answer": 7}"#),
            flaw: |reply| {
                let value: Option<Value> = serde_json::from_str(text(reply)).ok();
                let object = value.is_some_and(|value| value.is_object());
                (!object).then(|| format!("no JSON object: {:?}", text(reply)))
            },
        },
        Check {
            name: "JSON that fits a schema",
            request: asked(
                vec![user("How much is 3 and 4?")],
                Parameters {
                    response_schema: Some(JsonObject::wrap(schema)),
                    ..Default::default()
                },
            ),
            answer: Answer::text(r#"{"answer": 7}"#),
            flaw: |reply| {
                let value: Value = serde_json::from_str(text(reply)).unwrap_or_default();
                (value != json!({ "answer": 7 })).then(|| format!("it is {:?}", text(reply)))
            },
        },
    ]
}
