//! Extensions: tasks before and after others.

use muster_workflow::{Definition, Effect, Error, ErrorType, Fact, Input, Status};
use serde_json::{Value, json};

use crate::driver::{Driver, document};

fn extended(extensions: &str, tasks: &str) -> String {
    format!("{}use:\n  extensions:\n{extensions}", document(tasks))
}

/// A call of the tool `log` with this message, as a task.
fn log(message: &str) -> String {
    format!(
        "{{log: {{call: tool, with: {{tool: log, arguments: {{message: '${{ {message} }}'}}}}}}}}"
    )
}

fn logging() -> String {
    format!(
        "  - logging:\n      extend: set\n      before: [{}]\n      after: [{}]\n",
        log(r#""before \($task.reference) \($task.output)""#),
        log(r#""after \($task.reference) \($task.output)""#)
    )
}

#[track_caller]
fn answer(driver: &mut Driver) -> Value {
    let (task, _, arguments) = driver.calls.first().cloned().unwrap();
    driver.complete(&task, json!("logged"));
    arguments["arguments"]["message"].clone()
}

#[test]
fn tasks_run_before_and_after_others_and_leave_their_data_alone() {
    let text =
        extended(&logging(), "- a: {set: {n: '${ .n + 1 }'}, output: {as: .n}}\n- b: {wait: PT1S}");
    let mut driver = Driver::start_document(&text, json!({"n": 1}));
    assert_eq!(driver.called(), ["/do/0/a/use/extensions/0/logging/before/0/log"]);
    assert_eq!(answer(&mut driver), json!("before /do/0/a null"));
    assert_eq!(driver.called(), ["/do/0/a/use/extensions/0/logging/after/0/log"]);
    assert_eq!(answer(&mut driver), json!("after /do/0/a {\"n\":2}"));
    driver.fire();
    assert_eq!(*driver.output(), json!(2));
}

#[test]
fn exit_before_a_task_stands_in_for_it() {
    let mock = "
  - mock:
      extend: call
      when: $task.definition.with.tool == \"paid\"
      before:
      - answer: {set: {price: 1, mocked: '${ .n }'}, then: exit}
      - never: {raise: {error: {type: 'https://example.com/no', status: 500}}}
";
    let tasks = "
- paid: {call: tool, with: {tool: paid}, output: {as: '. + {seen: $task.output.price}'}}
- free: {call: tool, with: {tool: free}}
";
    let mut driver = Driver::start_document(&extended(mock, tasks), json!({"n": 7}));
    assert_eq!(driver.called(), ["/do/1/free"]);
    driver.complete("/do/1/free", json!("done"));
    let paid = driver.journal.iter().find_map(|fact| match fact {
        Fact::TaskCompleted { task, output, .. } if task == "/do/0/paid" => output.clone(),
        _ => None,
    });
    assert_eq!(paid, Some(json!({"price": 1, "mocked": 7, "seen": 1})));
}

#[test]
fn exit_after_a_task_replaces_its_output() {
    let cut = "
  - cut:
      extend: set
      after: [{short: {if: '.n > 1', set: {n: 1}, then: exit}}]
";
    let text = extended(cut, "- a: {set: '${ . }'}");
    let output = |n: u32| Driver::start_document(&text, json!({ "n": n })).output().clone();
    assert_eq!((output(1), output(5)), (json!({"n": 1}), json!({"n": 1})));
}

#[test]
fn several_extensions_run_in_their_order_around_every_type_of_task() {
    let both = "
  - one: {extend: all, before: [{x: {set: {a: 1}, export: {as: '($context // []) + [\"one \\($task.name)\"]'}}}]}
  - two: {extend: composite, before: [{x: {set: {a: 1}, export: {as: '($context // []) + [\"two \\($task.name)\"]'}}}]}
";
    let tasks = "
- group: {do: [{each: {for: {in: '[1, 2]'}, do: [{inner: {set: {n: '${ $item }'}}}]}}]}
- side: {fork: {branches: [{left: {set: {l: 1}}}]}}
- careful: {try: [{go: {switch: [{on: {then: continue}}]}}], catch: {}}
- out: {set: {log: '${ $context }'}}
";
    let driver = Driver::start_document(&extended(both, tasks), Value::Null);
    let expected = [
        "one group",
        "two group",
        "one each",
        "one inner",
        "one inner",
        "one side",
        "two side",
        "one left",
        "one careful",
        "one go",
        "one out",
    ];
    assert_eq!(*driver.output(), json!({ "log": expected }));
}

#[test]
fn a_failing_extension_faults_its_task_and_a_try_around_it_catches() {
    let broken = "
  - broken: {extend: set, before: [{no: {raise: {error: {type: 'https://example.com/no', status: 500}}}}]}
";
    let text = extended(broken, "- a: {set: {x: 1}}");
    let driver = Driver::start_document(&text, Value::Null);
    assert_eq!(driver.error().instance, "/use/extensions/0/broken/before/0/no");

    let broken = broken.replace("extend: set", "extend: try");
    let tasks = "
- outer:
    try: [{inner: {try: [{x: {set: {x: 1}}}], catch: {do: [{wrong: {set: {caught: inner}}}]}}}]
    catch: {do: [{right: {set: {caught: outer}}}]}
";
    // The outer one is extended as well: its own catch is not for that.
    let driver = Driver::start_document(&extended(&broken, tasks), Value::Null);
    assert_eq!(driver.status(), Status::Faulted);
    let only = broken.replace("before:", "when: '$task.name == \"inner\"', before:");
    let driver = Driver::start_document(&extended(&only, tasks), Value::Null);
    assert_eq!(*driver.output(), json!({"caught": "outer"}));
}

#[test]
fn what_follows_a_task_is_followed_after_its_extensions() {
    let tasks = "
- choose: {switch: [{far: {when: .far, then: last}}, {near: {then: end}}]}
- between: {raise: {error: {type: 'https://example.com/no', status: 500}}}
- last: {set: {reached: last}}
";
    let text = extended(&logging().replace("extend: set", "extend: switch"), tasks);
    let mut driver = Driver::start_document(&text, json!({"far": true}));
    answer(&mut driver);
    answer(&mut driver);
    assert_eq!(*driver.output(), json!({"reached": "last"}));
    let mut driver = Driver::start_document(&text, json!({"far": false}));
    answer(&mut driver);
    answer(&mut driver);
    assert_eq!(*driver.output(), json!({"far": false}));
}

#[test]
fn a_task_that_is_skipped_is_not_extended_and_one_that_times_out_stops_its_extensions() {
    let text = extended(
        &logging(),
        "- a: {if: 'false', set: {x: 1}}\n- b: {set: {y: 1}, timeout: {after: PT1S}}",
    );
    let mut driver = Driver::start_document(&text, Value::Null);
    assert_eq!(driver.called(), ["/do/1/b/use/extensions/0/logging/before/0/log"]);
    driver.fire();
    assert_eq!(driver.error().status, 408);
    assert!(driver.calls.is_empty());
}

#[test]
fn extensions_survive_a_restart_at_every_point() {
    let text =
        extended(&logging(), "- a: {call: tool, with: {tool: t}}\n- b: {set: {got: '${ . }'}}");
    let text = text.replace("extend: set", "extend: all");
    let mut driver = Driver::start_document(&text, json!(1));
    for _ in 0..9 {
        let saved = driver.execution.save().unwrap();
        let definition = driver.execution.definition().clone();
        driver.execution = muster_workflow::Execution::restore(&saved, definition).unwrap();
        let Some((task, ..)) = driver.calls.first().cloned() else { break };
        driver.complete(&task, json!({"of": task}));
    }
    assert_eq!(*driver.output(), json!({"got": {"of": "/do/0/a"}}));
}

#[test]
fn a_call_that_was_answered_is_awaited_no_longer_while_extensions_run() {
    let text = extended(
        &logging().replace("extend: set", "extend: call"),
        "- a: {call: tool, with: {tool: t}}",
    );
    let mut driver = Driver::start_document(&text, json!(1));
    answer(&mut driver);
    driver.complete("/do/0/a", json!("first"));
    let again = Input::Completed { task: "/do/0/a".to_owned(), output: json!("second") };
    assert!(!driver.input(&again));
    answer(&mut driver);
    assert_eq!(*driver.output(), json!("first"));
}

#[test]
fn extensions_that_say_nonsense_are_refused() {
    let refused = |extension: &str, expected: &str| {
        let text = extended(&format!("  - x: {extension}\n"), "- a: {set: {x: 1}}");
        let told = Definition::parse(&text).unwrap_err().to_string();
        assert!(told.contains(expected), "{told}");
    };
    refused("{before: []}", "/use/extensions/0/x/extend: `extend` is missing");
    let many = "{extend: all}\n  - x: ".repeat(60) + "{extend: all}";
    refused(&many, "/use/extensions: there are 61, 50 at most");
    refused("{extend: http}", "/use/extensions/0/x/extend: `http` cannot be extended");
    refused("{extend: all, befor: []}", "`befor` is not supported in an extension");
    refused("{extend: all, when: '$item'}", "/use/extensions/0/x/when");
    refused("{extend: all, before: [{a: {dance: 1}}]}", "/use/extensions/0/x/before/0/a");
}

#[test]
fn the_specifications_example_runs_and_its_idea_works_with_the_descriptor_of_the_task() {
    let example = include_str!("../examples/mock-service-extension.yaml");
    // The call goes to another address than the one that is mocked.
    let mut driver = Driver::start_document(example, json!({}));
    assert_eq!(driver.called(), ["/do/0/callHttp"]);
    driver.complete("/do/0/callHttp", json!("real"));
    assert_eq!(*driver.output(), json!("real"));

    let mocked = example
        .replace("$task.with.endpoint != null", "false")
        .replace("$task.with", "$task.definition.with")
        .replace("fake.com", "mocked.service.com");
    let driver = Driver::start_document(&mocked, json!({}));
    assert_eq!(driver.output()["content"], json!({"foo": {"bar": "baz"}}));
}

#[test]
fn what_failed_in_a_function_an_extension_or_a_child_can_be_retried() {
    let broken = Error::new(ErrorType::Communication, "away");
    let text = format!(
        "{}use: {{functions: {{f: {{call: tool, with: {{tool: '${{ .name }}'}}}}}}}}",
        document("- a: {call: f, with: {name: t}}\n- b: {set: {got: '${ . }'}}")
    );
    let mut driver = Driver::start_document(&text, json!(1));
    driver.fail("/do/0/a/use/functions/f", broken.clone());
    assert!(driver.input(&Input::Retry));
    let (task, _, arguments) = driver.calls[0].clone();
    assert_eq!(arguments, json!({"tool": "t"}));
    driver.complete(&task, json!("done"));
    assert_eq!(*driver.output(), json!({"got": "done"}));

    let text = extended(&logging(), "- a: {set: {n: '${ .n + 1 }'}}");
    let mut driver = Driver::start_document(&text, json!({"n": 1}));
    answer(&mut driver);
    let (task, ..) = driver.calls[0].clone();
    driver.fail(&task, broken.clone());
    assert!(driver.input(&Input::Retry));
    for _ in 0..2 {
        if !driver.calls.is_empty() {
            answer(&mut driver);
        }
    }
    assert_eq!(*driver.output(), json!({"n": 2}));

    let child = "- a: {run: {workflow: {namespace: tests, name: sub, version: latest}}}";
    let mut driver = Driver::start(child, json!(1));
    driver.input(&Input::Failed { task: "/do/0/a".to_owned(), error: broken });
    assert!(driver.input(&Input::Retry));
    let started: Vec<_> = driver
        .told
        .iter()
        .filter_map(|effect| match effect {
            Effect::StartChild { task, .. } => Some(task.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(started.len(), 2);
    assert_ne!(started[0], started[1], "another child, under another id");
}
