//! Starts and times of schedules that nobody could handle.

use muster_bus::{Bucket, Bus, Kv, MessageId, Replayed};
use muster_contracts::workflow::v1::{
    CancelExecutionRequest, ExecutionFailed, ExecutionStarted, ExecutionState, StartExecution,
    WorkflowDefinition,
};
use muster_contracts::{Code, Json};
use muster_testkit::eventually;
use serde_json::{Value, json};

use crate::{LONG, World, serve, workflow};

impl World {
    /// The documents of versions, which are in orchestration's own space.
    async fn documents(&self) -> Kv<Value> {
        let bus = Bus::open(self.nats.settings("orchestration")).await.unwrap();
        bus.ready().await;
        bus.kv(Bucket::Registry)
    }

    /// Takes the document of a version away, as damage would, and returns it.
    async fn lose(&mut self, definition: &WorkflowDefinition) -> (String, Value) {
        let documents = self.documents().await;
        let key = format!("workflows/document/{}", definition.digest);
        let document = documents.get(&key).await.unwrap().unwrap().value;
        documents.delete(&key).await.unwrap();
        // Nor does the process know it any more.
        self.service.take().unwrap().crash();
        self.service = Some(serve(&self.nats));
        (key, document)
    }

    async fn give_back(&self, (key, document): &(String, Value)) {
        self.documents().await.put(key, document).await.unwrap();
    }

    async fn unstarted(&self, id: &str) -> ExecutionState {
        eventually(LONG, "the start is told to have failed", || async {
            match self.state(id).await {
                Ok(state) if state.status == "faulted" => Ok(state),
                other => Err(other),
            }
        })
        .await
    }
}

#[tokio::test]
async fn an_execution_whose_start_is_a_dead_letter_is_faulted_and_a_replay_starts_it() {
    let mut world = World::new().await;
    let definition = world.put(&workflow("w", "- one: {set: {n: '${ .n }'}}")).await.unwrap();
    let lost = world.lose(&definition).await;
    world.start("e1", &definition, json!({"n": 1})).await;
    let state = world.unstarted("e1").await;
    assert_eq!(
        (state.workflow.as_str(), state.version.as_str(), &state.digest),
        ("w", "1.0.0", &definition.digest)
    );
    let error = state.error.clone().unwrap();
    let kind = error["type"].as_str().unwrap();
    assert!(kind.ends_with("/configuration"), "{error:?}");
    assert_eq!((&error["status"], &error["instance"]), (&json!(404), &json!("/")));
    let detail = error["detail"].as_str().unwrap();
    let (letter, content) = world.bus.dead_letters().list(1).await.unwrap().remove(0);
    assert_eq!(state.dead_letter, letter);
    assert!(detail.contains(&format!("dead letter {letter}")), "{detail}");
    assert!(detail.contains(&content.reason), "{detail}");
    let told: ExecutionFailed = world.first().await;
    assert_eq!((told.execution_id.as_str(), told.error), ("e1", state.error));
    // There is nothing that could be steered.
    let cancel = CancelExecutionRequest {
        execution_id: "e1".into(),
        digest: definition.digest.clone(),
        ..Default::default()
    };
    for fault in
        [world.bus.request(&cancel).await.unwrap_err(), world.retry("e1").await.unwrap_err()]
    {
        assert_eq!(fault.code, Code::Conflict);
        assert!(fault.message.contains(&format!("dead letter {letter}")), "{}", fault.message);
    }
    // A replay that fails again points to the letter that took its place.
    let replayed = world.bus.dead_letters().replay(letter).await.unwrap();
    let Replayed::Failed { sequence: second, .. } = replayed else { panic!("{replayed:?}") };
    eventually(LONG, "the state points to the new letter", || async {
        let found = world.state("e1").await.unwrap().dead_letter;
        if found == second { Ok(()) } else { Err(found) }
    })
    .await;
    world.give_back(&lost).await;
    assert_eq!(world.bus.dead_letters().replay(second).await.unwrap(), Replayed::Handled);
    let state = eventually(LONG, "it is done", || async {
        match world.state("e1").await {
            Ok(state) if state.status == "completed" => Ok(state),
            other => Err(other),
        }
    })
    .await;
    assert_eq!((state.output, state.dead_letter), (Some(Json(json!({"n": 1}))), 0));
    let left = world.bus.kv::<Value>(Bucket::Listeners).keys("unstarted").await.unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_child_whose_start_is_a_dead_letter_fails_its_parent_and_its_retry_starts_another() {
    let mut world = World::new().await;
    let sub = world.put(&workflow("sub", "- one: {set: {n: 1}}")).await.unwrap();
    let tasks = "- sub: {run: {workflow: {namespace: test, name: sub, version: latest}}}";
    let parent = world.put(&workflow("w", tasks)).await.unwrap();
    let lost = world.lose(&sub).await;
    world.start("e1", &parent, Value::Null).await;
    let state = world.ended("e1").await;
    let error = state.error.unwrap();
    assert_eq!((&error["status"], &error["instance"]), (&json!(404), &json!("/do/0/sub")));
    let child = state.tasks[0].child_execution_id.clone();
    let state = world.unstarted(&child).await;
    assert_eq!(state.parent.unwrap().execution_id, "e1");
    world.give_back(&lost).await;
    world.retry("e1").await.unwrap();
    let state = eventually(LONG, "the parent is done", || async {
        match world.state("e1").await {
            Ok(state) if state.status == "completed" => Ok(state),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(state.output, Some(Json(json!({"n": 1}))));
}

/// How many executions a schedule has started.
async fn started(world: &World) -> usize {
    let mut ids = Vec::new();
    let mut after = 0;
    while let Some((position, start)) =
        world.bus.next_event::<ExecutionStarted>(after).await.unwrap()
    {
        after = position;
        ids.push(start.execution_id);
    }
    ids.sort();
    ids.dedup();
    ids.len()
}

#[tokio::test]
async fn a_time_that_nobody_could_handle_is_a_dead_letter_and_the_next_ones_come() {
    for schedule in ["{every: {seconds: 1}}", "{cron: '* * * * * *'}", "{after: {seconds: 1}}"] {
        let mut world = World::new().await;
        let source = workflow("due", "- one: {set: {n: 1}}")
            .replace("\ndo:", &format!("\nschedule: {schedule}\ndo:"));
        let definition = world.put(&source).await.unwrap();
        let lost = world.lose(&definition).await;
        let letter = eventually(LONG, "a dead letter", || async {
            let letters = world.bus.dead_letters().list(10).await.unwrap();
            let of_time = letters.into_iter().find(|(_, letter)| {
                letter.consumer.contains("schedule-fired")
                    || letter.consumer.contains("start-execution")
            });
            of_time.ok_or("none yet")
        })
        .await;
        let before = started(&world).await;
        world.give_back(&lost).await;
        eventually(LONG, "the schedule goes on", || async {
            let now = started(&world).await;
            if now >= before + 2 { Ok(()) } else { Err((schedule, now)) }
        })
        .await;
        // The one that was given up is there still, and can be made up for.
        assert!(world.bus.dead_letters().show(letter.0).await.is_ok());
        assert_eq!(world.bus.dead_letters().replay(letter.0).await.unwrap(), Replayed::Handled);
    }
}

/// A start whose execution has begun is a dead letter where what follows from it could not be done: it is done then.
#[tokio::test]
async fn a_dead_start_of_an_execution_that_has_begun_changes_nothing() {
    let world = World::new().await;
    let definition = world.put(&workflow("w", "- one: {set: {n: 1}}")).await.unwrap();
    world.start("e1", &definition, Value::Null).await;
    world.ended("e1").await;
    let other = StartExecution {
        execution_id: "e1".into(),
        workflow: "w".into(),
        digest: "no digest".into(),
        ..Default::default()
    };
    world.bus.publish(&other, &MessageId::random()).await.unwrap();
    world.start("e2", &definition, Value::Null).await;
    world.ended("e2").await;
    assert_eq!(world.state("e1").await.unwrap().status, "completed");
}
