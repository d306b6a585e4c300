//! Standing still and going on.

use muster_workflow::{Effect, Error, ErrorType, Execution, Input, Status};
use serde_json::{Value, json};

use crate::driver::Driver;

fn suspend() -> Input {
    Input::Suspend { reason: "lunch".to_owned() }
}

const TWO_CALLS: &str = "
- a: {call: tool, with: {tool: t}}
- b: {call: tool, with: {tool: t}}
";

#[test]
fn a_result_that_comes_while_suspended_counts_when_it_goes_on() {
    let mut driver = Driver::start(TWO_CALLS, Value::Null);
    assert!(driver.input(&suspend()));
    assert_eq!(driver.status(), Status::Suspended);
    assert_eq!(driver.execution.reason(), "lunch");
    driver.complete("/do/0/a", json!(1));
    assert_eq!(driver.status(), Status::Suspended);
    assert!(driver.calls.is_empty(), "no task begins");
    assert!(driver.input(&Input::Resume));
    assert_eq!((driver.status(), driver.called()), (Status::Running, vec!["/do/1/b"]));
    driver.complete("/do/1/b", json!(2));
    assert_eq!(*driver.output(), json!(2));
    let told: Vec<_> = driver.told.iter().skip(1).take(2).cloned().collect();
    assert_eq!(told, [Effect::Suspended { reason: "lunch".to_owned() }, Effect::Resumed]);
}

#[test]
fn the_first_of_two_answers_counts_and_a_failure_faults_when_it_goes_on() {
    let mut driver = Driver::start(TWO_CALLS, Value::Null);
    driver.input(&suspend());
    driver.fail("/do/0/a", Error::new(ErrorType::Communication, "gone"));
    let again = Input::Completed { task: "/do/0/a".to_owned(), output: json!(1) };
    assert!(!driver.input(&again), "it has one answer");
    assert_eq!(driver.status(), Status::Suspended);
    driver.input(&Input::Resume);
    assert_eq!(driver.error().detail, "gone");
}

#[test]
fn a_timer_that_fires_while_suspended_counts_when_it_goes_on() {
    let mut driver = Driver::start("- nap: {wait: PT1S}\n- done: {set: {ok: true}}", Value::Null);
    driver.input(&suspend());
    driver.fire();
    assert_eq!(driver.status(), Status::Suspended);
    driver.input(&Input::Resume);
    assert_eq!(*driver.output(), json!({"ok": true}));
}

#[test]
fn what_came_first_counts_first() {
    let mut driver =
        Driver::start("- a: {call: tool, with: {tool: t}, timeout: {after: PT1S}}", Value::Null);
    driver.input(&suspend());
    driver.complete("/do/0/a", json!(1));
    driver.fire();
    driver.input(&Input::Resume);
    assert_eq!(*driver.output(), json!(1));
}

#[test]
fn suspending_twice_or_what_has_not_begun_or_has_ended_changes_nothing() {
    let mut driver = Driver::start("- a: {set: {x: 1}}", Value::Null);
    assert_eq!(driver.status(), Status::Completed);
    assert!(!driver.input(&suspend()));
    let mut driver = Driver::new(crate::driver::definition(&crate::driver::document(TWO_CALLS)));
    assert!(!driver.input(&suspend()) && !driver.input(&Input::Resume));
    driver.input(&Input::Start { input: Value::Null });
    assert!(!driver.input(&Input::Resume));
    assert!(driver.input(&suspend()) && !driver.input(&suspend()));
}

#[test]
fn a_suspended_execution_can_be_cancelled() {
    let mut driver = Driver::start(TWO_CALLS, Value::Null);
    driver.input(&suspend());
    assert!(driver.input(&Input::Cancel { reason: "enough".to_owned() }));
    assert_eq!((driver.status(), driver.execution.reason()), (Status::Cancelled, "enough"));
    assert!(!driver.input(&Input::Resume));
}

#[test]
fn what_it_holds_survives_a_snapshot_and_a_replay() {
    let mut driver = Driver::start(TWO_CALLS, Value::Null);
    driver.input(&suspend());
    driver.complete("/do/0/a", json!({"n": 1}));
    let definition = driver.execution.definition().clone();
    let restored =
        Execution::restore(&driver.execution.save().unwrap(), definition.clone()).unwrap();
    assert_eq!(restored.hash(), driver.execution.hash());
    let mut replayed = Execution::new(driver.execution.id(), definition);
    driver.journal.iter().for_each(|fact| replayed.apply(fact));
    assert_eq!(replayed.hash(), driver.execution.hash());
    driver.execution = restored;
    driver.input(&Input::Resume);
    assert_eq!(driver.called(), ["/do/1/b"]);
}

#[test]
fn it_is_told_once_that_nothing_is_at_work_any_more() {
    let mut driver = Driver::start(
        "
        - both:
            fork:
              branches:
                - a: {call: tool, with: {tool: t}}
                - b: {wait: PT1H}
        - nap: {wait: PT1S}
        ",
        Value::Null,
    );
    let waits = |driver: &Driver| {
        let tasks = driver.told.iter().filter_map(|effect| match effect {
            Effect::Waiting { task } => Some(task.clone()),
            _ => None,
        });
        tasks.collect::<Vec<_>>()
    };
    assert_eq!(driver.status(), Status::Running);
    assert!(waits(&driver).is_empty());
    driver.complete("/do/0/both/fork/branches/0/a", json!(1));
    assert_eq!(waits(&driver), ["/do/0/both/fork/branches/1/b"]);
    driver.fire();
    assert_eq!(driver.status(), Status::Waiting);
    assert_eq!(waits(&driver).len(), 1);
}
