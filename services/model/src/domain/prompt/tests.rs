use muster_contracts::llm::v1::ContentPart;
use serde_json::json;

use super::*;

fn message(role: &str, content: &str) -> ChatMessage {
    ChatMessage { role: role.into(), content: content.into(), ..Default::default() }
}

fn good() -> CompleteRequest {
    let tools = vec![ChatTool { name: "search".into(), ..Default::default() }];
    CompleteRequest { messages: vec![message("user", "hi")], tools, ..Default::default() }
}

fn check(request: &CompleteRequest, part: &str) {
    let error = Prompt::parse(request).unwrap_err().to_string();
    assert!(error.contains(part) && error.len() < 500, "{error}");
}

#[test]
fn a_bad_request_is_told_what_is_wrong() {
    assert!(Prompt::parse(&good()).is_ok());
    check(&CompleteRequest::default(), "messages is empty");
    let messages = |messages: Vec<ChatMessage>| CompleteRequest { messages, ..good() };
    check(&messages(vec![message("robot", "hi")]), "messages[0].role is \"robot\"");
    check(&messages(vec![message("tool", "hi")]), "no tool_call_id");
    check(&messages(vec![message("user", &"x".repeat(MAX_MESSAGES + 1))]), "at most 2097152");
    check(&CompleteRequest { model: "a b".into(), ..good() }, "model is \"a b\"");
    check(&CompleteRequest { model: "a/../b".into(), ..good() }, "without `..`");
    check(&CompleteRequest { model: "x".repeat(201), ..good() }, "at most 200");
    let tools = |names: &[&str]| CompleteRequest {
        tools: names
            .iter()
            .map(|name| ChatTool { name: (*name).into(), ..Default::default() })
            .collect(),
        ..good()
    };
    check(&tools(&["a b"]), "tools[0].name is \"a b\"");
    check(&tools(&["a", "a"]), "two with the name \"a\"");
    check(&tools(&["a"; 129]), "at most 128");
    let wide = ChatTool {
        name: "wide".into(),
        description: "x".repeat(MAX_SCHEMAS + 1),
        ..Default::default()
    };
    check(&CompleteRequest { tools: vec![wide], ..good() }, "at most 1048576");
}

#[test]
fn a_parameter_out_of_its_range_is_named_with_its_value() {
    let with = |params: Parameters| CompleteRequest { params: Some(params), ..good() };
    let default = Parameters::default;
    check(&with(Parameters { temperature: Some(3.5), ..default() }), "`temperature` is 3.5");
    check(&with(Parameters { temperature: Some(f64::NAN), ..default() }), "`temperature` is NaN");
    check(&with(Parameters { top_p: Some(0.0), ..default() }), "`top_p` is 0");
    check(&with(Parameters { top_p: Some(1.1), ..default() }), "`top_p` is 1.1");
    check(&with(Parameters { stop: vec!["x".into(); 5], ..default() }), "`stop` has 5 entries");
    check(&with(Parameters { stop: vec![String::new()], ..default() }), "`stop[0]` must have 1");
    check(&with(Parameters { tool_choice: "fly".into(), ..default() }), "`tool_choice` is \"fly\"");
    check(
        &with(Parameters { reasoning_effort: "huge".into(), ..default() }),
        "`reasoning_effort` is \"huge\"",
    );
    let both = Parameters {
        json_object: true,
        response_schema: Some(JsonObject::wrap(json!({ "type": "object" }))),
        ..default()
    };
    check(&with(both), "one of them at most");
    let required = Parameters { tool_choice: "required".into(), ..default() };
    check(&CompleteRequest { tools: Vec::new(), ..with(required) }, "there are no tools");
    let named = Parameters { tool_choice: "search".into(), ..default() };
    let prompt = Prompt::parse(&with(named)).unwrap();
    assert_eq!(prompt.tool_choice, ToolChoice::Named("search".into()));
}

#[test]
fn images_are_for_users_and_their_number_is_bounded() {
    let picture = ContentPart {
        r#type: "image".into(),
        image_url: "https://x.example/a.png".into(),
        ..Default::default()
    };
    let with = |role: &str, parts: Vec<ContentPart>| CompleteRequest {
        messages: vec![ChatMessage { parts, ..message(role, "look") }],
        ..good()
    };
    assert!(Prompt::parse(&with("user", vec![picture.clone()])).is_ok());
    check(&with("system", vec![picture.clone()]), "only a user's message");
    check(&with("user", vec![picture.clone(); 65]), "at most 64");
    let bad = ContentPart { image_url: "ftp://x".into(), ..picture.clone() };
    check(&with("user", vec![picture, bad]), "messages[0].parts[1].image_url is \"ftp://x\"");
}
