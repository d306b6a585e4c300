//! `run: workflow`: other workflows as tasks.

use muster_workflow::{
    Definition, Effect, Error, ErrorType, Fact, Input, Parent, Status, WorkflowReference,
};
use serde_json::{Value, json};

use crate::driver::{Driver, definition, document};

const RUN: &str = "
- sub:
    run: {workflow: {namespace: tests, name: sub, version: 1.0.0, input: {n: '${ .n }'}}}
    output: {as: .m}
- after: {set: {result: '${ . }'}}
";

fn problems(tasks: &str) -> String {
    Definition::parse(&document(tasks)).unwrap_err().to_string()
}

#[test]
fn a_workflow_is_started_with_its_input_and_its_output_is_the_tasks() {
    let mut driver = Driver::start(RUN, json!({"n": 1}));
    let wanted = Effect::StartChild {
        task: "/do/0/sub".to_owned(),
        namespace: "tests".to_owned(),
        name: "sub".to_owned(),
        version: "1.0.0".to_owned(),
        input: json!({"n": 1}),
        wait: true,
    };
    assert_eq!(driver.told, [Effect::Started, wanted]);
    assert_eq!(driver.status(), Status::Running);
    assert!(driver.execution.awaits_child("/do/0/sub"));
    let output = json!({"m": 2});
    assert!(driver.input(&Input::Completed { task: "/do/0/sub".to_owned(), output }));
    assert_eq!(*driver.output(), json!({"result": 2}));
    assert!(!driver.execution.awaits_child("/do/0/sub"));
}

#[test]
fn the_childs_error_is_the_tasks_and_can_be_caught() {
    let mut driver = Driver::start(RUN, json!({"n": 1}));
    let error = Error {
        r#type: "https://example.com/no".to_owned(),
        status: 409,
        title: "No".to_owned(),
        detail: "not today".to_owned(),
        instance: String::new(),
    };
    let task = "/do/0/sub".to_owned();
    assert!(driver.input(&Input::Failed { task, error: error.clone() }));
    assert_eq!(*driver.error(), Error { instance: "/do/0/sub".to_owned(), ..error });
}

#[test]
fn a_workflow_that_is_not_awaited_leaves_the_input_as_it_is() {
    let tasks = "
- sub: {run: {workflow: {namespace: tests, name: sub, version: latest}, await: false}}
";
    let driver = Driver::start(tasks, json!({"n": 1}));
    assert_eq!(*driver.output(), json!({"n": 1}));
    assert!(
        driver.told.iter().any(|effect| matches!(
            effect,
            Effect::StartChild { wait: false, input: Value::Null, .. }
        )),
        "{:?}",
        driver.told
    );
}

#[test]
fn a_workflow_may_return_nothing() {
    let tasks = "
- sub: {run: {workflow: {namespace: tests, name: sub, version: latest}, return: none}}
";
    let mut driver = Driver::start(tasks, json!({"n": 1}));
    driver.input(&Input::Completed { task: "/do/0/sub".to_owned(), output: json!({"m": 2}) });
    assert_eq!(*driver.output(), Value::Null);
}

#[test]
fn a_task_that_is_stopped_stops_its_workflow() {
    let cancelled = Effect::CancelChild { task: "/do/0/sub".to_owned() };

    let mut driver = Driver::start(RUN, json!({"n": 1}));
    driver.input(&Input::Cancel { reason: "enough".to_owned() });
    assert_eq!(driver.status(), Status::Cancelled);
    assert!(driver.told.contains(&cancelled), "{:?}", driver.told);

    let late = RUN.replace("output:", "timeout: {after: PT1S}\n    output:");
    let mut driver = Driver::start(&late, json!({"n": 1}));
    driver.fire();
    assert_eq!(driver.error().status, 408);
    assert!(driver.told.contains(&cancelled), "{:?}", driver.told);
}

#[test]
fn workflows_run_workflows_only_so_deep() {
    let parent = |depth| Parent {
        execution: "around".to_owned(),
        task: "/do/0/sub".to_owned(),
        depth,
        detached: false,
    };
    let start = |depth| {
        let mut driver = Driver::new(definition(&document(RUN)));
        driver.input(&Input::StartChild { input: json!({"n": 1}), parent: parent(depth) });
        driver
    };
    let deep = start(19);
    assert_eq!(deep.status(), Status::Running);
    assert_eq!(deep.execution.parent(), Some(&parent(19)));
    let too_deep = start(20);
    assert_eq!(too_deep.error().r#type, ErrorType::Runtime.uri());
    assert!(too_deep.error().detail.contains("more than 20 deep"), "{}", too_deep.error());
}

#[test]
fn the_parent_is_in_the_journal_and_older_journals_have_none() {
    let old = json!({"type": "execution_started", "input": 1, "at": "2026-01-01T12:00:00Z"});
    let fact: Fact = serde_json::from_value(old.clone()).unwrap();
    assert!(matches!(fact, Fact::ExecutionStarted { parent: None, .. }));
    assert_eq!(serde_json::to_value(fact).unwrap(), old);
}

#[test]
fn workflows_that_are_named_are_known_and_computed_ones_are_not() {
    let tasks = "
- one: {run: {workflow: {namespace: tests, name: sub, version: 1.0.0}}}
- two: {run: {workflow: {namespace: tests, name: '${ .name }', version: latest}}}
";
    let definition = definition(&document(tasks));
    let reference = WorkflowReference {
        namespace: "tests".to_owned(),
        name: "sub".to_owned(),
        version: "1.0.0".to_owned(),
    };
    let known: Vec<_> = definition.references().workflows.iter().collect();
    assert_eq!(known, [(&reference, &"/do/0/one".to_owned())]);

    let driver = Driver::start(tasks, json!({"name": 7}));
    assert!(driver.told.iter().any(|effect| matches!(effect, Effect::StartChild { .. })));
    let unnamed = tasks
        .replace("- one: {run: {workflow: {namespace: tests, name: sub, version: 1.0.0}}}", "");
    let driver = Driver::start(&unnamed, json!({"name": 7}));
    assert_eq!(driver.error().r#type, ErrorType::Expression.uri());
}

#[test]
fn what_run_cannot_do_is_refused_with_its_place() {
    let check = |run: &str, expected: &str| {
        let told = problems(&format!("- a: {{run: {run}}}"));
        assert!(told.contains(expected), "{told}");
    };
    check("{container: {image: x}}", "/do/0/a/run/container: `run: container` is not supported");
    check(
        "{workflow: {namespace: n, name: a}}",
        "/do/0/a/run/workflow/version: `version` is missing",
    );
    check(
        "{workflow: {namespace: n, name: a b, version: 1.0.0}}",
        "/do/0/a/run/workflow/name: `a b` is no name of a workflow",
    );
    check(
        "{workflow: {namespace: n, name: a, version: '1'}}",
        "/do/0/a/run/workflow/version: `1` is no version of a workflow: 1.0.0, or latest",
    );
    check(
        "{workflow: {namespace: n, name: a, version: 1.0.0}, return: code}",
        "/do/0/a/run/return: `return` is the string `code`, but a workflow has an output",
    );
    check(
        "{workflow: {namespace: n, name: a, version: 1.0.0}, await: maybe}",
        "/do/0/a/run/await: `await` must be true or false",
    );
}
