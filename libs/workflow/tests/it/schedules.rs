//! Workflows that start by themselves, and what is wrong in what waits for events.

use muster_workflow::{Definition, Gathered, Schedule};
use serde_json::{Value, json};

use crate::driver::document;
use crate::events::event;

#[test]
fn what_is_wrong_in_listen_emit_and_schedule_is_told_with_its_place() {
    let check = |text: &str, expected: &str| {
        let problems = Definition::parse(text).map(|_| ()).unwrap_err().to_string();
        assert!(problems.contains(expected), "{problems}\n{expected}");
    };
    let listen = |to: &str, expected: &str| {
        check(&document(&format!("- hear: {{listen: {{to: {to}}}}}")), expected);
    };
    listen("{}", "/do/0/hear/listen/to: one of `one`, `any` and `all` is missing");
    listen(
        "{one: {with: {type: a}}, all: []}",
        "only one of `one`, `any` and `all` is possible, not one and all",
    );
    listen("{all: []}", "/do/0/hear/listen/to/all: `all` is empty");
    listen("{one: {}}", "/do/0/hear/listen/to/one/with: `with` is missing");
    listen("{one: {with: {Type: a}}}", "`Type` is not an attribute of an event");
    listen("{one: {with: {type: '(a'}}}", "`(a` is not a regular expression: ");
    listen("{one: {with: {type: [a]}}}", "`type` must be a text or an expression, not a list of 1");
    listen(
        "{one: {with: {data: {n: '${ .n }'}}}}",
        "an expression inside `data` is not supported in a filter",
    );
    listen(
        "{one: {with: {type: a}}, until: 'true'}",
        "`until` is not supported in the strategy `one`",
    );
    listen("{any: [], until: 3}", "`until` must be an expression or events, not the number 3");
    listen(
        "{any: [], until: {any: [], until: 'true'}}",
        "`until` is not supported in the strategy `any`",
    );
    listen("{one: {with: {type: a}, correlate: {x: {}}}}", "correlate/x/from: `from` is missing");
    listen(
        "{any: [{with: {type: a}, correlate: {x: {from: .a, expect: '1'}}}, {with: {type: b}, correlate: {x: {from: .b, expect: '2'}}}]}",
        "the correlation `x` has two values of `expect`",
    );
    check(
        &document("- a: {listen: {to: {any: []}, read: all}}"),
        "/do/0/a/listen/read: `all` is neither data, envelope nor raw",
    );
    check(
        &document("- a: {emit: {event: {with: {type: t}}}}"),
        "/do/0/a/emit/event/with/source: `source` is missing",
    );
    check(
        &document("- a: {emit: {event: {with: {type: t, source: 'x://y', time: noon}}}}"),
        "`time` is \"noon\", but it must be a time",
    );
    let schedule = |schedule: &str, expected: &str| {
        check(&format!("{}schedule: {schedule}\n", document("- a: {wait: PT1S}")), expected);
    };
    schedule("{}", "/schedule: `schedule` needs one of every, cron, after, on");
    schedule("{every: PT1M, cron: '0 0 * * *'}", "`schedule` can have only one of every and cron");
    schedule("{every: {milliseconds: 10}}", "/schedule/every: `every` must be a second or more");
    schedule(
        "{cron: '0 0 * *'}",
        "/schedule/cron: `0 0 * *` is not a cron expression: it has 4 fields",
    );
    schedule("{on: {one: {with: {data: '${ $context }'}}}}", "/schedule/on/one/with/data");
}

/// Offers events to the trigger of a schedule as orchestration does, and tells what it starts.
fn started(on: &str, events: &[Value]) -> Vec<Value> {
    let text = format!("{}schedule: {{on: {on}}}\n", document("- a: {wait: PT1S}"));
    let definition = Definition::parse(&text).unwrap();
    let Some(Schedule::Events(trigger)) = definition.schedule() else { panic!("{text}") };
    let (mut open, mut inputs) = (Vec::new(), Vec::new());
    for event in events {
        if let Gathered::Complete { input, .. } = trigger.gather(&mut open, event) {
            inputs.push(Value::Array(input));
        }
    }
    inputs
}

#[test]
fn events_start_a_workflow_with_all_that_it_waits_for() {
    let a = |n: i64| event("a", json!(n), json!({}));
    let b = |n: i64| event("b", json!(n), json!({}));
    assert_eq!(
        started("{one: {with: {type: a, data: '${ . > 1 }'}}}", &[a(1), a(2), b(3), a(4)]),
        [json!([a(2)]), json!([a(4)])]
    );
    assert_eq!(started("{any: [{with: {type: b}}]}", &[a(1), b(2)]), [json!([b(2)])]);
    let all = "{all: [{with: {type: a}, correlate: {n: {from: .data}}}, {with: {type: b}, correlate: {n: {from: .data}}}]}";
    let expected = [json!([b(2), a(2)]), json!([a(1), b(1)])];
    assert_eq!(started(all, &[a(1), b(2), a(2), b(1), b(7)]), expected);
    let pairs = "{all: [{with: {type: a}}, {with: {type: b}}]}";
    let expected = [json!([a(1), b(1)]), json!([a(2), b(2)])];
    assert_eq!(started(pairs, &[a(1), a(2), b(1), b(2)]), expected);
    let until = "{any: [{with: {type: a}}], until: {one: {with: {type: b}}}}";
    assert_eq!(started(until, &[a(1), a(2), b(3), b(4)]), [json!([a(1), a(2)]), json!([])]);
    let count = "{any: [{with: {type: a}}], until: length == 2}";
    assert_eq!(started(count, &[a(1), b(2), a(3), a(4)]), [json!([a(1), a(3)])]);
}

#[test]
fn times_are_counted_from_the_beginning_of_a_schedule() {
    let times = |schedule: &str, since: &str, after: &str| {
        let text = format!("{}schedule: {schedule}\n", document("- a: {wait: PT1S}"));
        let definition = Definition::parse(&text).unwrap();
        let Some(Schedule::Times(times)) = definition.schedule() else { panic!("{text}") };
        times.next(since.parse().unwrap(), after.parse().unwrap()).unwrap().to_rfc3339()
    };
    let hour = "{every: {minutes: 90}}";
    let began = "2026-01-01T12:00:00.5Z";
    assert_eq!(times(hour, began, began), "2026-01-01T13:30:00.500+00:00");
    assert_eq!(times(hour, began, "2026-01-01T13:30:00.5Z"), "2026-01-01T15:00:00.500+00:00");
    assert_eq!(times(hour, began, "2026-01-09T13:30:00Z"), "2026-01-09T13:30:00.500+00:00");
    assert_eq!(times(hour, began, "2025-01-01T00:00:00Z"), "2026-01-01T13:30:00.500+00:00");
    let noon = "{cron: '0 12 * * *'}";
    assert_eq!(times(noon, began, "2026-01-09T13:30:00Z"), "2026-01-10T12:00:00+00:00");
}
