//! Cancelling from outside.

use muster_workflow::{Effect, Input, Status, TaskStatus};
use serde_json::{Value, json};

use crate::driver::{Driver, definition, document};

#[test]
fn cancelling_stops_calls_and_timers() {
    let mut driver = Driver::start(
        "
        - both:
            fork:
              branches:
                - a: {call: tool, with: {tool: t}}
                - b: {wait: PT1H}
        ",
        Value::Null,
    );
    assert!(driver.input(&Input::Cancel { reason: "enough".to_owned() }));
    assert_eq!(driver.status(), Status::Cancelled);
    assert!(driver.calls.is_empty() && driver.timers.is_empty());
    assert_eq!(driver.told[1..], [Effect::Cancelled { reason: "enough".to_owned() }]);
    assert!(driver.execution.tasks().all(|task| task.status == TaskStatus::Cancelled));
    assert!(driver.execution.ended_at().is_some());
}

#[test]
fn what_is_cancelled_before_it_starts_never_starts() {
    let mut driver = Driver::new(definition(&document("- a: {set: {x: 1}}")));
    assert_eq!(driver.status(), Status::Pending);
    assert!(driver.input(&Input::Cancel { reason: String::new() }));
    assert!(!driver.input(&Input::Start { input: json!({}) }));
    assert_eq!(driver.status(), Status::Cancelled);
}
