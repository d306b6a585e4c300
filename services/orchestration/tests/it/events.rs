//! Events that executions tell and hear, signals, and workflows that start by themselves.

use chrono::{TimeDelta, Utc};
use muster_bus::{Bucket, MessageId};
use muster_contracts::workflow::v1::{
    CloudEvent, DeleteWorkflowRequest, ExecutionState, GetWorkflowRequest, ScheduleFired,
    SignalExecution, WorkflowDefinition,
};
use muster_contracts::{Code, Json, JsonObject, now, time};
use muster_testkit::eventually;
use serde_json::{Value, json};

use crate::{LONG, World, serve, workflow};

fn event(kind: &str, id: impl ToString, data: Value) -> CloudEvent {
    CloudEvent {
        id: id.to_string(),
        source: "https://example.com/tests".into(),
        r#type: kind.into(),
        data: Some(Json(data)),
        ..Default::default()
    }
}

impl World {
    /// Publishes an event under another message's id each time: whether it is the same event is not for the broker to decide.
    async fn publish(&self, event: &CloudEvent) {
        self.bus.publish(event, &MessageId::random()).await.unwrap();
    }

    async fn signal(&self, execution_id: &str, signal: &str, payload: Value) {
        let command = SignalExecution {
            execution_id: execution_id.into(),
            signal: signal.into(),
            payload: Some(Json(payload)),
        };
        self.bus.publish(&command, &MessageId::random()).await.unwrap();
    }

    /// Waits until a task of this name is in the execution's journal.
    async fn begun(&self, id: &str, task: &str) -> ExecutionState {
        eventually(LONG, "the task begins", || async {
            match self.state(id).await {
                Ok(state) if state.tasks.iter().any(|known| known.name == task) => Ok(state),
                other => Err(other),
            }
        })
        .await
    }

    async fn output(&self, id: &str) -> Value {
        let state = self.ended(id).await;
        assert_eq!(state.status, "completed", "{state:?}");
        state.output.unwrap_or_default().0
    }

    /// Waits until nobody is registered for events.
    async fn nobody_listens(&self) {
        let keys = self.bus.kv::<Value>(Bucket::Listeners);
        eventually(LONG, "nobody listens", || async {
            let left = keys.keys("").await.unwrap();
            let left: Vec<_> =
                left.into_iter().filter(|key| !key.starts_with("gathering")).collect();
            if left.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    }
}

/// One that listens for three numbers of a type of its own.
const THREE: &str = "
- hear:
    listen:
      to: {any: [{with: {type: '${ . == $input.type }'}}], until: length == 3}
";

#[tokio::test]
async fn an_event_that_one_execution_tells_is_heard_by_another_and_nobody_holds_a_worker() {
    let world = World::new().await;
    let hear = "- hear: {listen: {to: {one: {with: {type: order.placed, data: '${ .total > 10 }'}}}, read: envelope}}";
    let hear = world.put(&workflow("hear", hear)).await.unwrap();
    let tell = "
- small: {emit: {event: {with: {source: 'https://example.com/shop', type: order.placed, data: {total: 9}}}}}
- large: {emit: {event: {with: {source: 'https://example.com/shop', type: order.placed, roomid: x, data: {total: '${ .data.total + 2 }'}}}}}
";
    let tell = world.put(&workflow("tell", tell)).await.unwrap();
    world.start("h", &hear, Value::Null).await;
    let state = world.begun("h", "hear").await;
    assert_eq!(state.status, "waiting");
    world.start("t", &tell, Value::Null).await;
    let told = world.output("t").await;
    assert_eq!((&told["id"], &told["data"]), (&json!("t/do/1/large"), &json!({"total": 11})));
    assert_eq!(world.output("h").await, json!([told]));
    world.nobody_listens().await;
}

#[tokio::test]
async fn no_event_is_lost_between_the_journal_and_the_index() {
    let world = World::new().await;
    let definition = world
        .put(&workflow(
            "w",
            "
- hear: {listen: {to: {one: {with: {type: '${ . == $input.type }'}}}}}
",
        ))
        .await
        .unwrap();
    for n in 0..25 {
        let (id, kind) = (format!("e{n}"), format!("kind-{n}"));
        world.start(&id, &definition, json!({"type": kind})).await;
        // At once: whether the index has it yet is a matter of luck.
        world.begun(&id, "hear").await;
        world.publish(&event(&kind, "1", json!(n))).await;
    }
    for n in 0..25 {
        assert_eq!(world.output(&format!("e{n}")).await, json!([n]));
    }
}

#[tokio::test]
async fn an_event_that_comes_twice_is_consumed_once_in_the_order_of_publishing() {
    let world = World::new().await;
    let definition = world.put(&workflow("w", THREE)).await.unwrap();
    world.start("e1", &definition, json!({"type": "n"})).await;
    world.begun("e1", "hear").await;
    for n in [1, 1, 2, 1, 2, 3] {
        world.publish(&event("n", n, json!(n))).await;
    }
    assert_eq!(world.output("e1").await, json!([1, 2, 3]));
}

#[tokio::test]
async fn crashes_and_a_second_replica_lose_and_double_no_event() {
    let mut world = World::new().await;
    let _second = serve(&world.nats);
    let definition = world.put(&workflow("w", THREE)).await.unwrap();
    for n in 0..20 {
        let (id, kind) = (format!("e{n}"), format!("kind-{n}"));
        world.start(&id, &definition, json!({"type": kind})).await;
        world.begun(&id, "hear").await;
        for k in 0..3 {
            let event = event(&kind, k, json!(k));
            world.publish(&event).await;
            world.publish(&event).await;
        }
        if n % 5 == 2 {
            world.service.take().unwrap().crash();
            world.service = Some(serve(&world.nats));
        }
    }
    for n in 0..20 {
        assert_eq!(world.output(&format!("e{n}")).await, json!([0, 1, 2]), "{n}");
    }
    world.nobody_listens().await;
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn one_event_is_heard_by_many() {
    let world = World::new().await;
    let definition = world
        .put(&workflow("w", "- hear: {listen: {to: {one: {with: {type: go}}}}}"))
        .await
        .unwrap();
    let all: Vec<String> = (0..200).map(|n| format!("e{n}")).collect();
    for id in &all {
        world.start(id, &definition, Value::Null).await;
    }
    for id in &all {
        world.begun(id, "hear").await;
    }
    world.publish(&event("go", "1", json!("now"))).await;
    for id in &all {
        assert_eq!(world.output(id).await, json!(["now"]), "{id}");
    }
    world.nobody_listens().await;
}

#[tokio::test]
async fn what_ends_otherwise_listens_no_more() {
    let world = World::new().await;
    let tasks = "
- race:
    fork:
      compete: true
      branches:
      - never: {listen: {to: {one: {with: {type: never}}}}}
      - soon: {wait: {milliseconds: 100}}
- late:
    try:
    - never: {listen: {to: {any: []}}, timeout: {after: {milliseconds: 100}}}
    catch: {errors: {with: {status: 408}}}
";
    assert_eq!(world.run(tasks, Value::Null).await.status, "completed");
    world.nobody_listens().await;
}

#[tokio::test]
async fn foreach_does_something_with_each_event() {
    let world = World::new().await;
    let tasks = "
- hear:
    listen: {to: {any: [{with: {type: n}}], until: {one: {with: {type: stop}}}}}
    foreach:
      item: n
      at: i
      do:
      - ask: {call: agent, with: {agent: a, input: '${ $n * 10 + $i }'}}
      output: {as: .echo}
";
    let definition = world.put(&workflow("w", tasks)).await.unwrap();
    world.start("e1", &definition, Value::Null).await;
    world.begun("e1", "hear").await;
    for n in 1..=3 {
        world.publish(&event("n", n, json!(n))).await;
    }
    eventually(LONG, "three are done", || async {
        let state = world.state("e1").await.unwrap();
        let done = state.tasks.iter().filter(|task| task.status == "completed").count();
        if done == 3 { Ok(()) } else { Err(state) }
    })
    .await;
    world.publish(&event("stop", "stop", Value::Null)).await;
    assert_eq!(world.output("e1").await, json!([10, 21, 32]));
}

#[tokio::test]
async fn a_signal_is_heard_by_its_execution_also_where_it_comes_too_early() {
    let world = World::new().await;
    let tasks = "
- first: {listen: {to: {one: {with: {type: first}}}}}
- second: {listen: {to: {one: {with: {type: second}}}}}
- both: {set: {first: '${ $context }', second: '${ . }'}}
";
    let tasks =
        tasks.replace("- second", "- keep: {set: {x: '${ . }'}, export: {as: .x}}\n- second");
    let definition = world.put(&workflow("w", &tasks)).await.unwrap();
    for id in ["e1", "e2"] {
        world.start(id, &definition, Value::Null).await;
        world.begun(id, "first").await;
    }
    world.signal("e1", "second", json!({"n": 2})).await;
    world.signal("e1", "first", Value::Null).await;
    assert_eq!(world.output("e1").await, json!({"first": [null], "second": [{"n": 2}]}));
    assert_eq!(world.state("e2").await.unwrap().status, "waiting");
}

/// A workflow with a schedule, that tells its input.
fn scheduled(version: &str, schedule: &str) -> String {
    format!(
        "document: {{dsl: '1.0.3', namespace: test, name: due, version: '{version}'}}\n{schedule}\ndo:\n- told: {{emit: {{event: {{with: {{source: 'https://example.com/due', type: told, data: '${{ . }}'}}}}}}}}"
    )
}

/// Events of this type so far, with the executions that told them.
async fn told(world: &World) -> Vec<(String, Value)> {
    let mut all = Vec::new();
    let mut after = 0;
    while let Some((position, event)) = world.bus.next_event::<CloudEvent>(after).await.unwrap() {
        after = position;
        if event.r#type == "told" {
            all.push((event.execution_id, event.data.unwrap_or_default().0));
        }
    }
    all
}

async fn told_times(world: &World, count: usize) -> Vec<(String, Value)> {
    eventually(LONG, "executions start by themselves", || async {
        let all = told(world).await;
        if all.len() >= count { Ok(all) } else { Err(all) }
    })
    .await
}

fn different(all: &[(String, Value)]) -> bool {
    let mut ids: Vec<_> = all.iter().map(|(id, _)| id).collect();
    ids.sort();
    ids.dedup();
    ids.len() == all.len()
}

#[tokio::test]
async fn a_workflow_starts_at_its_times_once_over_replicas_and_restarts_until_it_has_no_schedule() {
    let mut world = World::new().await;
    let _second = serve(&world.nats);
    world.put(&scheduled("1.0.0", "schedule: {cron: '* * * * * *'}")).await.unwrap();
    told_times(&world, 1).await;
    world.service.take().unwrap().crash();
    world.service = Some(serve(&world.nats));
    let all = told_times(&world, 3).await;
    assert!(different(&all), "{all:?}");
    assert!(
        all.iter().all(|(id, input)| id.starts_with("due-2") && *input == json!({})),
        "{all:?}"
    );
    // Another kind of schedule takes its place.
    world.put(&scheduled("1.1.0", "schedule: {after: {seconds: 1}}")).await.unwrap();
    let before = told(&world).await.len();
    let all = told_times(&world, before + 2).await;
    assert!(different(&all), "{all:?}");
    // A version without a schedule ends it: what is on its way still comes, and nothing follows.
    world.put(&scheduled("1.2.0", "")).await.unwrap();
    // One that was set meanwhile fires once more, and starts nothing.
    eventually(LONG, "no timer waits", || async {
        let timers = world.bus.timers::<ScheduleFired>(&[]);
        timers.await.unwrap().is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_time_that_is_farther_away_than_timers_can_wait_is_reached_in_steps() {
    let world = World::new().await;
    for (version, schedule) in [("1.0.0", "{every: {days: 30}}"), ("1.1.0", "{after: {days: 30}}")]
    {
        let put = world.put(&scheduled(version, &format!("schedule: {schedule}"))).await.unwrap();
        let request = GetWorkflowRequest { name: "due".into(), ..Default::default() };
        let next = world.bus.request(&request).await.unwrap().next_start;
        let days = (time(next.as_ref()) - Utc::now()).num_hours() / 24;
        assert!((28..=30).contains(&days), "{schedule}: {next:?}");
        let timers = world.bus.timers::<ScheduleFired>(&[("digest", &put.digest)]).await.unwrap();
        assert_eq!(timers.len(), 1, "{schedule}");
        assert!(timers[0].timer.due.is_none() && timers[0].timer.due_later.is_some());
        // The last step leads to the time itself.
        let due_later = now(Utc::now() + TimeDelta::seconds(1));
        let step = ScheduleFired { due_later, ..timers[0].timer.clone() };
        let before = told(&world).await.len();
        world.bus.publish(&step, &MessageId::random()).await.unwrap();
        told_times(&world, before + 1).await;
    }
}

#[tokio::test]
async fn a_removed_workflow_is_not_started_any_more_and_its_name_is_free() {
    let world = World::new().await;
    let get = || GetWorkflowRequest { name: "due".into(), ..Default::default() };
    let delete = || DeleteWorkflowRequest { name: "due".into() };
    assert_eq!(world.bus.request(&delete()).await.unwrap_err().code, Code::NotFound);
    for schedule in ["{every: {hours: 1}}", "{on: {one: {with: {type: a}}}}"] {
        let put = world.put(&scheduled("1.0.0", &format!("schedule: {schedule}"))).await.unwrap();
        assert!(put.created, "{schedule}");
        let is_timed = world.bus.request(&get()).await.unwrap().next_start.is_some();
        assert_eq!(is_timed, schedule.contains("every"), "{schedule}");
        world.bus.request(&delete()).await.unwrap();
        assert_eq!(world.bus.request(&get()).await.unwrap_err().code, Code::NotFound);
        let timers = world.bus.timers::<ScheduleFired>(&[]);
        assert!(timers.await.unwrap().is_empty());
    }
    world.publish(&event("a", "e-1", json!({}))).await;
    assert!(told(&world).await.is_empty());
}

#[tokio::test]
async fn events_start_workflows_with_what_they_wait_for() {
    let world = World::new().await;
    world
        .put(&scheduled("1.0.0", "schedule: {on: {one: {with: {type: a, data: '${ .n > 1 }'}}}}"))
        .await
        .unwrap();
    for n in [1, 2, 2, 3] {
        world.publish(&event("a", n, json!({"n": n}))).await;
    }
    let all = told_times(&world, 2).await;
    let inputs: Vec<_> = all.iter().map(|(_, input)| &input[0]["data"]["n"]).collect();
    assert!(inputs.contains(&&json!(2)) && inputs.contains(&&json!(3)), "{all:?}");
    assert_eq!(all[0].1[0]["source"], json!("https://example.com/tests"));

    let both = "schedule: {on: {all: [{with: {type: a}, correlate: {n: {from: .data.n}}}, {with: {type: b}, correlate: {n: {from: .data.n}}}]}}";
    world.put(&scheduled("2.0.0", both)).await.unwrap();
    for (kind, n) in [("a", 10), ("b", 11), ("b", 10), ("b", 10)] {
        world.publish(&event(kind, format!("{kind}-{n}"), json!({"n": n}))).await;
    }
    let all = told_times(&world, 3).await;
    assert_eq!(all.len(), 3, "{all:?}");
    let data: Vec<_> =
        all[2].1.as_array().unwrap().iter().map(|event| &event["data"]["n"]).collect();
    assert_eq!(data, [&json!(10), &json!(10)]);

    world.put(&scheduled("3.0.0", "")).await.unwrap();
    world.nobody_listens().await;
}

#[tokio::test]
async fn the_specifications_example_of_correlation_listens_as_it_says() {
    let world = World::new().await;
    let tasks = "
- consumeReading:
    listen:
      to:
        all:
        - with: {source: 'https://my.home.com/sensor', type: my.home.sensors.temperature}
          correlate: {roomId: {from: .roomid}}
        - with: {source: 'https://my.home.com/sensor', type: my.home.sensors.humidity}
          correlate: {roomId: {from: .roomid}}
";
    let definition: WorkflowDefinition = world.put(&workflow("w", tasks)).await.unwrap();
    world.start("e1", &definition, Value::Null).await;
    world.begun("e1", "consumeReading").await;
    let reading = |what: &str, room: &str, value: i64| CloudEvent {
        source: "https://my.home.com/sensor".into(),
        extensions: Some(JsonObject::wrap(json!({"roomid": room}))),
        ..event(&format!("my.home.sensors.{what}"), format!("{what}-{room}"), json!(value))
    };
    let mut foreign = reading("temperature", "hall", 1);
    foreign.source = "https://elsewhere.example".into();
    for event in [
        foreign,
        reading("humidity", "bath", 90),
        reading("temperature", "hall", 20),
        reading("temperature", "bath", 23),
    ] {
        world.publish(&event).await;
    }
    assert_eq!(world.output("e1").await, json!([90, 23]));
}
