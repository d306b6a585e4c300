//! Going on from the task that failed.

use muster_workflow::{
    Changes, Effect, Error, ErrorType, Execution, Fact, Fork, Input, Parent, Status, TaskStatus,
    effects,
};
use serde_json::{Value, json};

use crate::driver::{Driver, definition, document};

fn broken() -> Error {
    Error::new(ErrorType::Communication, "broken")
}

#[track_caller]
fn retry(driver: &mut Driver) {
    assert_eq!(driver.status(), Status::Faulted);
    assert!(driver.execution.is_retriable());
    assert!(driver.input(&Input::Retry));
    assert_ne!(driver.status(), Status::Faulted, "{:?}", driver.execution.error());
}

#[test]
fn the_failed_task_begins_anew_with_its_old_input_and_what_completed_stays_done() {
    let mut driver = Driver::start(
        "
        - one: {call: tool, with: {tool: t, arguments: {n: '${ .n }'}}}
        - two: {call: tool, with: {tool: t, arguments: {got: '${ .got }'}}}
        - three: {set: {all: '${ .end }'}}
        ",
        json!({"n": 1}),
    );
    driver.complete("/do/0/one", json!({"got": 7}));
    driver.fail("/do/1/two", broken());
    retry(&mut driver);
    assert_eq!(driver.called(), ["/do/1/two@2"]);
    assert_eq!(driver.calls[0].2["arguments"], json!({"got": 7}));
    driver.complete("/do/1/two@2", json!({"end": 9}));
    assert_eq!(*driver.output(), json!({"all": 9}));
    let statuses: Vec<_> =
        driver.execution.tasks().map(|task| (task.task.to_owned(), task.status)).collect();
    assert_eq!(
        statuses,
        [
            ("/do/0/one".to_owned(), TaskStatus::Completed),
            ("/do/1/two".to_owned(), TaskStatus::Faulted),
            ("/do/1/two@2".to_owned(), TaskStatus::Completed),
            ("/do/2/three".to_owned(), TaskStatus::Completed),
        ]
    );
    assert!(driver.told.contains(&Effect::Retried));
    assert!(driver.execution.error().is_none());
}

#[test]
fn it_can_fail_and_go_on_again_and_again() {
    let mut driver = Driver::start("- a: {call: tool, with: {tool: t}}", Value::Null);
    driver.fail("/do/0/a", broken());
    for attempt in 2..5 {
        retry(&mut driver);
        driver.fail(&format!("/do/0/a@{attempt}"), broken());
    }
    retry(&mut driver);
    driver.complete("/do/0/a@5", json!("well"));
    assert_eq!(*driver.output(), json!("well"));
}

#[test]
fn branches_that_the_fault_stopped_begin_anew_and_those_that_had_ended_do_not() {
    let mut driver = Driver::start(
        "
        - all:
            fork:
              branches:
                - a: {call: tool, with: {tool: a}}
                - b:
                    do:
                      - first: {call: tool, with: {tool: b}}
                      - second: {call: tool, with: {tool: b}}
                - c: {call: tool, with: {tool: c}}
        ",
        Value::Null,
    );
    let branch = |rest: &str| format!("/do/0/all/fork/branches/{rest}");
    driver.complete(&branch("0/a"), json!("a"));
    driver.complete(&branch("1/b/do/0/first"), json!("b1"));
    driver.fail(&branch("2/c"), broken());
    assert!(driver.calls.is_empty());
    retry(&mut driver);
    assert_eq!(driver.called(), [branch("2/c@2"), branch("1/b/do/1/second@2")]);
    driver.complete(&branch("2/c@2"), json!("c"));
    driver.complete(&branch("1/b/do/1/second@2"), json!("b2"));
    assert_eq!(*driver.output(), json!(["a", "b2", "c"]));
}

#[test]
fn a_race_that_all_lost_is_run_again() {
    let mut driver = Driver::start(
        "
        - race:
            fork:
              compete: true
              branches:
                - a: {call: tool, with: {tool: a}}
                - b: {call: tool, with: {tool: b}}
        ",
        Value::Null,
    );
    let branch = |rest: &str| format!("/do/0/race/fork/branches/{rest}");
    driver.fail(&branch("0/a"), broken());
    driver.fail(&branch("1/b"), broken());
    retry(&mut driver);
    driver.fail(&branch("0/a@2"), broken());
    assert_eq!(driver.status(), Status::Running, "one may still win");
    driver.complete(&branch("1/b@2"), json!("b"));
    assert_eq!(*driver.output(), json!("b"));
}

#[test]
fn a_loop_goes_on_in_the_iteration_that_failed() {
    let mut driver = Driver::start(
        "
        - each:
            for: {in: '${ .items }'}
            do:
              - call: {call: tool, with: {tool: t, arguments: {item: '${ $item }', so: '${ .so }'}}}
        ",
        json!({"items": ["x", "y", "z"], "so": 0}),
    );
    driver.complete("/do/0/each[0]/do/0/call", json!({"so": 1}));
    driver.fail("/do/0/each[1]/do/0/call", broken());
    retry(&mut driver);
    assert_eq!(driver.called(), ["/do/0/each[1]/do/0/call@2"]);
    assert_eq!(driver.calls[0].2["arguments"], json!({"item": "y", "so": 1}));
    driver.complete("/do/0/each[1]/do/0/call@2", json!({"so": 2}));
    driver.complete("/do/0/each[2]/do/0/call", json!({"so": 3}));
    assert_eq!(*driver.output(), json!({"so": 3}));
}

#[test]
fn a_catch_that_failed_goes_on_with_its_error_and_a_pause_is_not_waited_for() {
    let mut driver = Driver::start(
        "
        - tried:
            try:
              - a: {call: tool, with: {tool: t}}
            catch:
              as: oops
              do:
                - mend: {call: tool, with: {tool: t, arguments: {why: '${ $oops.detail }'}}}
        ",
        Value::Null,
    );
    driver.fail("/do/0/tried/try/0/a", broken());
    driver.fail("/do/0/tried/do/0/mend", broken());
    retry(&mut driver);
    assert_eq!(driver.called(), ["/do/0/tried/do/0/mend@2"]);
    assert_eq!(driver.calls[0].2["arguments"], json!({"why": "broken"}));

    let mut driver = Driver::start(
        "
        - both:
            fork:
              branches:
                - patient:
                    try:
                      - a: {call: tool, with: {tool: t}}
                    catch: {retry: {delay: PT1H, limit: {attempt: {count: 5}}}}
                - other: {call: tool, with: {tool: t}}
        ",
        Value::Null,
    );
    let branch = |rest: &str| format!("/do/0/both/fork/branches/{rest}");
    driver.fail(&branch("0/patient/try/0/a"), broken());
    assert_eq!(driver.timers.len(), 1);
    driver.fail(&branch("1/other"), broken());
    assert!(driver.timers.is_empty());
    retry(&mut driver);
    assert_eq!(driver.called(), [branch("0/patient/try/0/a@2"), branch("1/other@2")]);
}

#[test]
fn time_limits_begin_anew_under_names_of_their_own() {
    let mut driver = Driver::start_document(
        "
document: {dsl: '1.0.3', namespace: tests, name: example, version: '1.0.0'}
timeout: {after: PT1M}
do:
- slow:
    timeout: {after: PT10S}
    do:
    - a: {call: tool, with: {tool: t}}
",
        Value::Null,
    );
    let names = |driver: &Driver| {
        let mut names: Vec<_> = driver.timers.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&driver), ["#timeout", "/do/0/slow#timeout"]);
    assert_eq!(driver.fire(), "/do/0/slow#timeout");
    assert_eq!(driver.error().status, 408);
    assert!(driver.calls.is_empty());
    retry(&mut driver);
    assert_eq!(names(&driver), ["#timeout+1", "/do/0/slow#timeout+1"]);
    assert_eq!(driver.called(), ["/do/0/slow/do/0/a@2"]);
    assert!(!driver.input(&Input::TimerFired { timer: "/do/0/slow#timeout".to_owned() }));
    driver.complete("/do/0/slow/do/0/a@2", json!(1));
    assert_eq!(*driver.output(), json!(1));
    assert!(driver.timers.is_empty());
}

#[test]
fn a_wait_that_was_stopped_waits_anew_and_the_context_stays() {
    let mut driver = Driver::start(
        "
        - set: {set: {x: 1}, export: {as: '${ {kept: .x} }'}}
        - both:
            fork:
              branches:
                - nap: {wait: PT5S}
                - fails: {call: tool, with: {tool: t}}
        ",
        Value::Null,
    );
    driver.fail("/do/1/both/fork/branches/1/fails", broken());
    retry(&mut driver);
    assert_eq!(driver.timers.len(), 1);
    assert_eq!(*driver.execution.context(), json!({"kept": 1}));
}

#[test]
fn a_task_that_cannot_succeed_faults_again_at_once() {
    let mut driver = Driver::start("- bad: {set: {x: '${ .n.x }'}}", json!({"n": 0}));
    assert_eq!(driver.status(), Status::Faulted);
    assert!(driver.input(&Input::Retry));
    assert_eq!(driver.status(), Status::Faulted);
    assert_eq!(driver.execution.tasks().count(), 2);
}

#[test]
fn what_no_task_failed_or_has_not_faulted_cannot_be_retried() {
    let text = "
document: {dsl: '1.0.3', namespace: tests, name: example, version: '1.0.0'}
output: {as: '${ error }'}
do:
- a: {set: {x: 1}}
";
    let mut driver = Driver::start_document(text, Value::Null);
    assert_eq!(driver.status(), Status::Faulted);
    assert!(!driver.execution.is_retriable() && !driver.input(&Input::Retry));
    let mut driver = Driver::start("- a: {call: tool, with: {tool: t}}", Value::Null);
    assert!(!driver.input(&Input::Retry));
    driver.input(&Input::Cancel { reason: String::new() });
    assert!(!driver.input(&Input::Retry));
}

#[test]
fn errors_that_were_dealt_with_are_not_retried() {
    let mut driver = Driver::start(
        "
        - tried:
            try:
              - a: {call: tool, with: {tool: t}}
            catch: {}
        - race:
            fork:
              compete: true
              branches:
                - b: {call: tool, with: {tool: t}}
                - c: {call: tool, with: {tool: t}}
        - last: {call: tool, with: {tool: t}}
        ",
        Value::Null,
    );
    driver.fail("/do/0/tried/try/0/a", broken());
    driver.complete("/do/1/race/fork/branches/0/b", json!(1));
    driver.fail("/do/2/last", broken());
    retry(&mut driver);
    assert_eq!(driver.called(), ["/do/2/last@2"]);
}

#[test]
fn a_faulted_state_and_a_retried_one_survive_a_snapshot_and_a_replay() {
    let mut driver = Driver::start(
        "
        - all:
            fork:
              branches:
                - a: {call: tool, with: {tool: a}}
                - b: {call: tool, with: {tool: b}}
        ",
        json!({"deep": {"value": [1, 2, 3]}}),
    );
    driver.fail("/do/0/all/fork/branches/0/a", broken());
    for _ in 0..2 {
        let definition = driver.execution.definition().clone();
        let restored =
            Execution::restore(&driver.execution.save().unwrap(), definition.clone()).unwrap();
        assert_eq!(restored.hash(), driver.execution.hash());
        let mut replayed = Execution::new(driver.execution.id(), definition);
        driver.journal.iter().for_each(|fact| replayed.apply(fact));
        assert_eq!(replayed.hash(), driver.execution.hash());
        driver.execution = restored;
        driver.input(&Input::Retry);
    }
    assert_eq!(driver.called().len(), 2);
    assert!(driver.journal.iter().any(|fact| matches!(fact, Fact::ExecutionRetried { .. })));
}

const RUNS: &str = "
- one: {call: tool, with: {tool: t}}
- both:
    fork:
      branches:
      - sub: {run: {workflow: {namespace: tests, name: sub, version: latest}}, timeout: {after: PT1H}}
      - other: {run: {workflow: {namespace: tests, name: sub, version: latest}}}
";
const SUB: &str = "/do/1/both/fork/branches/0/sub";
const OTHER: &str = "/do/1/both/fork/branches/1/other";

fn but(anew: &[&str], is_child: bool) -> Input {
    let anew = anew.iter().map(|child| (*child).to_owned()).collect();
    Input::RetryWith { anew, is_child }
}

#[test]
fn a_workflow_that_a_task_ran_goes_on_with_it_and_another_begins_anew() {
    let mut driver = Driver::start(RUNS, Value::Null);
    driver.complete("/do/0/one", json!({"n": 1}));
    assert!(driver.input(&Input::Failed { task: SUB.to_owned(), error: broken() }));
    assert_eq!(driver.status(), Status::Faulted);
    assert_eq!(driver.execution.stopped_children(), [SUB, OTHER]);
    driver.told.clear();
    // What is named and is no such task changes nothing.
    assert!(driver.input(&but(&[OTHER, "/do/0/one", "nonsense"], false)));
    let resumed = Effect::ResumeChild { task: SUB.to_owned() };
    assert!(driver.told.contains(&resumed), "{:?}", driver.told);
    let anew: Vec<_> = driver
        .told
        .iter()
        .filter_map(|effect| match effect {
            Effect::StartChild { task, .. } => Some(task.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(anew, [format!("{OTHER}@2")]);
    assert!(driver.execution.awaits_child(SUB));
    // Its time limit begins anew.
    assert_eq!(driver.timers.len(), 1, "{:?}", driver.timers);
    driver.input(&Input::Completed { task: SUB.to_owned(), output: json!(1) });
    driver.input(&Input::Completed { task: format!("{OTHER}@2"), output: json!(2) });
    assert_eq!(*driver.output(), json!([1, 2]));
}

#[test]
fn a_workflow_that_was_cancelled_with_its_task_goes_on_with_it_only() {
    let parent = |detached| Parent {
        execution: "around".to_owned(),
        task: SUB.to_owned(),
        depth: 1,
        detached,
    };
    let cancelled = |detached| {
        let mut driver = Driver::new(definition(&document(RUNS)));
        driver.input(&Input::StartChild { input: json!(7), parent: parent(detached) });
        driver.complete("/do/0/one", json!({"n": 1}));
        assert!(driver.input(&Input::Cancel { reason: "not awaited".to_owned() }));
        assert_eq!(driver.status(), Status::Cancelled);
        driver
    };
    let mut driver = cancelled(false);
    assert!(!driver.execution.is_retriable() && driver.execution.is_revivable());
    assert_eq!(driver.execution.stopped_children(), [SUB, OTHER]);
    let (bytes, definition) = (driver.execution.save().unwrap(), driver.execution.definition());
    let restored = Execution::restore(&bytes, definition.clone()).unwrap();
    assert_eq!((restored.hash(), restored.is_revivable()), (driver.execution.hash(), true));
    for refused in [Input::Retry, but(&[], false)] {
        assert!(!driver.input(&refused), "a person cannot let it go on");
    }
    assert!(driver.input(&but(&[SUB], true)));
    assert_eq!((driver.status(), driver.execution.reason()), (Status::Running, ""));
    driver.input(&Input::Completed { task: format!("{SUB}@2"), output: json!(1) });
    driver.input(&Input::Completed { task: OTHER.to_owned(), output: json!(2) });
    assert_eq!(*driver.output(), json!([1, 2]));

    let mut alone = cancelled(true);
    assert!(!alone.execution.is_revivable() && !alone.input(&but(&[], true)));
}

#[test]
fn a_fork_behind_a_retry_has_a_workflow_of_its_own() {
    let mut driver = Driver::start(RUNS, Value::Null);
    driver.complete("/do/0/one", json!({"n": 1}));
    driver.input(&Input::Failed { task: SUB.to_owned(), error: broken() });
    driver.input(&but(&[], false));
    let fork = Fork {
        origin: "execution-1",
        position: 4,
        copied: &driver.journal,
        at: driver.now,
        changes: &Changes::default(),
    };
    let definition = driver.execution.definition().clone();
    let (_, facts) = Execution::forked("fork", definition, &fork, driver.now).unwrap();
    let anew: Vec<_> = effects(&facts)
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::StartChild { task, .. } => Some(task),
            Effect::ResumeChild { task } => panic!("{task}"),
            _ => None,
        })
        .collect();
    assert_eq!(anew, [SUB, OTHER]);
}
