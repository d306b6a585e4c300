//! The language's own properties, one by one, as its reference has them.

use muster_workflow::{Definition, Error, ErrorType};
use serde_json::{Value, json};

use crate::driver::{Driver, check, document};

fn problems(text: &str) -> String {
    Definition::parse(text).unwrap_err().to_string()
}

#[test]
fn each_attempt_of_a_try_may_have_a_time_limit() {
    let tasks = "
- careful:
    try: [{slow: {call: tool, with: {tool: slow}}}]
    catch:
      errors: {with: {type: 'https://serverlessworkflow.io/spec/1.0.0/errors/timeout'}}
      retry: {delay: PT5S, limit: {attempt: {count: 1, duration: PT10S}}}
      do: [{told: {set: {detail: '${ $error.detail }', at: '${ $error.instance }'}}}]
";
    let mut driver = Driver::start(tasks, Value::Null);
    assert!((driver.pause() - 10.0).abs() < f64::EPSILON);
    driver.fire();
    assert!(driver.called().is_empty(), "the attempt is stopped");
    assert!((driver.pause() - 5.0).abs() < f64::EPSILON, "{:?}", driver.timers);
    driver.fire();
    assert_eq!(driver.called(), ["/do/0/careful/try/0/slow@2"]);
    driver.fire();
    let expected = "attempt 2 of `careful` took longer than its limit";
    assert_eq!(*driver.output(), json!({"detail": expected, "at": "/do/0/careful"}));
    assert!(driver.timers.is_empty());

    let mut driver = Driver::start(tasks, Value::Null);
    driver.complete("/do/0/careful/try/0/slow", json!("quick"));
    assert_eq!((driver.output(), driver.timers.len()), (&json!("quick"), 0));
    let mut driver = Driver::start(tasks, Value::Null);
    let error = Error::new(ErrorType::Runtime, "not caught");
    driver.fail("/do/0/careful/try/0/slow", error);
    assert_eq!((driver.error().detail.as_str(), driver.timers.len()), ("not caught", 0));
}

#[test]
fn variables_are_where_the_specification_has_them() {
    let refused = |task: &str, variable: &str, place: &str| {
        let told = problems(&document(&format!("- a: {task}")));
        assert!(told.contains(&format!("{place}: there is no variable {variable} here")), "{told}");
    };
    refused("{set: {x: 1}, input: {from: $input}}", "$input", "/do/0/a/input/from");
    refused("{set: {x: 1}, input: {from: $authorization}}", "$authorization", "/do/0/a/input/from");
    refused("{set: {x: 1}, if: $authorization}", "$authorization", "/do/0/a/if");
    refused("{set: {x: 1}, output: {as: $output}}", "$output", "/do/0/a/output/as");
    let head = document("- a: {set: {x: 1}}");
    for (place, variable) in [
        ("input: {from: $context}", "$context"),
        ("input: {from: $task}", "$task"),
        ("output: {as: $input}", "$input"),
        ("output: {as: $output}", "$output"),
        ("output: {as: $task}", "$task"),
    ] {
        let told = problems(&format!("{head}{place}"));
        assert!(told.contains(&format!("there is no variable {variable} here")), "{place}: {told}");
    }
    let all =
        "{context: $context, task: $task.name, workflow: $workflow.id, runtime: $runtime.name}";
    let tasks = format!(
        "- a: {{set: '${{ {all} + {{input: $input}} }}', if: '{all} | true', input: {{from: '{all} | {{n: 1}}'}},
      output: {{as: '. + {{seen: $input, raw: $task.output.task}}'}}, export: {{as: '{{raw: $task.output.task, out: $output.seen}}'}}}}
- b: {{set: {{context: '${{ $context }}', before: '${{ . }}'}}}}"
    );
    let driver = Driver::start(&tasks, Value::Null);
    let first = json!({
        "context": null, "task": "a", "workflow": "execution-1", "runtime": "muster",
        "input": {"n": 1}, "seen": {"n": 1}, "raw": "a",
    });
    let expected = json!({"context": {"raw": "a", "out": {"n": 1}}, "before": first});
    assert_eq!(*driver.output(), expected);
}

#[test]
fn the_output_before_and_after_its_change_are_told_apart() {
    check(
        "
- a: {set: {n: 1}, output: {as: '{m: .n}'}, export: {as: '{raw: $task.output, out: $output}'}}
- b: {set: '${ $context }'}
",
        Value::Null,
        json!({"raw": {"n": 1}, "out": {"m": 1}}),
    );
}

#[test]
fn texts_are_expressions_in_the_loose_mode_and_themselves_where_they_fail() {
    let tasks = "
- a: {set: {name: .user, sum: '1 + 1', text: Hello there, strict: '${ .user }', wrong: '.user.x', list: [.user, '§']}}
";
    let text = format!("{}evaluate: {{mode: loose}}", document(tasks));
    let driver = Driver::start_document(&text, json!({"user": "Ada"}));
    let expected = json!({
        "name": "Ada", "sum": 2, "text": "Hello there", "strict": "Ada", "wrong": ".user.x", "list": ["Ada", "§"],
    });
    assert_eq!(*driver.output(), expected);
    let strict = format!(
        "{}evaluate: {{language: jq, mode: strict}}",
        document("- a: {set: {name: .user}}")
    );
    assert_eq!(*Driver::start_document(&strict, Value::Null).output(), json!({"name": ".user"}));
}

#[test]
fn other_languages_and_modes_are_refused() {
    let told = problems(&format!(
        "{}evaluate: {{language: js, mode: easy}}",
        document("- a: {set: {x: 1}}")
    ));
    assert!(told.contains("/evaluate/language: the string `js` is not supported"), "{told}");
    assert!(told.contains("/evaluate/mode: `mode` is the string `easy`"), "{told}");
}

#[test]
fn a_flow_that_certainly_never_ends_is_refused() {
    let refused = |tasks: &str, expected: &str| {
        let told = problems(&document(tasks));
        assert!(told.contains(expected), "{told}");
    };
    refused("- a: {set: {x: 1}, then: a}", "/do/0/a/then: the flow comes back to `a` for ever");
    refused(
        "- a: {set: {x: 1}}\n- b: {do: [{c: {set: {y: 1}}}]}\n- d: {switch: [{on: {then: a}}]}",
        "/do/2/d/then: the flow comes back to `a`",
    );
    refused("- a: {do: [{b: {set: {x: 1}, then: b}}]}", "/do/0/a/do/0/b/then: the flow comes back");
    for fine in [
        "- a: {set: {x: 1}}\n- b: {wait: PT1S, then: a}",
        "- a: {set: {x: 1}}\n- b: {call: tool, with: {tool: t}, then: a}",
        "- a: {set: {x: 1}}\n- b: {if: .x > 1, set: {y: 1}, then: a}",
        "- a: {set: {x: 1}}\n- b: {switch: [{on: {when: .x > 1, then: a}}]}",
        "- a: {do: [{b: {set: {x: 1}, then: end}}], then: a}",
        "- a: {raise: {error: {type: 'https://example.com/no', status: 500}}, then: a}",
    ] {
        assert!(Definition::parse(&document(fine)).is_ok(), "{fine}");
    }
}

#[test]
fn a_case_may_end_leave_or_go_on() {
    let tasks = |then: &str| {
        format!(
            "
- around:
    do:
    - choose: {{switch: [{{it: {{then: {then}}}}}]}}
    - next: {{set: {{next: true}}}}
- last: {{set: {{last: '${{ . }}'}}}}
"
        )
    };
    let output = |then: &str| Driver::start(&tasks(then), json!(1)).output().clone();
    assert_eq!(output("continue"), json!({"last": {"next": true}}));
    assert_eq!(output("exit"), json!({"last": 1}));
    assert_eq!(output("end"), json!(1));
    assert_eq!(output("next"), json!({"last": {"next": true}}));
}

#[test]
fn an_error_is_raised_by_its_name_with_expressions() {
    let text = format!(
        "{}use: {{errors: {{late: {{type: 'https://example.com/late', status: 504, title: '${{ \"Late by \\(.s) s\" }}', detail: '${{ $workflow.definition.document.name }}'}}}}}}",
        document("- a: {raise: {error: late}}")
    );
    let driver = Driver::start_document(&text, json!({"s": 3}));
    let error = driver.error();
    assert_eq!((error.title.as_str(), error.detail.as_str()), ("Late by 3 s", "example"));
    assert_eq!((error.status, error.instance.as_str()), (504, "/do/0/a"));
}

#[test]
fn years_and_months_have_no_fixed_length() {
    let told = problems(&document("- a: {wait: P1M}\n- b: {wait: P1Y2D}"));
    assert_eq!(told.matches("whose length is not fixed").count(), 2, "{told}");
}

#[test]
fn tags_and_metadata_are_kept_and_other_keys_are_refused() {
    let text = document(
        "- a: {set: {tag: '${ $workflow.definition.document.tags.team }'}, metadata: {any: [1]}}",
    );
    let tagged = text
        .replace("version: '1.0.0'}", "version: '1.0.0', tags: {team: blue}, metadata: {x: 1}}");
    assert_eq!(*Driver::start_document(&tagged, Value::Null).output(), json!({"tag": "blue"}));
    let told = problems(&text.replace("version: '1.0.0'}", "version: '1.0.0', owner: me}"));
    assert!(told.contains("`owner` is not supported in `document`"), "{told}");
}

#[test]
fn grpc_and_containers_are_refused_by_the_name_of_their_task() {
    let told =
        problems(&document("- ask: {call: grpc, with: {}}\n- box: {run: {container: {image: x}}}"));
    assert!(told.contains("/do/0/ask/call: `call: grpc` is not supported"), "{told}");
    assert!(told.contains("/do/1/box/run/container: `run: container` is not supported"), "{told}");
}
