//! What the played model says in conversations.

use muster_contracts::Fault;
use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse, ToolCall};
use serde_json::{Value, json};

use crate::world::{call, reply};

/// The answer of this part; none where it is not one of these.
pub(crate) async fn play(
    part: &str,
    times: u32,
    request: &CompleteRequest,
) -> Option<Result<CompleteResponse, Fault>> {
    let since = request.messages.iter().rev().take_while(|message| message.role != "user");
    // Turns of this run, whatever was said before in the thread.
    let turn = since.filter(|message| message.role == "assistant").count();
    let last = request.messages.last().unwrap();
    let asked = request.idempotency_key.rsplit('/').next().unwrap().parse::<u32>().unwrap_or(0);
    let told = |role: &str| {
        let of = request.messages.iter().filter(|message| message.role == role);
        of.map(|message| message.content.clone()).collect::<Vec<_>>()
    };
    let answer = match part {
        "echo" if last.content == "hold" => std::future::pending().await,
        "echo" if last.content == "say and hold" => {
            reply("so far", vec![call("double", json!({}))])
        }
        "echo" if turn > 0 => std::future::pending().await,
        "echo" => {
            let said = request.messages.iter().skip(1).filter(|message| message.role != "tool");
            let said: Vec<&str> = said.map(|message| message.content.as_str()).collect();
            reply(&format!("[{}]", said.join(" ")), vec![])
        }
        "deaf-memo" if times == 1 => std::future::pending().await,
        "memo" | "deaf-memo" => memo(turn, &last.content),
        "finder" => finder(turn, &last.content),
        "system-of" => reply(&request.messages[0].content, vec![]),
        "Summarise" => reply("a short summary", vec![]),
        "growing" if asked < 6 => {
            reply(&"word ".repeat(500), vec![call("double", json!({"n": 1}))])
        }
        "growing" => reply(&format!("{} .", told("user").join(" ")), vec![]),
        "pair" if turn == 0 => {
            let calls = ["a", "b"].map(|_name| call("double", json!({"together": true})));
            reply("", calls.to_vec())
        }
        "large" if turn == 0 => reply("", vec![call("double", json!({"large": true}))]),
        "large" => reply(&last.content, vec![]),
        "wordy" if last.content.contains("at most 200") => reply("[\"short\"]", vec![]),
        "wordy" => reply(&json!(vec!["a long word"; 100]).to_string(), vec![]),
        "flood" => reply(&"x".repeat(5_000_000), vec![]),
        "garbled" if turn == 0 => {
            let call = ToolCall {
                name: "double".into(),
                invalid_arguments: "[1, 2".into(),
                ..Default::default()
            };
            reply("", vec![call])
        }
        "garbled" => reply(&format!("{} asked: {}", last.content, told("user").join(" ")), vec![]),
        _ => return None,
    };
    Some(Ok(answer))
}

/// Searches for what it is told, calls the first tool that it finds, and says what came of it.
fn finder(turn: usize, last: &str) -> CompleteResponse {
    match turn {
        0 => reply("", vec![call("search_tools", json!({ "query": last }))]),
        1 => {
            let found: Value = serde_json::from_str(last).unwrap();
            let name = found["tools"][0]["name"].as_str().unwrap();
            reply("", vec![call(name, json!({ "n": 21 }))])
        }
        _ => reply(last, vec![]),
    }
}

/// Remembers what it is told, recalls everything, and says that.
fn memo(turn: usize, last: &str) -> CompleteResponse {
    match turn {
        0 => reply("", vec![call("remember", json!({ "content": last }))]),
        1 => reply("", vec![call("recall", json!({"query": ""}))]),
        _ => {
            let recalled: Value = serde_json::from_str(last).unwrap();
            let memories = recalled["memories"].as_array().unwrap().iter();
            let told: Vec<&str> =
                memories.map(|memory| memory["content"].as_str().unwrap()).collect();
            reply(&told.join(" "), vec![])
        }
    }
}
