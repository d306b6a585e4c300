//! Hostile expressions in every place that has one: the task faults where its own data decide, and who waits for events
//! does not want the event. Each ends soon.

use muster_workflow::{Definition, Error, ErrorType, Gathered, Input, Schedule, Status};
use serde_json::{Value, json};

use crate::driver::{Driver, document};
use crate::events::event;

/// Endless, deep, and exploding in memory.
const HOSTILE: [&str; 3] = ["def f: f; f", "def f: [f]; f", "\"x\" * 1e12"];

/// Each hostile expression in place of `@`.
fn each(text: &str, check: impl Fn(&str)) {
    for expression in HOSTILE {
        check(&text.replace('@', &json!(format!("${{ {expression} }}")).to_string()));
    }
}

#[track_caller]
fn stopped(driver: &Driver, place: &str, text: &str) {
    let error: &Error = driver.error();
    let kinds = [ErrorType::Expression.uri(), ErrorType::Runtime.uri()];
    assert!(kinds.contains(&error.r#type), "{error}: {text}");
    assert!(error.instance.starts_with(place), "{error:?} is not at {place}: {text}");
}

#[test]
fn a_task_faults_wherever_its_expression_stands() {
    for tasks in [
        "- a: {if: @, set: {x: 1}}",
        "- a: {set: {x: @}}",
        "- a: {set: @}",
        "- a: {switch: [{one: {when: @, then: end}}]}",
        "- a: {for: {in: @}, do: [{b: {set: {x: 1}}}]}",
        "- a: {for: {in: '${ [1, 2] }'}, while: @, do: [{b: {set: {x: 1}}}]}",
        "- a: {set: {x: 1}, input: {from: @}}",
        "- a: {set: {x: 1}, output: {as: @}}",
        "- a: {set: {x: 1}, export: {as: @}}",
        "- a: {set: {x: 1}, timeout: {after: @}}",
        "- a: {wait: @}",
        "- a: {raise: {error: {type: 'https://e.com/x', status: 400, detail: @}}}",
        "- a: {call: tool, with: {tool: t, arguments: {x: @}}}",
        "- a: {call: http, with: {method: get, endpoint: @}}",
        "- a: {run: {workflow: {namespace: n, name: @, version: latest}}}",
        "- a: {run: {workflow: {namespace: n, name: w, version: latest, input: {x: @}}}}",
        "- a: {emit: {event: {with: {type: t, source: 'https://e.com', data: {x: @}}}}}",
        "- a: {listen: {to: {one: {with: {type: t}, correlate: {x: {from: .x, expect: @}}}}}}",
        "- a: {fork: {branches: [{b: {set: {x: @}}}]}}",
    ] {
        each(tasks, |tasks| stopped(&Driver::start(tasks, json!({})), "/do/0/a", tasks));
    }
}

#[test]
fn what_decides_about_an_error_ends_with_its_own() {
    let raised = "raise: {error: {type: 'https://e.com/x', status: 400}}";
    for catch in [
        "{when: @, do: []}",
        "{exceptWhen: @, do: []}",
        "{retry: {when: @, limit: {attempt: {count: 3}}}}",
        "{retry: {exceptWhen: @, limit: {attempt: {count: 3}}}}",
    ] {
        let tasks = format!("- a: {{try: [{{b: {{{raised}}}}}], catch: {catch}}}");
        each(&tasks, |tasks| stopped(&Driver::start(tasks, json!({})), "/do/0/a", tasks));
    }
}

#[test]
fn the_workflow_faults_where_the_expression_is_its_own() {
    for (own, place) in [
        ("input: {from: @}", "/input"),
        ("output: {as: @}", "/output"),
        ("timeout: {after: @}", "/timeout"),
    ] {
        let text = format!("{}{own}\n", document("- a: {set: {x: 1}}"));
        each(&text, |text| stopped(&Driver::start_document(text, json!({})), place, text));
    }
    let extended = "
document: {dsl: '1.0.3', namespace: tests, name: example, version: '1.0.0'}
use: {extensions: [{e: {extend: all, when: @, before: [{b: {set: {x: 1}}}]}}]}
do: [{a: {set: {x: 1}}}]
";
    each(extended, |text| stopped(&Driver::start_document(text, json!({})), "/do/0/a", text));
    let called = "
document: {dsl: '1.0.3', namespace: tests, name: example, version: '1.0.0'}
use: {functions: {f: {set: {x: 1}}}}
do: [{a: {call: f, with: {x: @}}}]
";
    each(called, |text| stopped(&Driver::start_document(text, json!({})), "/do/0/a", text));
}

/// An execution that listens as it says, after an event.
fn heard(tasks: &str) -> Driver {
    let mut driver = Driver::start(tasks, json!({}));
    let (task, event) = (Some("/do/0/a".to_owned()), event("t", json!({"x": 1}), json!({})));
    driver.input(&Input::Event { task, position: 1, event });
    driver
}

#[test]
fn what_is_done_with_an_event_faults_the_task_that_took_it() {
    for tasks in [
        "- a: {listen: {to: {any: [{with: {type: t}}], until: @}}}",
        "- a: {listen: {to: {any: [{with: {type: t}}], until: '(. | length) > 5'}}, foreach: {do: [{b: {set: {x: @}}}]}}",
        "- a: {listen: {to: {any: [{with: {type: t}}], until: '(. | length) > 5'}}, foreach: {output: {as: @}}}",
        "- a: {listen: {to: {any: [{with: {type: t}}], until: '(. | length) > 5'}}, foreach: {export: {as: @}}}",
    ] {
        each(tasks, |tasks| stopped(&heard(tasks), "/do/0/a", tasks));
    }
}

#[test]
fn a_filter_that_is_hostile_wants_no_event_and_harms_nobody() {
    for filter in [
        "{with: {type: @}}",
        "{with: {type: t, data: @}}",
        "{with: {type: t}, correlate: {x: {from: @}}}",
    ] {
        let tasks = format!("- a: {{listen: {{to: {{one: {filter}}}}}}}");
        each(&tasks, |tasks| assert_eq!(heard(tasks).status(), Status::Waiting, "{tasks}"));
        let schedule =
            format!("{}schedule: {{on: {{one: {filter}}}}}\n", document("- a: {wait: PT1S}"));
        each(&schedule, |text| {
            let definition = Definition::parse(text).unwrap();
            let Some(Schedule::Events(trigger)) = definition.schedule() else { panic!("{text}") };
            assert!(!trigger.wants(&event("t", json!({"x": 1}), json!({}))), "{text}");
            let mut open = Vec::new();
            let gathered = trigger.gather(&mut open, &event("t", json!({"x": 1}), json!({})));
            assert!(matches!(gathered, Gathered::Unwanted) && open.is_empty(), "{text}");
        });
    }
    // Another listener of the same execution hears it all the same.
    let tasks = "
- both:
    fork:
      compete: true
      branches:
      - bad: {listen: {to: {one: {with: {type: '${ last(range(1e18)) }'}}}}}
      - good: {listen: {to: {one: {with: {type: t}}}}}
";
    let mut driver = Driver::start(tasks, Value::Null);
    driver.input(&Input::Event { task: None, position: 1, event: event("t", json!(7), json!({})) });
    assert_eq!(*driver.output(), json!([7]));
}
