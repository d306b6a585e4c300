//! What another version would have changed for an execution that is on its way.

use muster_workflow::differences;
use serde_json::json;

use crate::driver::{Driver, definition, document};

const TASKS: &str = "
- one: {set: {n: 1}}
- two: {call: tool, with: {tool: t}}
- three:
    do:
      - inner: {call: tool, with: {tool: u}}
      - after: {set: {x: 1}}
- four: {set: {done: true}}
";

/// What differs for an execution that stands at `/do/2/three/do/0/inner`, as `change pointer: message`.
fn check(tasks: &str, expected: &[&str]) {
    check_document(&document(tasks), expected);
}

fn check_document(text: &str, expected: &[&str]) {
    let mut driver = Driver::start(TASKS, json!({}));
    let first = driver.journal.len();
    driver.complete("/do/1/two", json!({"a": 1}));
    let transitions = [&driver.journal[..first], &driver.journal[first..]];
    let found: Vec<String> =
        differences(driver.execution.definition(), &definition(text), transitions)
            .into_iter()
            .map(|found| {
                format!(
                    "{} {} {}: {}",
                    found.position,
                    found.change.name(),
                    found.pointer,
                    found.message
                )
            })
            .collect();
    assert_eq!(found, expected, "{text}");
}

#[test]
fn what_has_not_been_reached_may_change() {
    check(TASKS, &[]);
    check(&TASKS.replace("done: true", "done: false"), &[]);
    check(&TASKS.replace("x: 1", "x: 2").replace("- four", "- new: {wait: PT1S}\n- four"), &[]);
    check(&TASKS.replace("tool: t}}", "tool: t}, metadata: {a: 1}}"), &[]);
}

#[test]
fn a_task_that_has_begun_is_compared_with_what_it_is_there() {
    check(&TASKS.replace("n: 1", "n: 2"), &["1 changed /do/0/one: its `set` is another one"]);
    check(
        &TASKS.replace("{tool: u}", "{tool: v}, if: .yes"),
        &["2 changed /do/2/three/do/0/inner: its `if`, `with` are other ones"],
    );
    check(
        &TASKS.replace("- one: {set: {n: 1}}\n", ""),
        &["1 missing /do/0/one: the task `one` is not there"],
    );
    check(
        &TASKS.replace(
            "- one: {set: {n: 1}}\n- two: {call: tool, with: {tool: t}}",
            "- two: {call: tool, with: {tool: t}}\n- one: {set: {n: 1}}",
        ),
        &["1 moved /do/1/two: it stands before a task that it stood behind"],
    );
}

#[test]
fn a_task_that_would_have_run_is_told() {
    check(
        &TASKS.replace("- two", "- new: {set: {a: 1}}\n- two"),
        &["1 inserted /do/1/new: the task `new` is new, where the execution has come past"],
    );
    check(
        &TASKS.replace("- inner", "- new: {wait: PT1S}\n      - inner"),
        &[
            "2 inserted /do/2/three/do/0/new: the task `new` is new, where the execution has come past",
        ],
    );
}

#[test]
fn the_workflows_own_parts_and_what_is_named_are_compared() {
    let text = document(TASKS);
    check_document(
        &format!("{text}input: {{from: .x}}\n"),
        &["1 changed /input: the workflow's `input` is another one"],
    );
    check_document(&format!("{text}output: {{as: .x}}\n"), &[]);
    let retry = |count: u32| {
        format!(
            "document: {{dsl: '1.0.3', namespace: tests, name: example, version: '1.0.0'}}
use: {{retries: {{patient: {{limit: {{attempt: {{count: {count}}}}}}}, other: {{limit: {{attempt: {{count: {count}}}}}}}}}}}
do: [careful: {{try: [ask: {{call: tool, with: {{tool: t}}}}], catch: {{retry: patient}}}}]\n"
        )
    };
    let driver = Driver::start_document(&retry(1), json!({}));
    let new = definition(&retry(2));
    let found = differences(driver.execution.definition(), &new, [driver.journal.as_slice()]);
    let pointers: Vec<&str> = found.iter().map(|found| found.pointer.as_str()).collect();
    assert_eq!(pointers, ["/use/retries/patient"]);
}

#[test]
fn functions_catalogs_and_extensions_are_compared_where_they_are_used() {
    let text = |used: &str, unused: &str, before: &str| {
        format!(
            "document: {{dsl: '1.0.3', namespace: tests, name: example, version: '1.0.0'}}
use:
  functions:
    used: {{set: {{n: {used}}}}}
    unused: {{set: {{n: {unused}}}}}
  extensions:
  - logging: {{extend: wait, before: [{{log: {{set: {{n: {before}}}}}}}]}}
do: [first: {{call: used}}, second: {{wait: PT1S}}]\n"
        )
    };
    let driver = Driver::start_document(&text("1", "1", "1"), json!({}));
    let check = |text: &str, expected: &[&str]| {
        let found = differences(
            driver.execution.definition(),
            &definition(text),
            [driver.journal.as_slice()],
        );
        let pointers: Vec<&str> = found.iter().map(|found| found.pointer.as_str()).collect();
        assert_eq!(pointers, expected, "{text}");
    };
    check(&text("1", "2", "1"), &[]);
    check(&text("2", "1", "1"), &["/use/functions/used"]);
    check(&text("1", "1", "2"), &["/use/extensions"]);
}
