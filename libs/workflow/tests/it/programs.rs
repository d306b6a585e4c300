//! `run: shell` and `run: script`: what is asked for, and what the task gives.

use muster_workflow::Function;
use serde_json::{Value, json};

use crate::driver::Driver;
use crate::protocols::refused;

#[track_caller]
fn asked(driver: &Driver) -> &Value {
    let [(_, Function::Run, arguments)] = driver.calls.as_slice() else {
        panic!("{:?}: {:?}", driver.calls, driver.execution.error())
    };
    arguments
}

#[test]
fn a_program_is_asked_for_with_what_it_gets() {
    let mut driver = Driver::start(
        "- a: {run: {shell: {command: 'echo $1', stdin: '${ . }', arguments: ['${ .x }', b], environment: {A: '${ .x }'}}, return: all}}",
        json!({"x": 1}),
    );
    let shell = json!({"command": "echo $1", "stdin": {"x": 1}, "arguments": [1, "b"], "environment": {"A": 1}});
    assert_eq!(*asked(&driver), json!({"shell": shell, "return": "all"}));
    driver.complete("/do/0/a", json!({"code": 0}));
    assert_eq!(*driver.output(), json!({"code": 0}));
    let driver = Driver::start(
        "- a: {run: {script: {language: python, source: {endpoint: 'https://a/{x}.py'}, arguments: ['${ .x }']}}}",
        json!({"x": 1}),
    );
    let source = json!({"endpoint": {"uri": "https://a/1.py"}});
    let script = json!({"language": "python", "source": source, "arguments": [1]});
    assert_eq!(*asked(&driver), json!({"script": script}));
}

#[test]
fn a_task_that_does_not_wait_goes_on_with_its_input() {
    let mut driver = Driver::start(
        "- a: {run: {script: {language: js, code: 'x()'}, await: false}, input: {from: .y}}",
        json!({"y": {"z": 1}}),
    );
    assert_eq!(asked(&driver)["await"], false);
    driver.complete("/do/0/a", Value::Null);
    assert_eq!(*driver.output(), json!({"z": 1}));
}

#[test]
fn what_cannot_be_run_is_refused_with_its_place() {
    for (run, field, part) in [
        ("{shell: {}}", "/shell/command", "missing"),
        ("{shell: {command: ls, cwd: x}}", "/shell/cwd", "not supported"),
        ("{shell: {command: ls}, wait: true}", "/wait", "not supported"),
        ("{shell: {command: ls}, script: {}}", "/shell", "not supported"),
        ("{shell: {command: ls}, await: 'no'}", "/await", "true or false"),
        ("{shell: {command: ls}, return: text}", "/return", "one of stdout, stderr"),
        ("{shell: {command: ls, arguments: a}}", "/shell/arguments", "must be a list"),
        ("{shell: {command: ls, environment: [a]}}", "/shell/environment", "`environment`"),
        ("{script: {code: x}}", "/script/language", "missing"),
        ("{script: {language: ruby, code: x}}", "/script/language", "`ruby` is not supported"),
        ("{script: {language: js}}", "/script", "one of `code` or `source`"),
        ("{script: {language: js, code: x, source: {endpoint: 'https://a'}}}", "/script", "one of"),
        (
            "{script: {language: js, source: {endpoint: 'ftp://a'}}}",
            "/script/source/endpoint",
            "https://",
        ),
    ] {
        refused(&format!("{{run: {run}}}"), &format!("/run{field}"), part);
    }
}

#[test]
fn what_expressions_compute_is_checked_before_anything_runs() {
    for (run, part) in [
        ("{shell: {command: '${ .n }'}}", "`shell.command` of run must be a text"),
        ("{script: {language: js, code: '${ .n }'}}", "`script.code` of run must be a text"),
        (
            "{script: {language: js, source: {endpoint: '${ .n }'}}}",
            "`script.source.endpoint.uri` of run must be an address",
        ),
    ] {
        let driver = Driver::start(&format!("- a: {{run: {run}}}"), json!({"n": 1}));
        assert!(driver.error().detail.contains(part), "{}", driver.error());
        assert!(driver.calls.is_empty());
    }
}
