//! Waiting and timeouts.

use muster_workflow::{Effect, Fact, Input, Status, effects};
use serde_json::{Value, json};

use crate::driver::Driver;

#[test]
fn wait_sets_a_timer_and_hands_its_input_on() {
    for (wait, seconds) in [
        ("{minutes: 1, seconds: 30}", 90.0),
        ("PT0.5S", 0.5),
        ("'${ \"PT\\(.n)S\" }'", 7.0),
        ("'${ {seconds: .n} }'", 7.0),
    ] {
        let mut driver = Driver::start(&format!("- pause: {{wait: {wait}}}"), json!({"n": 7}));
        assert_eq!(driver.status(), Status::Waiting, "{wait}");
        assert_eq!(driver.pause(), seconds, "{wait}");
        assert_eq!(driver.fire(), "/do/0/pause#wait");
        assert_eq!(*driver.output(), json!({"n": 7}));
        assert!(!driver.input(&Input::TimerFired { timer: "/do/0/pause#wait".to_owned() }));
    }
    let driver = Driver::start("- pause: {wait: '${ .n }'}", json!({"n": 7}));
    assert!(driver.error().detail.contains("7 is not a duration"));
}

#[test]
fn a_task_that_takes_too_long_faults_with_a_timeout_that_can_be_caught() {
    let tasks = "
        - careful:
            try:
              - slow: {call: agent, with: {agent: a, prompt: x}, timeout: {after: PT10S}}
            catch: {errors: {with: {status: 408}}, do: [late: {set: {late: '${ $error.type }'}}]}
        ";
    let mut driver = Driver::start(tasks, json!({}));
    assert_eq!(driver.pause(), 10.0);
    driver.fire();
    assert!(driver.calls.is_empty(), "the call is cancelled");
    assert_eq!(
        *driver.output(),
        json!({"late": "https://serverlessworkflow.io/spec/1.0.0/errors/timeout"})
    );

    let mut driver = Driver::start(tasks, json!({}));
    driver.complete("/do/0/careful/try/0/slow", json!("in time"));
    assert!(driver.timers.is_empty(), "the timer is cancelled");
    assert_eq!(*driver.output(), json!("in time"));
}

#[test]
fn a_timer_that_is_cancelled_in_the_transition_that_sets_it_is_never_set() {
    let tasks = "
        - quick: {set: {a: 1}, timeout: {after: P365D}}
        - slow: {call: tool, with: {tool: t}, timeout: {after: PT1S}}
        ";
    let mut driver = Driver::start(tasks, json!({}));
    let set = |fact: &&Fact| matches!(fact, Fact::TimerSet { .. });
    assert_eq!(driver.journal.iter().filter(set).count(), 2, "the journal tells of both");
    let told = effects(&driver.journal);
    let timers: Vec<_> = told
        .iter()
        .filter_map(|effect| match effect {
            Effect::SetTimer { timer, .. } | Effect::CancelTimer { timer } => Some(timer.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(timers, ["/do/1/slow#timeout"]);
    let before = driver.journal.len();
    driver.complete("/do/1/slow", json!(1));
    let last = effects(driver.journal.get(before..).unwrap());
    assert!(last.contains(&Effect::CancelTimer { timer: "/do/1/slow#timeout".to_owned() }));
}

#[test]
fn the_timeout_of_a_group_stops_everything_inside() {
    let mut driver = Driver::start(
        "
        - group:
            timeout: {after: {seconds: 1}}
            do:
              - both:
                  fork:
                    branches:
                      - a: {call: tool, with: {tool: t}}
                      - b: {wait: PT1H}
        ",
        Value::Null,
    );
    assert_eq!(driver.fire(), "/do/0/group#timeout");
    assert!(driver.calls.is_empty() && driver.timers.is_empty());
    assert_eq!((driver.error().status, driver.error().instance.as_str()), (408, "/do/0/group"));
}

#[test]
fn the_workflow_has_a_timeout_too() {
    let text = "
document: {dsl: 1.0.3, namespace: tests, name: example, version: 1.0.0}
use: {timeouts: {soon: {after: PT5S}}}
timeout: soon
do: [a: {call: tool, with: {tool: t}}]
";
    let mut driver = Driver::start_document(text, Value::Null);
    assert_eq!(driver.fire(), "#timeout");
    assert_eq!(driver.error().status, 408);

    let mut driver = Driver::start_document(text, Value::Null);
    driver.complete("/do/0/a", json!(1));
    assert!(driver.timers.is_empty());
}

#[test]
fn the_timeout_of_the_workflow_may_follow_from_its_input() {
    let document = |timeout: &str| {
        format!(
            "
document: {{dsl: 1.0.3, namespace: tests, name: example, version: 1.0.0}}
use: {{timeouts: {{asked: {{after: '${{ \"PT\\($input.seconds)S\" }}'}}}}}}
input: {{from: '${{ {{seconds: .limit}} }}'}}
timeout: {timeout}
do: [a: {{call: tool, with: {{tool: t}}}}]
"
        )
    };
    for timeout in [
        "asked",
        "{after: '${ {seconds: .seconds} }'}",
        "{after: '${ {seconds: $workflow.input.limit} }'}",
    ] {
        let mut driver = Driver::start_document(&document(timeout), json!({"limit": 20}));
        assert_eq!(driver.pause(), 20.0, "{timeout}");
        assert_eq!(driver.fire(), "#timeout");
        assert_eq!(driver.error().status, 408);
    }

    let wrong = document("{after: '${ .seconds }'}");
    let driver = Driver::start_document(&wrong, json!({"limit": 20}));
    assert!(driver.error().detail.contains("20 is not a duration"), "{}", driver.error());
    assert_eq!(driver.error().instance, "/timeout");
    assert!(driver.calls.is_empty() && driver.timers.is_empty());
}
