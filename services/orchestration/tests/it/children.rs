//! Workflows that run workflows.

use muster_contracts::workflow::v1::ExecutionState;
use muster_contracts::{Code, Json};
use muster_testkit::eventually;
use serde_json::{Value, json};

use crate::{LONG, World, serve, workflow};

/// Registers a workflow with these tasks.
async fn register(world: &World, name: &str, tasks: &str) {
    world.put(&workflow(name, tasks)).await.unwrap();
}

fn child_of(state: &ExecutionState) -> String {
    state
        .tasks
        .iter()
        .map(|task| task.child_execution_id.clone())
        .find(|id| !id.is_empty())
        .unwrap()
}

#[tokio::test]
async fn a_workflow_runs_another_and_gets_its_output() {
    let world = World::new().await;
    let answer = "- ask: {call: agent, with: {agent: a, input: '${ .n }'}}";
    register(&world, "sub", answer).await;
    let tasks = "
- sub: {run: {workflow: {namespace: test, name: sub, version: latest, input: {n: '${ .n + 1 }'}}}}
- told: {set: {echo: '${ .echo }'}}
";
    let state = world.run(tasks, json!({"n": 1})).await;
    assert_eq!(state.output, Some(Json(json!({"echo": 2}))), "{state:?}");
    let child = world.ended(&child_of(&state)).await;
    let parent = child.parent.unwrap();
    assert_eq!(
        (parent.execution_id.as_str(), parent.task.as_str(), parent.depth, parent.detached),
        ("e1", "/do/0/sub", 1, false)
    );
    assert_eq!(child.input, Some(Json(json!({"n": 2}))));
}

#[tokio::test]
async fn the_error_of_a_child_is_caught_by_its_parent() {
    let world = World::new().await;
    register(
        &world,
        "sub",
        "- no: {raise: {error: {type: 'https://e.com/no', status: 409, title: No}}}",
    )
    .await;
    let tasks = "
- careful:
    try:
    - sub: {run: {workflow: {namespace: test, name: sub, version: 1.0.0}}}
    catch:
      errors: {with: {status: 409}}
      do:
      - told: {set: {title: '${ $error.title }', at: '${ $error.instance }'}}
";
    let state = world.run(tasks, Value::Null).await;
    let expected = json!({"title": "No", "at": "/do/0/careful/try/0/sub"});
    assert_eq!(state.output, Some(Json(expected)), "{state:?}");
}

#[tokio::test]
async fn a_task_that_times_out_cancels_its_child() {
    let world = World::new().await;
    register(&world, "sub", "- nap: {wait: {hours: 1}}").await;
    let tasks = "
- sub:
    run: {workflow: {namespace: test, name: sub, version: latest}}
    timeout: {after: {milliseconds: 300}}
";
    let state = world.run(tasks, Value::Null).await;
    assert_eq!(state.error.as_ref().unwrap()["status"], json!(408), "{state:?}");
    let child = child_of(&state);
    eventually(LONG, "the child is cancelled", || async {
        let state = world.state(&child).await;
        match state {
            Ok(state) if state.status == "cancelled" => Ok(()),
            other => Err(other),
        }
    })
    .await;
}

#[tokio::test]
async fn a_workflow_that_is_not_awaited_goes_on_alone() {
    let world = World::new().await;
    register(&world, "sub", "- nap: {wait: {milliseconds: 300}}\n- done: {set: {done: true}}")
        .await;
    let tasks = "
- sub: {run: {workflow: {namespace: test, name: sub, version: latest}, await: false}}
";
    let state = world.run(tasks, json!({"n": 1})).await;
    assert_eq!(state.output, Some(Json(json!({"n": 1}))));
    let child = eventually(LONG, "the child ends", || async {
        match world.state(&child_of(&state)).await {
            Ok(child) if child.status == "completed" => Ok(child),
            other => Err(other),
        }
    })
    .await;
    assert!(child.parent.unwrap().detached);
}

#[tokio::test]
async fn a_workflow_that_runs_itself_ends_at_the_limit() {
    let world = World::new().await;
    let tasks = "
- again: {run: {workflow: {namespace: test, name: w, version: latest}}}
";
    let state = world.run(tasks, Value::Null).await;
    let detail = state.error.as_ref().unwrap()["detail"].clone();
    assert!(detail.as_str().unwrap().contains("more than 20 deep"), "{detail}");
}

#[tokio::test]
async fn a_workflow_that_is_not_registered_is_refused_and_faults_where_its_name_is_computed() {
    let world = World::new().await;
    let named = "- sub: {run: {workflow: {namespace: test, name: nobody, version: latest}}}";
    let fault = world.put(&workflow("w", named)).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(fault.message.contains("/do/0/sub runs the workflow test/nobody:latest"), "{fault:?}");

    let computed =
        "- sub: {run: {workflow: {namespace: test, name: '${ .name }', version: latest}}}";
    let state = world.run(computed, json!({"name": "nobody"})).await;
    let error = state.error.unwrap();
    let kind = error["type"].as_str().unwrap();
    assert!(kind.ends_with("/configuration"), "{error:?}");
    assert_eq!(error["instance"], json!("/do/0/sub"));
}

#[tokio::test]
async fn a_fan_out_of_children_loses_and_doubles_none_of_them() {
    let world = World::new().await;
    register(&world, "sub", "- ask: {call: agent, with: {agent: a, input: '${ .n }'}}").await;
    let branches: String = (0..20)
        .map(|n| {
            format!(
                "      - b{n}: {{run: {{workflow: {{namespace: test, name: sub, version: latest, input: {{n: {n}}}}}}}}}\n"
            )
        })
        .collect();
    let state =
        world.run(&format!("- all:\n    fork:\n      branches:\n{branches}"), Value::Null).await;
    let expected: Vec<Value> = (0..20).map(|n| json!({"echo": n})).collect();
    assert_eq!(state.output, Some(Json(Value::Array(expected))), "{state:?}");
    let calls = world.calls.lock().unwrap().clone();
    assert_eq!((calls.len(), calls.values().max()), (20, Some(&1)));
}

#[tokio::test]
async fn a_crash_at_any_moment_loses_and_doubles_no_child() {
    let mut world = World::new().await;
    register(&world, "sub", "- ask: {call: agent, with: {agent: a, input: '${ .n }'}}").await;
    let tasks = "
- one: {run: {workflow: {namespace: test, name: sub, version: latest, input: {n: '${ .n }'}}}}
- two: {run: {workflow: {namespace: test, name: sub, version: latest, input: {n: '${ .echo + 100 }'}}}}
";
    let definition = world.put(&workflow("w", tasks)).await.unwrap();
    for n in 0..24 {
        world.start(&format!("e{n}"), &definition, json!({ "n": n })).await;
        if n % 8 == 4 {
            world.service.take().unwrap().crash();
            world.service = Some(serve(&world.nats));
        }
    }
    for n in 0..24 {
        let state = world.ended(&format!("e{n}")).await;
        assert_eq!(state.output, Some(Json(json!({ "echo": n + 100 }))), "{state:?}");
    }
    let calls = world.calls.lock().unwrap().clone();
    assert_eq!((calls.len(), calls.values().max()), (48, Some(&1)));
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}

/// The state of an execution when it has ended, whichever way, after it was let go on.
async fn completed(world: &World, id: &str) -> ExecutionState {
    eventually(LONG, "the execution completes", || async {
        match world.state(id).await {
            Ok(state) if state.status == "completed" => Ok(state),
            other => Err(other),
        }
    })
    .await
}

#[tokio::test]
async fn a_retry_of_a_parent_lets_its_children_go_on_where_they_failed_at_every_depth() {
    let world = World::new().await;
    let deep = "
- done: {call: agent, with: {agent: a, input: once}}
- fails: {call: agent, with: {agent: a, input: fail first}}
";
    register(&world, "deep", deep).await;
    let sub = "
- before: {call: agent, with: {agent: a, input: before}}
- deep: {run: {workflow: {namespace: test, name: deep, version: latest}}}
";
    register(&world, "sub", sub).await;
    let tasks = "
- both:
    fork:
      branches:
      - sub: {run: {workflow: {namespace: test, name: sub, version: latest}}}
      - nap: {run: {workflow: {namespace: test, name: slow, version: latest}}}
";
    let slow = "
- asked: {call: agent, with: {agent: a, input: slow}}
- nap: {wait: {seconds: 3}}
";
    register(&world, "slow", slow).await;
    let state = world.run(tasks, Value::Null).await;
    assert_eq!(state.status, "faulted", "{state:?}");
    let children: Vec<String> =
        state.tasks.iter().map(|task| task.child_execution_id.clone()).collect();
    world.retry("e1").await.unwrap();
    let state = completed(&world, "e1").await;
    let output = state.output.clone().unwrap_or_default().0;
    assert_eq!(output[0], json!({"echo": "fail first"}), "{state:?}");
    // The same children went on, also the one that the fault had stopped.
    assert!(
        state.tasks.iter().all(|task| children.contains(&task.child_execution_id)),
        "{state:?}"
    );
    // Each call was made once, but for the one that had failed.
    let calls = world.calls.lock().unwrap().clone();
    assert_eq!((calls.len(), calls.values().max()), (5, Some(&1)), "{calls:?}");
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_child_that_was_retried_by_itself_gives_its_output_to_the_parents_retry() {
    let world = World::new().await;
    register(&world, "sub", "- ask: {call: agent, with: {agent: a, input: fail first}}").await;
    let tasks = "
- sub: {run: {workflow: {namespace: test, name: sub, version: latest}}}
- told: {set: {got: '${ .echo }'}}
";
    let state = world.run(tasks, Value::Null).await;
    assert_eq!(state.status, "faulted", "{state:?}");
    let child = child_of(&state);
    world.retry(&child).await.unwrap();
    completed(&world, &child).await;
    assert_eq!(world.state("e1").await.unwrap().status, "faulted");
    world.retry("e1").await.unwrap();
    let state = completed(&world, "e1").await;
    assert_eq!(state.output, Some(Json(json!({"got": "fail first"}))), "{state:?}");
    let calls = world.calls.lock().unwrap().clone();
    assert_eq!((calls.len(), calls.values().max()), (2, Some(&1)), "{calls:?}");
}

#[tokio::test]
async fn a_child_that_fails_again_and_again_fails_its_parent_each_time() {
    let world = World::new().await;
    register(&world, "sub", "- ask: {call: agent, with: {agent: a, input: fail}}").await;
    let tasks = "- sub: {run: {workflow: {namespace: test, name: sub, version: latest}}}";
    let child = child_of(&world.run(tasks, Value::Null).await);
    for attempt in 2..5 {
        world.retry("e1").await.unwrap();
        eventually(LONG, "the parent has faulted again", || async {
            let (parent, child) =
                (world.state("e1").await.unwrap(), world.state(&child).await.unwrap());
            let tries = child.tasks.len();
            match (parent.status.as_str(), child.status.as_str()) {
                ("faulted", "faulted") if tries == attempt => Ok(()),
                other => Err(format!("{other:?} after {tries}")),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn retries_at_the_same_time_start_no_child_anew() {
    let world = World::new().await;
    let sub = "
- done: {call: agent, with: {agent: a, input: once}}
- fails: {call: agent, with: {agent: a, input: fail}}
";
    register(&world, "sub", sub).await;
    let tasks = "- sub: {run: {workflow: {namespace: test, name: sub, version: latest}}}";
    let child = child_of(&world.run(tasks, Value::Null).await);
    for _ in 0..4 {
        // All but the first may find that it goes on already.
        let told = futures::future::join_all((0..16).map(|_| world.retry("e1"))).await;
        assert!(told.iter().any(Result::is_ok), "{told:?}");
        let state = eventually(LONG, "the parent has faulted again", || async {
            match world.state("e1").await.unwrap() {
                state if state.status == "faulted" => Ok(state),
                state => Err(state),
            }
        })
        .await;
        let other = state.tasks.iter().find(|task| task.child_execution_id != child);
        assert_eq!(other, None, "{state:?}");
    }
}
