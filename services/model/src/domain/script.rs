//! What the offline provider says: the turn of its script that the conversation has come to, filled in.

use minijinja::context;
use minijinja::value::{Value, merge_maps};
use muster_contracts::JsonObject;
use muster_contracts::llm::v1::{ChatMessage, ToolCall};
use serde::Deserialize;
use serde_json::{Map, Value as Json};

use super::content;
use super::prompt::Prompt;
use super::reply::{MAX_REPLY, Reply};
use super::template::{Engine, value};
use super::text;
use super::usage::Told;
use crate::error::Error;

/// The most tool calls of one turn.
const MAX_CALLS: usize = 32;
/// The sentences of a summary that says nothing else.
const SENTENCES: usize = 5;
/// The model's name.
pub(crate) const MODEL: &str = "offline";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Turn {
    when: Option<String>,
    tools: Option<Vec<Call>>,
    answer: Option<Answer>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    name: String,
    #[serde(default)]
    arguments: Map<String, Json>,
    when: Option<String>,
    for_each: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Text(String),
    Json(Map<String, Json>),
    Summary(Summary),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Summary {
    of: String,
    sentences: Option<usize>,
    about: Option<String>,
}

/// The reply to a prompt.
pub(crate) fn reply(prompt: &Prompt) -> Result<Reply, Error> {
    let script = prompt.offline.as_ref().filter(|script| !script.is_empty());
    if prompt.messages.iter().any(|message| content::images(message).next().is_some()) {
        return Err(Error::invalid(
            "the offline model sees no images: leave them out, or use a real model",
        ));
    }
    let (content, tool_calls) = match script {
        Some(script) => scripted(script, prompt).map_err(Error::Invalid)?,
        None if prompt.response_schema.is_some() || prompt.json_object => {
            return Err(Error::invalid(
                "the offline model has no script to fill the response schema from: give the agent an `offline` script with a `json` answer, or use a real model",
            ));
        }
        None => (answer(&last_user_message(prompt)), Vec::new()),
    };
    let finish_reason = if tool_calls.is_empty() { "stop" } else { "tool_calls" };
    Ok(Reply {
        message: ChatMessage {
            role: "assistant".to_owned(),
            content,
            tool_calls,
            ..Default::default()
        },
        finish_reason: finish_reason.to_owned(),
        usage: Told::default(),
        model: MODEL.to_owned(),
    })
}

fn last_user_message(prompt: &Prompt) -> String {
    let message = prompt.messages.iter().rev().find(|message| message.role == "user");
    message.map(content::text).unwrap_or_default()
}

/// The most important sentences of a text, or what it has in their place: an empty answer would be none.
fn answer(text: &str) -> String {
    let summary = text::summary(text, SENTENCES, "");
    if !summary.is_empty() {
        return summary;
    }
    let line = muster_text::one_line(text);
    if line.is_empty() { "There is no text to answer.".to_owned() } else { line }
}

fn scripted(script: &JsonObject, prompt: &Prompt) -> Result<(String, Vec<ToolCall>), String> {
    let play = Play {
        engine: Engine::new(),
        turns: parse(script)?,
        conversation: Conversation::read(prompt),
        tools: prompt.tools.iter().map(|tool| tool.name.clone()).collect(),
    };
    play.reply()
}

fn parse(script: &JsonObject) -> Result<Vec<Turn>, String> {
    if let Some(other) = script.keys().find(|key| *key != "turns") {
        return Err(format!("offline has the field {other:?}, but only `turns` is known"));
    }
    let Some(Json::Array(turns)) = script.get("turns") else {
        return Err("offline.turns is absent or no list".to_owned());
    };
    turns
        .iter()
        .enumerate()
        .map(|(at, turn)| {
            let turn: Turn =
                serde_json::from_value(turn.clone()).map_err(|error| in_turn(at, &error))?;
            match (&turn.tools, &turn.answer) {
                (Some(_), None) | (None, Some(_)) => Ok(turn),
                _ => Err(in_turn(at, &"has to have either `tools` or `answer`")),
            }
        })
        .collect()
}

fn in_turn(at: usize, problem: &dyn std::fmt::Display) -> String {
    format!("offline.turns[{at}]: {problem}")
}

/// The conversation as templates see it.
struct Conversation {
    input: Value,
    message: Value,
    /// Each tool result, with its call and the number of assistant messages before it.
    results: Vec<(usize, Value, Value)>,
    replies: usize,
}

impl Conversation {
    fn read(prompt: &Prompt) -> Self {
        let first = prompt.messages.iter().find(|message| message.role == "user");
        let mut conversation = Self {
            input: parsed(&first.map(content::text).unwrap_or_default()),
            message: Value::from(last_user_message(prompt)),
            results: Vec::new(),
            replies: 0,
        };
        let mut asked: Vec<&ToolCall> = Vec::new();
        for message in &prompt.messages {
            match message.role.as_str() {
                "assistant" => {
                    conversation.replies += 1;
                    asked.extend(&message.tool_calls);
                }
                "tool" => {
                    let call = asked.iter().rev().find(|call| call.id == message.tool_call_id);
                    let result = parsed(&content::text(message));
                    let call = described(call.copied(), message, &result);
                    conversation.results.push((conversation.replies, result, call));
                }
                _ => {}
            }
        }
        conversation
    }

    /// What templates see after so many replies of the assistant.
    fn scope(&self, replies: usize, tools: &[String]) -> Value {
        let known = || self.results.iter().filter(|(after, ..)| *after <= replies);
        let results: Vec<Value> = known().map(|(_, result, _)| result.clone()).collect();
        let calls: Vec<Value> = known().map(|(.., call)| call.clone()).collect();
        context! {
            input => self.input.clone(),
            message => self.message.clone(),
            last => results.last().cloned().unwrap_or_else(|| Value::from(())),
            results => results,
            calls => calls,
            turn => replies,
            tools => tools.to_vec(),
        }
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str::<Json>(text).map_or_else(|_| Value::from(text), |json| value(&json))
}

fn described(call: Option<&ToolCall>, message: &ChatMessage, result: &Value) -> Value {
    let arguments = call.and_then(|call| call.arguments.clone()).unwrap_or_default();
    let name = call.map_or(message.name.as_str(), |call| call.name.as_str());
    context! { name => name, arguments => value(&arguments.into_value()), result => result.clone() }
}

struct Play {
    engine: Engine,
    turns: Vec<Turn>,
    conversation: Conversation,
    tools: Vec<String>,
}

enum Taken<'a> {
    Calls(Vec<ToolCall>),
    Answer(&'a Answer),
}

impl Play {
    /// Plays the script from its beginning: each reply that the conversation has took one turn, and which turns were skipped follows from what was known then.
    fn reply(&self) -> Result<(String, Vec<ToolCall>), String> {
        let mut next = 0;
        for replies in 0..self.conversation.replies {
            let scope = self.conversation.scope(replies, &self.tools);
            self.take(&mut next, replies, &scope)?;
        }
        let replies = self.conversation.replies;
        let scope = self.conversation.scope(replies, &self.tools);
        match self.take(&mut next, replies, &scope)? {
            Taken::Calls(calls) => Ok((String::new(), calls)),
            Taken::Answer(answer) => {
                let text = self.answer(answer, &scope)?;
                if text.len() > MAX_REPLY {
                    return Err(format!(
                        "the answer has {} bytes, but must have at most {MAX_REPLY}",
                        text.len()
                    ));
                }
                Ok((text, Vec::new()))
            }
        }
    }

    /// The first turn from `next` on that is not skipped; the last answer where there is none.
    fn take(&self, next: &mut usize, replies: usize, scope: &Value) -> Result<Taken<'_>, String> {
        while let Some(turn) = self.turns.get(*next) {
            let at = *next;
            *next += 1;
            let problem = |problem: String| in_turn(at, &problem);
            if let Some(when) = &turn.when
                && !self.engine.truth(when, scope).map_err(problem)?
            {
                continue;
            }
            if let Some(answer) = &turn.answer {
                return Ok(Taken::Answer(answer));
            }
            let calls = self.calls(turn, replies, scope).map_err(problem)?;
            if !calls.is_empty() {
                return Ok(Taken::Calls(calls));
            }
        }
        self.turns.iter().rev().find_map(|turn| turn.answer.as_ref()).map(Taken::Answer).ok_or_else(
            || {
                format!(
                    "offline.turns has {} turns and no `answer`, and reply {} finds none left",
                    self.turns.len(),
                    replies + 1
                )
            },
        )
    }

    fn calls(&self, turn: &Turn, replies: usize, scope: &Value) -> Result<Vec<ToolCall>, String> {
        let mut calls = Vec::new();
        for call in turn.tools.iter().flatten() {
            if !self.tools.contains(&call.name) {
                let offered =
                    if self.tools.is_empty() { "none".to_owned() } else { self.tools.join(", ") };
                return Err(format!(
                    "the tool {:?} is not offered; offered are: {offered}",
                    call.name
                ));
            }
            for scope in self.scopes(call, scope)? {
                let arguments =
                    self.engine.fill_all(&Json::Object(call.arguments.clone()), &scope)?;
                calls.push(ToolCall {
                    id: format!("call_{}_{}", replies + 1, calls.len() + 1),
                    name: call.name.clone(),
                    arguments: Some(JsonObject::wrap(arguments)),
                    ..ToolCall::default()
                });
            }
            if calls.len() > MAX_CALLS {
                return Err(format!(
                    "{} tool calls in one turn, but at most {MAX_CALLS} are allowed",
                    calls.len()
                ));
            }
        }
        Ok(calls)
    }

    /// A scope for each time that the call is made.
    fn scopes(&self, call: &Call, scope: &Value) -> Result<Vec<Value>, String> {
        let mut scopes = match &call.for_each {
            None => vec![scope.clone()],
            Some(list) => {
                let items = self.engine.list(list, scope)?;
                let with = |(at, item)| {
                    let own = context! { item => item, index => at + 1 };
                    merge_maps([own, scope.clone()])
                };
                // One more than allowed is enough to be refused.
                items.into_iter().take(MAX_CALLS + 1).enumerate().map(with).collect()
            }
        };
        if let Some(when) = &call.when {
            let mut kept = Vec::new();
            for scope in scopes {
                if self.engine.truth(when, &scope)? {
                    kept.push(scope);
                }
            }
            scopes = kept;
        }
        Ok(scopes)
    }

    fn answer(&self, answer: &Answer, scope: &Value) -> Result<String, String> {
        let problem = |problem: String| format!("the offline script's answer: {problem}");
        match answer {
            Answer::Text(template) => self.engine.text(template, scope).map_err(problem),
            Answer::Json(fields) => {
                let filled = self.engine.fill_all(&Json::Object(fields.clone()), scope);
                filled.map(|json| json.to_string()).map_err(problem)
            }
            Answer::Summary(summary) => {
                let of = self.engine.text(&summary.of, scope).map_err(problem)?;
                let about = summary.about.as_deref().unwrap_or_default();
                let about = self.engine.text(about, scope).map_err(problem)?;
                let sentences = summary.sentences.unwrap_or(SENTENCES);
                if !(1..=200).contains(&sentences) {
                    return Err(problem(format!(
                        "summary.sentences is {sentences}, but must be 1 to 200"
                    )));
                }
                Ok(text::summary(&of, sentences, &about))
            }
        }
    }
}

#[cfg(test)]
mod tests;
