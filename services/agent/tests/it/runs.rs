//! What a run brings.

use futures::StreamExt;
use muster_bus::After;
use muster_contracts::agent::v1::{AgentDefinition, AgentExecutionCompleted, Limits};
use muster_contracts::{Code, JsonObject, Stream};
use serde_json::json;

use crate::world::{World, agent};

#[tokio::test]
async fn an_answer_is_stored_once_and_told_by_a_small_notice() {
    let world = World::new().await;
    world.ask("talk", json!("hello")).await;
    let event = world.completed().await;
    let notice = event.output.unwrap().0;
    let deliverable = world.deliverable(&notice).await;
    assert!(deliverable.content.starts_with("You said: hello."));
    assert_eq!(notice["tokens"], json!(deliverable.tokens));
    assert!(deliverable.tokens > 2000 && notice.to_string().len() < 1000, "{notice}");
    let usage = event.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.model_calls), (10, 5, 1));
}

#[tokio::test]
async fn a_notice_in_the_input_saves_what_its_deliverable_would_cost() {
    let world = World::new().await;
    world.ask("talk", json!("hello")).await;
    let notice = world.completed().await.output.unwrap().0;
    world.request("talk", "e2", json!({ "question": "and?", "report": notice })).await;
    let mut events = Box::pin(world.bus.follow(
        Stream::Executions,
        vec!["agent.execution.completed".into()],
        After(0),
    ));
    let second =
        events.by_ref().skip(1).next().await.unwrap().decode::<AgentExecutionCompleted>().unwrap();
    let usage = second.usage.unwrap();
    assert_eq!(json!(usage.pasted_tokens), notice["tokens"]);
    assert!(f64::from(usage.saved_tokens) > 0.95 * f64::from(usage.pasted_tokens), "{usage:?}");
}

#[tokio::test]
async fn tools_are_called_and_their_errors_are_told_to_the_model() {
    let world = World::new().await;
    world.ask("tools", json!("go")).await;
    let event = world.completed().await;
    let content = world.deliverable(&event.output.unwrap().0).await.content;
    let lines: Vec<&str> = content.lines().collect();
    assert_eq!(lines[0], "{\"doubled\":2}");
    assert!(lines[1].contains("argument `x` is missing"), "{content}");
    assert!(
        lines[2].contains("no tool `unknown`") && lines[2].contains("double, fail"),
        "{content}"
    );
    assert_eq!(event.usage.unwrap().tool_calls, 3);
}

#[tokio::test]
async fn a_model_that_refuses_fails_the_run_with_its_reason() {
    let world = World::new().await;
    world.ask("refuse", json!("hello")).await;
    let event = world.failed().await;
    assert_eq!(event.code, "DENIED");
    assert!(event.error.contains("no such key"), "{}", event.error);
}

#[tokio::test]
async fn a_run_that_finds_no_end_fails_at_its_limit() {
    let world = World::new().await;
    let limits = Some(Limits { turns: 3, ..Default::default() });
    world
        .put(AgentDefinition { tools: vec!["double".into()], limits, ..agent("endless") })
        .await
        .unwrap();
    world.request("endless", "e1", json!("go")).await;
    let event = world.failed().await;
    assert_eq!(event.code, "EXHAUSTED");
    assert!(event.error.contains("3 turns"), "{}", event.error);
    assert_eq!(event.usage.unwrap().model_calls, 3);
}

#[tokio::test]
async fn a_structured_answer_is_mended_once_and_is_data_of_the_notice() {
    let world = World::new().await;
    let schema = Some(JsonObject::wrap(
        json!({"type": "object", "properties": {"content": {"type": "boolean"}}, "required": ["content"]}),
    ));
    world.put(AgentDefinition { output_schema: schema.clone(), ..agent("schema") }).await.unwrap();
    world.request("schema", "e1", json!("judge")).await;
    assert_eq!(world.completed().await.output.unwrap()["data"], json!({"content": true}));
    world.put(AgentDefinition { output_schema: schema, ..agent("never-json") }).await.unwrap();
    world.request("never-json", "e2", json!("judge")).await;
    assert_eq!(world.failed().await.code, "INVALID");
}

#[tokio::test]
async fn a_structured_answer_that_makes_too_large_a_notice_is_mended_once() {
    let world = World::new().await;
    let output_schema = Some(JsonObject::wrap(json!({"type": "array"})));
    world.put(AgentDefinition { output_schema, ..agent("wordy") }).await.unwrap();
    world.request("wordy", "e1", json!("judge")).await;
    let event = world.completed().await;
    assert_eq!(event.output.unwrap()["data"], json!(["short"]));
    assert_eq!(event.usage.unwrap().model_calls, 2);
}

#[tokio::test]
async fn an_unknown_agent_fails_the_task_and_names_those_that_are_there() {
    let world = World::new().await;
    world.put(agent("talk")).await.unwrap();
    world.request("nobody", "e1", json!("hello")).await;
    let event = world.failed().await;
    assert_eq!(event.code, "NOT_FOUND");
    assert!(event.error.contains("\"nobody\"") && event.error.contains("talk"), "{}", event.error);
}

#[tokio::test]
async fn a_definition_that_names_an_unknown_tool_or_a_reserved_word_is_refused() {
    let world = World::new().await;
    let fault = world
        .put(AgentDefinition { tools: vec!["nothing".into()], ..agent("a") })
        .await
        .unwrap_err();
    assert!(fault.code == Code::Invalid && fault.message.contains("\"nothing\""), "{fault:?}");
    let fault = world.put(agent("execution")).await.unwrap_err();
    assert!(fault.code == Code::Invalid && fault.message.contains("execution"), "{fault:?}");
}

#[tokio::test]
async fn the_tools_of_one_turn_are_called_side_by_side() {
    let world = World::new().await;
    world.ask("pair", json!("go")).await;
    let event = world.completed().await;
    assert_eq!(event.usage.unwrap().tool_calls, 2);
}

#[tokio::test]
async fn a_result_that_is_too_large_for_a_model_is_told_as_an_error() {
    let world = World::new().await;
    world.ask("large", json!("go")).await;
    let event = world.completed().await;
    let content = world.deliverable(&event.output.unwrap().0).await.content;
    assert!(content.contains("300002 bytes") && content.contains("262144"), "{content}");
}
