//! The past of executions: replay, fork, diff, export and import, and the check of a new version.

use muster_bus::{MessageId, Routes};
use muster_contracts::log::v1::{ListRunningRequest, RunningExecutions};
use muster_contracts::workflow::v1::{
    CheckWorkflowRequest, DiffExecutionsRequest, ExecutionForked, ExecutionReplay, ExecutionState,
    ExportExecutionRequest, ForkExecutionRequest, ForkOrigin, GetWorkflowRequest,
    ImportExecutionRequest, ImportedExecution, PutWorkflowRequest, ReplayExecutionRequest,
    StartExecution, WorkflowDefinition,
};
use muster_contracts::{Code, Fault, Json, JsonObject};
use muster_testkit::eventually;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{LONG, THREE_STEPS, World, workflow};

/// The second task asks for what the first one left: `silent` waits for ever.
const ASKS: &str = "
- one: {call: agent, with: {agent: a, input: '${ .said }'}, export: {as: '${ {seen: {echo: .}} }'}, output: {as: '${ .echo }'}}
- two: {call: agent, with: {agent: a, input: '${ . }'}}
- three: {set: {got: '${ .echo }', seen: '${ $context.seen.echo }'}}
";

impl World {
    /// An execution that waits for the answer to its second task.
    async fn asking(&self, id: &str) -> WorkflowDefinition {
        let definition = self.put(&workflow("asks", ASKS)).await.unwrap();
        self.start(id, &definition, json!({"said": "one"})).await;
        self.until_asked(id, "/do/1/two").await;
        definition
    }

    async fn until_asked(&self, id: &str, task: &str) {
        eventually(LONG, "the task runs", || async {
            let state = self.state(id).await?;
            let found = state.tasks.iter().any(|other| other.task == task);
            if found { Ok(()) } else { Err(Fault::new(Code::NotFound, format!("{state:?}"))) }
        })
        .await;
    }

    async fn replay(&self, id: &str, position: u64) -> Result<ExecutionReplay, Fault> {
        self.bus.request(&ReplayExecutionRequest { execution_id: id.into(), position }).await
    }

    async fn fork(
        &self,
        id: &str,
        position: u64,
        new: &str,
        set: Value,
    ) -> Result<ExecutionState, Fault> {
        let request = ForkExecutionRequest {
            execution_id: id.into(),
            position,
            new_execution_id: new.into(),
            set: (!set.is_null()).then(|| JsonObject::wrap(set)),
        };
        self.bus.request(&request).await
    }

    async fn import(&self, file: JsonObject) -> Result<ImportedExecution, Fault> {
        self.bus.request(&ImportExecutionRequest { file: Some(file) }).await
    }

    fn called(&self, id: &str) -> Vec<u32> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|(key, _)| key.starts_with(id)).map(|(_, count)| *count).collect()
    }
}

#[tokio::test]
async fn every_prefix_of_a_journal_is_a_state_and_all_of_it_is_the_live_one() {
    let world = World::new().await;
    let ended = world.run(THREE_STEPS, json!({"n": 41})).await;
    let all = world.replay("e1", 0).await.unwrap();
    assert_eq!((all.position, all.transitions), (3, 3));
    assert_eq!((all.hash.len(), &all.hash), (64, &all.live_hash));
    assert_eq!(all.state, Some(ended));
    let statuses: Vec<(String, usize)> = {
        let mut statuses = Vec::new();
        for position in 1..=3 {
            let replay = world.replay("e1", position).await.unwrap();
            let state = replay.state.unwrap();
            assert_eq!(replay.hash == all.hash, position == 3);
            assert_eq!(replay.live_hash.is_empty(), position != 3);
            statuses.push((state.status, state.tasks.len()));
        }
        statuses
    };
    assert_eq!(statuses, [("running".into(), 1), ("running".into(), 2), ("completed".into(), 3)]);
    assert_eq!(world.called("e1"), [1], "a replay asks nobody");
    let beyond = world.replay("e1", 4).await.unwrap_err();
    assert_eq!(beyond.code, Code::Invalid);
    assert!(beyond.message.contains("has 3 transitions"), "{}", beyond.message);
    assert_eq!(world.replay("e404", 0).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn a_fork_goes_on_with_changed_data_and_its_origin_does_not_notice() {
    let world = World::new().await;
    world.asking("e1").await;
    world.ended("e1").await;
    let fork = world.fork("e1", 2, "e2", json!({"data": "other"})).await.unwrap();
    let origin = fork.fork.unwrap();
    assert_eq!((origin.execution_id.as_str(), origin.position), ("e1", 2));
    let ended = world.ended("e2").await;
    assert_eq!(ended.output, Some(Json(json!({"got": "other", "seen": "one"}))), "{ended:?}");
    assert_eq!(
        world.state("e1").await.unwrap().output,
        Some(Json(json!({"got": "one", "seen": "one"})))
    );
    // Only the task that begins again was asked, once for each execution.
    assert_eq!((world.called("e1"), world.called("e2")), (vec![1, 1], vec![1]));
    // The same request again changes nothing; another one may not have the id.
    let again = world.fork("e1", 2, "e2", json!({"data": "other"})).await.unwrap();
    assert_eq!(again.output, ended.output);
    let taken = world.fork("e1", 2, "e2", json!({"data": "third"})).await.unwrap_err();
    assert_eq!((taken.code, taken.message.contains("choose another id")), (Code::Conflict, true));
    assert_eq!(world.fork("e1", 1, "e1", Value::Null).await.unwrap_err().code, Code::Conflict);
    assert_eq!(world.called("e2"), [1]);
    let (_, told) = eventually(LONG, "the fork is told", || async {
        world.bus.latest(&ExecutionForked::default()).await.unwrap()
    })
    .await;
    assert_eq!((told.execution_id, told.origin, told.position), ("e2".into(), "e1".into(), 2));
}

#[tokio::test]
async fn a_fork_without_changes_asks_anew_what_was_in_flight_and_a_changed_context_is_seen() {
    let world = World::new().await;
    world.asking("e1").await;
    world.fork("e1", 1, "e2", Value::Null).await.unwrap();
    let ended = world.ended("e2").await;
    assert_eq!(ended.output, Some(Json(json!({"got": "one", "seen": "one"}))), "{ended:?}");
    assert_eq!(world.called("e2"), [1, 1]);
    let set = json!({"context": {"seen": {"echo": "changed"}}});
    world.fork("e1", 2, "e3", set).await.unwrap();
    let ended = world.ended("e3").await;
    assert_eq!(ended.output, Some(Json(json!({"got": "one", "seen": "changed"}))), "{ended:?}");
    // A fork has the transitions of its origin as its own, and can be forked at each of them.
    world.fork("e3", 1, "e4", Value::Null).await.unwrap();
    let ended = world.ended("e4").await;
    assert_eq!(ended.output, Some(Json(json!({"got": "one", "seen": "one"}))), "{ended:?}");
}

#[tokio::test]
async fn what_cannot_be_forked_is_refused_with_what_would_be_right() {
    let world = World::new().await;
    world.run(THREE_STEPS, json!({"n": 1})).await;
    let check = async |position, set, expected: &str| {
        let fault = world.fork("e1", position, "e2", set).await.unwrap_err();
        assert_eq!(fault.code, Code::Invalid);
        assert!(fault.message.contains(expected), "{}", fault.message);
    };
    check(0, Value::Null, "fork from an earlier position").await;
    check(9, Value::Null, "has 3 transitions").await;
    check(1, json!({"date": 1}), "`context`, `data` and `task`").await;
    check(1, json!({"data": 1, "task": "/do/9"}), "/do/0/one").await;
    let unknown = world.fork("e404", 0, "e2", Value::Null).await.unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
    assert_eq!(world.state("e2").await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn a_fork_whose_process_ended_in_the_middle_is_finished_by_another_one() {
    let world = World::new().await;
    let definition = world.asking("e1").await;
    // As the process leaves it that ends behind the command.
    let command = StartExecution {
        execution_id: "e2".into(),
        workflow: definition.name.clone(),
        version: definition.version.clone(),
        digest: definition.digest.clone(),
        fork: Some(ForkOrigin { execution_id: "e1".into(), position: 1, set: None }),
        ..Default::default()
    };
    world.bus.publish(&command, &MessageId::derived(["fork of e1"])).await.unwrap();
    assert_eq!(world.ended("e2").await.status, "completed");
    assert_eq!(world.called("e2"), [1, 1]);
}

#[tokio::test]
async fn two_executions_are_compared_task_by_task() {
    let world = World::new().await;
    world.asking("e1").await;
    world.ended("e1").await;
    world.fork("e1", 2, "e2", json!({"data": "other"})).await.unwrap();
    world.ended("e2").await;
    let diff = async |left: &str, right: &str| {
        let request = DiffExecutionsRequest { left: left.into(), right: right.into() };
        world.bus.request(&request).await.unwrap()
    };
    let compared = diff("e1", "e2").await;
    assert_eq!((compared.parted_at, compared.same), (3, 1), "{compared:?}");
    let tasks: Vec<_> =
        compared.tasks.iter().map(|task| (task.task.as_str(), task.difference.as_str())).collect();
    assert_eq!(
        tasks,
        [("/do/1/two", "status"), ("/do/2/three", "output"), ("/do/1/two@2", "only_right")]
    );
    let three = &compared.tasks[1];
    assert_eq!(three.left, Some(Json(json!({"got": "one", "seen": "one"}))));
    assert_eq!(three.right, Some(Json(json!({"got": "other", "seen": "one"}))));
    let same = diff("e1", "e1").await;
    assert_eq!((same.parted_at, same.same, same.tasks.len()), (0, 3, 0));
}

#[tokio::test]
async fn an_execution_goes_to_another_platform_as_a_file_and_goes_on_there_as_a_fork() {
    let (here, there) = (World::new().await, World::new().await);
    here.asking("e1").await;
    here.ended("e1").await;
    let export = ExportExecutionRequest { execution_id: "e1".into() };
    let file = here.bus.request(&export).await.unwrap().file.unwrap();
    assert_eq!(file["format"], "muster-execution/1");
    let imported = there.import(file.clone()).await.unwrap();
    assert!(imported.created);
    assert_eq!(imported.state, Some(here.state("e1").await.unwrap()));
    assert_eq!(there.replay("e1", 0).await.unwrap().hash, file["hash"]);
    assert!(!there.import(file.clone()).await.unwrap().created, "a second time changes nothing");
    assert!(there.called("e1").is_empty(), "an import asks nobody");
    let again = there.bus.request(&export).await.unwrap().file.unwrap();
    assert_eq!(again, file);
    there.fork("e1", 1, "e2", Value::Null).await.unwrap();
    assert_eq!(there.ended("e2").await.status, "completed");

    let check = async |change: &dyn Fn(&mut Value), code, expected: &str| {
        let mut file = file.clone().into_value();
        change(&mut file);
        let fault = there.import(JsonObject::wrap(file)).await.unwrap_err();
        assert_eq!(fault.code, code, "{}", fault.message);
        assert!(fault.message.contains(expected), "{}", fault.message);
    };
    check(&|file| file["format"] = json!("other/1"), Code::Invalid, "muster-execution/1").await;
    check(
        &|file| file["transitions"][1]["facts"] = json!([]),
        Code::Invalid,
        "transition 2 has no `facts`",
    )
    .await;
    check(
        &|file| {
            file["execution_id"] = json!("e3");
            file["transitions"][1]["input_id"] = file["transitions"][0]["input_id"].clone();
        },
        Code::Invalid,
        "the `input_id` of transition 2 is that of an earlier one",
    )
    .await;
    check(
        &|file| file["transitions"][1]["input_id"] = json!("x".repeat(1025)),
        Code::Invalid,
        "the `input_id` of transition 2 has 1025 bytes, but must have 1 to 1024",
    )
    .await;
    let known = there.state("e3").await.unwrap_err();
    assert_eq!(known.code, Code::NotFound, "nothing of a refused file is kept");
    check(
        &|file| file["definition"]["do"][2]["three"]["set"] = json!({"x": 1}),
        Code::Invalid,
        "`digest`",
    )
    .await;
    check(
        &|file| file["transitions"][0]["input_id"] = json!("x"),
        Code::Conflict,
        "other contents",
    )
    .await;
}

async fn running(
    ids: Vec<String>,
    request: ListRunningRequest,
) -> Result<RunningExecutions, Fault> {
    let execution_ids = if request.workflow == "asks" { ids } else { Vec::new() };
    Ok(RunningExecutions { execution_ids, next_after: 0 })
}

/// A world with an execution that runs on version 1.0.0 of `asks`, the tasks of that, and a log that knows of it.
async fn running_on_one() -> (World, String, DropGuard) {
    let world = World::new().await;
    let stop = CancellationToken::new();
    let guard = stop.clone().drop_guard();
    let ids = vec!["e1".to_owned(), "ended".to_owned(), "gone".to_owned()];
    tokio::spawn({
        let bus = world.bus.clone();
        async move { Routes::new(ids).rpc(running).serve(&bus, stop).await }
    });
    let tasks = ASKS.replace("input: '${ . }'", "input: silent");
    let definition = world.put(&workflow("asks", &tasks)).await.unwrap();
    world.start("e1", &definition, json!({"said": "one"})).await;
    world.until_asked("e1", "/do/1/two").await;
    (world, tasks, guard)
}

#[tokio::test]
async fn a_new_version_is_checked_against_what_runs() {
    let (world, tasks, _stop) = running_on_one().await;
    let quick = world.put(&workflow("quick", "- one: {set: {a: 1}}")).await.unwrap();
    world.start("ended", &quick, Value::Null).await;
    world.ended("ended").await;
    let check = async |tasks: &str| {
        let source = workflow("asks", tasks).replace("'1.0.0'", "'1.1.0'");
        eventually(LONG, "the peer answers", || async {
            world.bus.request(&CheckWorkflowRequest { source: source.clone() }).await
        })
        .await
    };
    let later = check(&tasks.replace("three: {set: {", "three: {set: {new: 1, ")).await;
    assert_eq!((later.version.as_str(), later.default_version.as_str()), ("1.1.0", "1.0.0"));
    let [e1] = later.executions.as_slice() else { panic!("{later:?}") };
    assert_eq!(
        (e1.execution_id.as_str(), e1.status.as_str(), e1.transitions),
        ("e1", "running", 2)
    );
    assert_eq!(e1.differences, []);
    let asked = check(&tasks.replace("input: silent", "input: loud")).await;
    let differences = &asked.executions[0].differences;
    let kinds: Vec<_> = differences.iter().map(|found| found.difference.as_str()).collect();
    assert_eq!(kinds, ["decision", "changed"], "{differences:?}");
    let first = &differences[0];
    assert_eq!(
        (first.position, first.task.as_str(), first.pointer.as_str()),
        (2, "/do/1/two", "/do/1/two")
    );
    assert!(first.old_decision.contains("silent"), "{first:?}");
    assert!(first.new_decision.contains("loud"), "{first:?}");
    assert_eq!((asked.checked, asked.unchecked), (1, 0));
    // The documents differ in what has begun, but decide alike.
    let alike = check(&tasks.replace("input: silent", "input: '${ \"silent\" }'")).await;
    assert_eq!(alike.executions[0].differences, []);
    // Nothing was registered by it.
    assert_eq!(world.put(&workflow("asks", &tasks)).await.unwrap().version, "1.0.0");
    assert_eq!(check(&tasks).await.default_version, "1.0.0");
}

#[tokio::test]
async fn a_new_version_is_registered_with_what_it_would_change_and_refused_where_nothing_may() {
    let (world, tasks, _stop) = running_on_one().await;
    let default = async || {
        let request = GetWorkflowRequest { name: "asks".into(), ..Default::default() };
        world.bus.request(&request).await.unwrap().version
    };
    let put = async |tasks: &str, version: &str, strict| {
        let source = workflow("asks", tasks).replace("'1.0.0'", &format!("'{version}'"));
        world.bus.request(&PutWorkflowRequest { source, strict }).await
    };
    let other = tasks.replace("input: silent", "input: loud");
    let refused = eventually(LONG, "the peer answers", || async {
        match put(&other, "1.1.0", true).await {
            Err(fault) if fault.code == Code::Unavailable => Err(fault),
            answer => Ok(answer),
        }
    });
    let refused = refused.await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.message.contains("of 1 executions that run, 1 would have"), "{refused}");
    assert_eq!(refused.details["check"]["executions"][0]["execution_id"], "e1");
    assert_eq!(default().await, "1.0.0");
    // Without it, it is registered, and what differs is told.
    let told = put(&other, "1.1.0", false).await.unwrap();
    let found = told.check.unwrap();
    assert_eq!((told.version.as_str(), found.checked), ("1.1.0", 1));
    assert_eq!(found.executions[0].differences[0].difference, "decision");
    assert_eq!(put(&other, "1.1.0", true).await.unwrap().check, None, "it is there already");
    // What makes no difference passes, and lists nothing.
    let alike = tasks.replace("three: {set: {", "three: {set: {new: 1, ");
    let passed = put(&alike, "1.2.0", true).await.unwrap().check.unwrap();
    assert_eq!((passed.default_version.as_str(), passed.checked), ("1.1.0", 1));
    assert_eq!(passed.executions, []);
}

#[tokio::test]
async fn a_version_is_registered_where_nobody_knows_what_runs_unless_that_is_to_be_known() {
    let world = World::new().await;
    let put = async |version: &str, strict| {
        let source = workflow("quick", "- one: {set: {a: 1}}");
        let source = source.replace("'1.0.0'", &format!("'{version}'"));
        world.bus.request(&PutWorkflowRequest { source, strict }).await
    };
    assert_eq!(put("1.0.0", true).await.unwrap().check, None, "it replaces nothing");
    let refused = put("1.1.0", true).await.unwrap_err();
    assert_eq!(refused.code, Code::Unavailable, "{refused}");
    let told = put("1.1.0", false).await.unwrap().check.unwrap();
    assert!(!told.failure.is_empty(), "{told:?}");
    let unknown = async |name: &str, version: &str| {
        let (name, version) = (name.to_owned(), version.to_owned());
        let request = GetWorkflowRequest { name, version, brief: true };
        world.bus.request(&request).await.unwrap_err().message
    };
    assert!(unknown("qick", "").await.contains("is \"quick\" meant?"));
    assert!(unknown("quick", "9.9.9").await.contains("its newest version is \"1.1.0\""));
}
