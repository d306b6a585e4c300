use muster_contracts::llm::v1::{ChatTool, CompleteRequest};
use serde_json::json;

use super::*;

fn ask(script: Json, messages: Vec<ChatMessage>) -> Result<Reply, String> {
    let tools = ["search", "fetch"]
        .map(|name| ChatTool { name: name.into(), ..Default::default() })
        .to_vec();
    let offline = Some(JsonObject::wrap(script));
    let request = CompleteRequest { messages, tools, offline, ..Default::default() };
    reply(&Prompt::parse(&request).unwrap()).map_err(|error| error.to_string())
}

fn user(content: &str) -> ChatMessage {
    ChatMessage { role: "user".into(), content: content.into(), ..Default::default() }
}

fn result(call: &ToolCall, content: &Json) -> ChatMessage {
    ChatMessage {
        role: "tool".into(),
        content: content.to_string(),
        tool_call_id: call.id.clone(),
        ..Default::default()
    }
}

fn script() -> Json {
    json!({ "turns": [
        { "tools": [
            { "name": "search", "arguments": { "query": "{{ input.question }}", "top_k": "{{ input.k }}" } },
            { "name": "search", "for_each": "input.aspects", "arguments": { "query": "{{ index }} {{ item }}" } },
        ] },
        { "when": "last.hits | length == 0", "answer": { "text": "nothing" } },
        { "tools": [{ "name": "fetch", "for_each": "results | map(attribute='hits') | flatten", "when": "item != 'x'", "arguments": { "id": "{{ item }}" } }] },
        { "answer": { "json": { "asked": "{{ calls | map(attribute='name') | join(' ') }}", "n": "{{ results | length }}", "last": "{{ last }}" } } },
    ] })
}

#[test]
fn a_script_is_played_turn_by_turn_and_says_the_same_twice() {
    let mut talk = vec![user(r#"{ "question": "why?", "k": 3, "aspects": ["a", "b"] }"#)];
    let first = ask(script(), talk.clone()).unwrap();
    assert_eq!(first, ask(script(), talk.clone()).unwrap());
    assert_eq!(first.finish_reason, "tool_calls");
    let calls: Vec<_> = first
        .message
        .tool_calls
        .iter()
        .map(|call| (call.id.as_str(), call.arguments.clone().unwrap().into_value()))
        .collect();
    assert_eq!(
        calls,
        [
            ("call_1_1", json!({ "query": "why?", "top_k": 3 })),
            ("call_1_2", json!({ "query": "1 a" })),
            ("call_1_3", json!({ "query": "2 b" })),
        ]
    );
    let answers = first
        .message
        .tool_calls
        .iter()
        .map(|call| result(call, &json!({ "hits": ["x", call.id] })));
    let answers: Vec<_> = answers.collect();
    talk.push(first.message);
    talk.extend(answers);
    // The second turn is skipped: there are hits.
    let second = ask(script(), talk.clone()).unwrap();
    let fetched: Vec<_> = second.message.tool_calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(fetched, ["fetch", "fetch", "fetch"]);
    let answers: Vec<_> =
        second.message.tool_calls.iter().map(|call| result(call, &json!(7))).collect();
    talk.push(second.message);
    talk.extend(answers);
    let third = ask(script(), talk.clone()).unwrap();
    let expected = json!({ "asked": "search search search fetch fetch fetch", "n": 6, "last": 7 });
    assert_eq!(serde_json::from_str::<Json>(&third.message.content).unwrap(), expected);
    // Asked once more, it says its last answer again.
    talk.push(third.message.clone());
    talk.push(user("that does not fit the schema"));
    assert_eq!(ask(script(), talk).unwrap().message.content, third.message.content);
}

#[test]
fn a_skipped_turn_stays_skipped_when_the_conversation_goes_on() {
    let script = json!({ "turns": [
        { "tools": [{ "name": "search", "arguments": { "query": "a" } }] },
        { "when": "last == 1", "tools": [{ "name": "search", "arguments": { "query": "b" } }] },
        { "tools": [{ "name": "fetch", "arguments": {} }] },
        { "answer": { "text": "{{ last }}" } },
    ] });
    let mut talk = vec![user("go")];
    for content in [json!(0), json!(1)] {
        let reply = ask(script.clone(), talk.clone()).unwrap().message;
        let answer = result(&reply.tool_calls[0], &content);
        talk.extend([reply, answer]);
    }
    assert_eq!(ask(script, talk).unwrap().message.content, "1");
}

#[test]
fn without_a_script_the_last_message_is_summarised() {
    let none = json!({});
    assert_eq!(
        ask(none.clone(), vec![user("x"), user("One thing. ")]).unwrap().message.content,
        "One thing."
    );
    let request = CompleteRequest {
        messages: vec![user("x")],
        params: Some(muster_contracts::llm::v1::Parameters {
            response_schema: Some(JsonObject::wrap(json!({ "type": "object" }))),
            ..Default::default()
        }),
        ..Default::default()
    };
    let error = reply(&Prompt::parse(&request).unwrap()).unwrap_err().to_string();
    assert!(error.contains("no script to fill the response schema"), "{error}");
}

#[test]
fn a_wrong_script_is_told_its_turn_and_what_would_be_right() {
    let answer = json!({ "answer": { "text": "x" } });
    for (script, part) in [
        (json!({ "turn": [] }), "the field \"turn\", but only `turns`"),
        (json!({ "turns": {} }), "offline.turns is absent or no list"),
        (
            json!({ "turns": [answer, { "answer": { "txt": "x" } }] }),
            "offline.turns[1]: unknown variant `txt`",
        ),
        (json!({ "turns": [{ "tool": [] }] }), "offline.turns[0]: unknown field `tool`"),
        (json!({ "turns": [{ "when": "true" }] }), "either `tools` or `answer`"),
        (
            json!({ "turns": [{ "tools": [{ "name": "rm" }] }] }),
            "\"rm\" is not offered; offered are: search, fetch",
        ),
        (
            json!({ "turns": [{ "tools": [{ "name": "search", "for_each": "range(99)" }] }] }),
            "at most 32",
        ),
        (
            json!({ "turns": [{ "tools": [{ "name": "search", "for_each": "1" }] }] }),
            "must give a list",
        ),
        (
            json!({ "turns": [{ "answer": { "summary": { "of": "x", "sentences": 0 } } }] }),
            "must be 1 to 200",
        ),
        (
            json!({ "turns": [{ "when": "input.", "answer": { "text": "x" } }] }),
            "offline.turns[0]: \"input.\"",
        ),
        (json!({ "turns": [] }), "no `answer`"),
    ] {
        let error = ask(script, vec![user("{}")]).unwrap_err();
        assert!(error.contains(part), "{part}: {error}");
    }
}

#[test]
fn the_script_of_the_documentation_does_what_it_says() {
    let docs = include_str!("../../../../../docs/offline.md");
    let yaml = docs.split("```yaml").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let script: Json = serde_yaml_ng::from_str(yaml).unwrap();
    let script = script["offline"].clone();
    let play = |hits: Json| {
        let input =
            json!({ "collection": "c", "question": "Why fog?", "aspects": ["sea", "land"] });
        let mut talk = vec![user(&input.to_string())];
        let asked = ask(script.clone(), talk.clone()).unwrap().message;
        assert_eq!(asked.tool_calls.len(), 3);
        let answers: Vec<_> = asked
            .tool_calls
            .iter()
            .map(|call| result(call, &json!({ "hits": hits.clone() })))
            .collect();
        talk.push(asked);
        talk.extend(answers);
        ask(script.clone(), talk).unwrap().message.content
    };
    assert_eq!(play(json!([])), "Nothing found for Why fog?.");
    let found = play(json!([{ "text": "Warm air meets cold water." }, { "text": "Fog lifts." }]));
    let lines: Vec<_> = found.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, ["# Why fog?", "- Warm air meets cold water. [1]", "- Fog lifts. [2]"]);
}
