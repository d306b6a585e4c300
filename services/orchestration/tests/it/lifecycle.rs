//! The lifecycle events of the specification.

use futures::StreamExt;
use muster_bus::After;
use muster_contracts::workflow::v1::{
    LifecycleEvent, ResumeExecutionRequest, SuspendExecutionRequest,
};
use muster_contracts::{Addressed, JsonObject, Stream, subject};
use muster_runtime::testing::start;
use serde_json::json;

use crate::{LONG, World};

impl World {
    /// The lifecycle events until all of these kinds are told, in whatever order: by their types without `io.serverlessworkflow.` and `.v1`.
    async fn lives(&self, kinds: &[&str]) -> Vec<(String, JsonObject)> {
        let patterns = vec![subject::pattern(LifecycleEvent::SUBJECT)];
        let mut events = Box::pin(self.bus.follow(Stream::Executions, patterns, After(0)));
        let mut told: Vec<(String, JsonObject)> = Vec::new();
        // Transitions are told side by side: the end may come before what led to it.
        while !kinds.iter().all(|kind| told.iter().any(|(known, _)| known == kind)) {
            let next = tokio::time::timeout(LONG, events.next()).await.unwrap_or_default();
            assert!(next.is_some(), "only these are told: {told:?}");
            let event: LifecycleEvent = next.unwrap().decode().unwrap();
            assert_eq!(
                (event.specversion.as_str(), event.source.as_str()),
                ("1.0", "/muster/workflows/test/w")
            );
            let kind = event
                .r#type
                .trim_start_matches("io.serverlessworkflow.")
                .trim_end_matches(".v1")
                .to_owned();
            told.push((kind, event.data.unwrap_or_default()));
        }
        told
    }
}

#[tokio::test]
async fn executions_and_tasks_tell_their_lives_where_that_is_wanted() {
    let world = World::new().await;
    let settings = [("MUSTER_LIFECYCLE_EVENTS", "all"), ("MUSTER_ACK_WAIT", "1")];
    let _second = start([muster_orchestration::service()], &world.nats.env(&settings));
    let tasks = "- one: {call: agent, with: {agent: a, input: fail}}";
    assert_eq!(world.run(tasks, json!({})).await.status, "faulted");
    let kinds = [
        "task.created",
        "task.faulted",
        "task.started",
        "workflow.faulted",
        "workflow.started",
        "workflow.status-changed",
    ];
    let told = world.lives(&kinds).await;
    let data = |kind: &str| told.iter().find(|(known, _)| known == kind).unwrap().1.clone();
    let started = data("workflow.started");
    assert_eq!(started["name"], "w-e1.test");
    assert_eq!(
        started["definition"],
        json!({"name": "w", "namespace": "test", "version": "1.0.0"})
    );
    assert!(started["startedAt"].is_string());
    let faulted = data("task.faulted");
    assert_eq!(
        (&faulted["workflow"], &faulted["task"]),
        (&json!("w-e1.test"), &json!("/do/0/one"))
    );
    assert_eq!(faulted["error"]["status"], 429);
}

#[tokio::test]
async fn only_executions_tell_theirs_where_that_is_enough() {
    let world = World::new().await;
    let settings = [("MUSTER_LIFECYCLE_EVENTS", "workflow"), ("MUSTER_ACK_WAIT", "1")];
    let _second = start([muster_orchestration::service()], &world.nats.env(&settings));
    let source = crate::workflow("w", "- ask: {call: agent, with: {agent: a, input: silent}}");
    let definition = world.put(&source).await.unwrap();
    world.start("e1", &definition, json!({})).await;
    muster_testkit::eventually(LONG, "it waits", || async {
        let request = SuspendExecutionRequest { execution_id: "e1".into(), ..Default::default() };
        world.bus.request(&request).await
    })
    .await;
    world.bus.request(&ResumeExecutionRequest { execution_id: "e1".into() }).await.unwrap();
    world.answer("e1", "/do/0/ask", json!({})).await;
    let kinds =
        ["workflow.completed", "workflow.resumed", "workflow.started", "workflow.suspended"];
    let told = world.lives(&kinds).await;
    assert_eq!(told.len(), kinds.len(), "{told:?}");
}
