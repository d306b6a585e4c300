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
    /// The lifecycle events until the workflow's end, by their types without `io.serverlessworkflow.` and `.v1`.
    async fn lives(&self) -> Vec<(String, JsonObject)> {
        let patterns = vec![subject::pattern(LifecycleEvent::SUBJECT)];
        let mut events = Box::pin(self.bus.follow(Stream::Executions, patterns, After(0)));
        let mut told = Vec::new();
        loop {
            let event = tokio::time::timeout(LONG, events.next()).await.unwrap().unwrap();
            let event: LifecycleEvent = event.decode().unwrap();
            assert_eq!(
                (event.specversion.as_str(), event.source.as_str()),
                ("1.0", "/muster/workflows/test/w")
            );
            let kind = event
                .r#type
                .trim_start_matches("io.serverlessworkflow.")
                .trim_end_matches(".v1")
                .to_owned();
            let is_end = matches!(
                kind.as_str(),
                "workflow.completed" | "workflow.faulted" | "workflow.cancelled"
            );
            told.push((kind, event.data.unwrap_or_default()));
            if is_end {
                return told;
            }
        }
    }
}

fn kinds(told: &[(String, JsonObject)]) -> Vec<&str> {
    told.iter().map(|(kind, _)| kind.as_str()).collect()
}

#[tokio::test]
async fn executions_and_tasks_tell_their_lives_where_that_is_wanted() {
    let world = World::new().await;
    let settings = [("MUSTER_LIFECYCLE_EVENTS", "all"), ("MUSTER_ACK_WAIT", "1")];
    let _second = start([muster_orchestration::service()], &world.nats.env(&settings));
    let tasks = "- one: {call: agent, with: {agent: a, input: fail}}";
    assert_eq!(world.run(tasks, json!({})).await.status, "faulted");
    let told = world.lives().await;
    let mut seen = kinds(&told);
    // Transitions are told side by side.
    seen.sort_unstable();
    seen.dedup();
    for kind in [
        "task.created",
        "task.faulted",
        "task.started",
        "workflow.faulted",
        "workflow.started",
        "workflow.status-changed",
    ] {
        assert!(seen.contains(&kind), "{kind} is not in {seen:?}");
    }
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
    let definition =
        world.put(&crate::workflow("w", "- nap: {wait: {milliseconds: 600}}")).await.unwrap();
    world.start("e1", &definition, json!({})).await;
    muster_testkit::eventually(LONG, "it waits", || async {
        let request = SuspendExecutionRequest { execution_id: "e1".into(), ..Default::default() };
        world.bus.request(&request).await
    })
    .await;
    world.bus.request(&ResumeExecutionRequest { execution_id: "e1".into() }).await.unwrap();
    let told = world.lives().await;
    let mut seen = kinds(&told);
    seen.sort_unstable();
    assert_eq!(
        seen,
        ["workflow.completed", "workflow.resumed", "workflow.started", "workflow.suspended"]
    );
}
