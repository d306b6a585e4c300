//! An agent with more tools than a model should read.

use muster_contracts::agent::v1::AgentDefinition;
use muster_contracts::llm::v1::CompleteRequest;
use serde_json::json;

use crate::world::{MANY, World, agent};

fn names() -> Vec<String> {
    let things = ["invoice", "order", "customer", "parcel", "ticket", "refund"];
    let deeds = ["create", "find", "cancel", "print", "export"];
    let all = things.iter().flat_map(|thing| deeds.map(|deed| format!("{MANY}{thing}_{deed}")));
    all.collect()
}

fn offered(question: &CompleteRequest) -> Vec<&str> {
    question.tools.iter().map(|tool| tool.name.as_str()).collect()
}

/// What a provider's cache of prompts compares: each question is the one before it with something behind.
fn goes_on(questions: &[CompleteRequest]) -> bool {
    questions.windows(2).all(|pair| {
        pair[1].tools.starts_with(&pair[0].tools) && pair[1].messages.starts_with(&pair[0].messages)
    })
}

#[tokio::test]
async fn a_tool_among_many_is_found_and_used_and_every_run_reads_the_same() {
    let world = World::new().await;
    let definition = AgentDefinition { tools: names(), ..agent("finder") };
    assert_eq!(world.put(definition).await.unwrap().tools.len(), 30);
    for execution in ["e1", "e2"] {
        world.request("finder", execution, json!("cancel a parcel")).await;
        let end = world.completed_of(execution).await;
        let content = world.deliverable(&end.output.unwrap().0).await.content;
        assert_eq!(content, "{\"doubled\":42}", "{execution}");
    }
    let (first, second) = (world.peers.questions("e1"), world.peers.questions("e2"));
    let [before, found, after] = first.as_slice() else { panic!("{} questions", first.len()) };
    assert_eq!(offered(before), ["search_tools"]);
    assert_eq!(offered(found)[..2], ["search_tools", "many_parcel_cancel"]);
    assert!((3..=6).contains(&found.tools.len()), "{:?}", offered(found));
    assert_eq!(offered(after), offered(found));
    assert!(goes_on(&first) && goes_on(&second));
    for (one, other) in first.iter().zip(&second) {
        assert_eq!((&one.tools, &one.messages), (&other.tools, &other.messages));
    }
    // Each tool was called once in each run, and the search asked nobody.
    let facts = ["run_started", "model_replied", "tool_returned", "model_replied"];
    assert_eq!(world.facts_of("finder", "e2").await[..4], facts);
    let called = world.peers.asked().keys().filter(|key| key.ends_with("/2/0")).count();
    assert_eq!(called, 2, "{:?}", world.peers.asked());
}
