//! What executions would have decided on another version.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use muster_workflow::{Changes, Decision, Execution, Fact, Fork, Input, Replayed, replayed};
use serde_json::{Value, json};

use crate::driver::{Driver, definition, document};

/// The facts of each input that the driver took.
fn transitions(driver: &Driver) -> Vec<(DateTime<Utc>, &[Fact])> {
    let ends = driver.history.iter().skip(1).map(|(.., length)| *length);
    let ends = ends.chain([driver.journal.len()]);
    let pairs = driver.history.iter().zip(ends);
    pairs.map(|((_, at, start), end)| (*at, &driver.journal[*start..end])).collect()
}

fn on(driver: &Driver, text: &str) -> Replayed {
    let own = driver.execution.definition();
    replayed(driver.execution.id(), (own, &definition(text)), transitions(driver), &|| true)
}

#[track_caller]
fn same(driver: &Driver, tasks: &str) {
    assert_eq!(on(driver, &document(tasks)), Replayed::Same, "{tasks}");
}

#[track_caller]
fn differs(driver: &Driver, tasks: &str) -> Decision {
    match on(driver, &document(tasks)) {
        Replayed::Differs(decision) => decision,
        other => panic!("{other:?}: {tasks}"),
    }
}

#[track_caller]
fn check(driver: &Driver, tasks: &str, position: u64, task: &str, words: [&str; 2]) {
    let decision = differs(driver, tasks);
    assert_eq!((decision.position, decision.task.as_str()), (position, task), "{decision:?}");
    assert!(decision.old.contains(words[0]), "{decision:?}");
    assert!(decision.new.contains(words[1]), "{decision:?}");
}

const TASKS: &str = "
- one: {set: {n: 1}}
- two: {call: tool, with: {tool: t, arguments: {n: '${ .n }'}}, output: {as: '${ .a }'}}
- which:
    switch:
    - large: {when: '. > 10', then: big}
    - small: {then: three}
- big: {set: {big: true}}
- three:
    do:
      - inner: {call: tool, with: {tool: u}}
      - after: {set: {x: 1}}
- four: {set: {done: true}}
";

/// Stands at `/do/4/three/do/0/inner`.
fn driver() -> Driver {
    let mut driver = Driver::start(TASKS, json!({}));
    driver.complete("/do/1/two", json!({"a": 1}));
    driver
}

#[test]
fn what_decides_alike_is_no_difference_however_it_is_written() {
    let driver = driver();
    same(&driver, TASKS);
    same(&driver, &TASKS.replace("done: true", "done: false"));
    same(&driver, &TASKS.replace("{n: 1}", "'${ {n: (2 - 1)} }'"));
    same(&driver, &TASKS.replace(". > 10", ". > 11"));
    same(&driver, &TASKS.replace("x: 1", "x: 2").replace("- four", "- new: {wait: PT1S}\n- four"));
    // A task that would have been skipped, also one that gives others another place.
    same(&driver, &TASKS.replace("- two", "- new: {if: .n > 1, set: {a: 1}}\n- two"));
    // A task that was never reached may go.
    same(
        &driver,
        &TASKS.replace("- big: {set: {big: true}}\n", "").replace("then: big", "then: four"),
    );
}

#[test]
fn the_first_decision_that_would_be_another_one_is_told() {
    let driver = driver();
    check(&driver, &TASKS.replace("{n: 1}", "{n: 2}"), 1, "/do/0/one", ["{\"n\":1}", "{\"n\":2}"]);
    check(&driver, &TASKS.replace("tool: t,", "tool: v,"), 1, "/do/1/two", ["\"t\"", "\"v\""]);
    check(
        &driver,
        &TASKS.replace(". > 10", ". > 0"),
        2,
        "/do/2/which",
        ["then `three`", "then `big`"],
    );
    check(
        &driver,
        &TASKS.replace("- two", "- new: {set: {n: 1}}\n- two"),
        1,
        "/do/1/two",
        ["begins `two` (call)", "begins `new` (set)"],
    );
    check(
        &driver,
        &TASKS.replace("- one: {set: {n: 1}}\n", ""),
        1,
        "/do/0/one",
        ["`one`", "`two`"],
    );
    // Of an answer only the output is kept: what would have been made of it cannot be told.
    check(&driver, &TASKS.replace("${ .a }", "${ .b }"), 2, "/do/1/two", [".a", ".b"]);
    check(
        &driver,
        &TASKS.replace("tool: u", "tool: v"),
        2,
        "/do/4/three/do/0/inner",
        ["\"u\"", "\"v\""],
    );
}

#[test]
fn places_may_be_others_and_times_count() {
    let tasks = "
- gone: {if: .never, set: {x: 1}}
- nap: {wait: PT1H}
- ask: {call: tool, with: {tool: t}, timeout: {after: PT5S}}
- again:
    try:
    - fails: {call: tool, with: {tool: t}}
    catch: {retry: {delay: PT1S, limit: {attempt: {count: 3}}}}
";
    let mut driver = Driver::start(tasks, json!({"never": false}));
    driver.fire();
    driver.complete("/do/2/ask", json!({"n": 1}));
    let broken = muster_workflow::Error::new(muster_workflow::ErrorType::Communication, "broken");
    driver.fail("/do/3/again/try/0/fails", broken);
    driver.fire();
    same(&driver, tasks);
    same(&driver, &tasks.replace("- gone: {if: .never, set: {x: 1}}\n", ""));
    same(&driver, &tasks.replace("count: 3", "count: 4"));
    check(&driver, &tasks.replace("PT1H", "PT2H"), 1, "/do/1/nap", ["Wait", "Wait"]);
    check(&driver, &tasks.replace("PT5S", "PT6S"), 2, "/do/2/ask", ["Timeout", "Timeout"]);
    check(&driver, &tasks.replace("count: 3", "count: 0"), 4, "/do/3/again", ["caught", "fails"]);
}

#[test]
fn events_suspensions_and_retries_are_followed() {
    let tasks = "
- hear:
    listen: {to: {any: [{with: {type: reading}}], until: '(. | length) == 2'}}
    foreach:
      do:
      - look: {set: '${ {c: $item.celsius} }'}
- both:
    fork:
      branches:
      - ask: {call: tool, with: {tool: t}}
      - nap: {wait: PT1S}
- last: {call: tool, with: {tool: t}}
";
    let mut driver = Driver::start(tasks, json!({}));
    let event = |n: u64| json!({"specversion": "1.0", "id": n.to_string(), "source": "/s", "type": "reading", "data": {"celsius": n}});
    for n in 1..3 {
        let task = Some("/do/0/hear".to_owned());
        driver.input(&Input::Event { task, position: n, event: event(n) });
    }
    driver.input(&Input::Suspend { reason: "lunch".to_owned() });
    driver.complete("/do/1/both/fork/branches/0/ask", json!({"n": 1}));
    driver.input(&Input::Resume);
    driver.fire();
    let broken = muster_workflow::Error::new(muster_workflow::ErrorType::Communication, "broken");
    driver.fail("/do/2/last", broken);
    driver.input(&Input::Retry);
    assert_eq!(driver.called(), ["/do/2/last@2"]);
    same(&driver, tasks);
    same(&driver, &format!("{tasks}- more: {{set: {{x: 1}}}}\n"));
    same(&driver, &tasks.replace("c: $item.celsius", "c: ($item.celsius + 0)"));
    check(
        &driver,
        &tasks.replace("c: $item.celsius", "c: 7"),
        2,
        "/do/0/hear[0]/foreach/do/0/look",
        ["{\"c\":1}", "{\"c\":7}"],
    );
    check(&driver, &tasks.replace("== 2", "== 3"), 2, "/do/0/hear", ["== 2", "== 3"]);
    check(
        &driver,
        &tasks.replace("- nap: {wait: PT1S}", "- nap: {set: {x: 1}}"),
        3,
        "/do/1/both/fork/branches/1/nap",
        ["(wait)", "(set)"],
    );
}

#[test]
fn a_fork_is_followed_through_what_it_copied() {
    let origin = driver();
    let fork = Fork {
        origin: "execution-1",
        position: 2,
        copied: &origin.journal,
        at: origin.now,
        changes: &Changes { data: Some(json!(7)), ..Changes::default() },
    };
    let own = origin.execution.definition().clone();
    let (_, facts) = Execution::forked("fork", own.clone(), &fork, origin.now).unwrap();
    let copied = transitions(&origin);
    let all: Vec<_> = copied.into_iter().chain([(origin.now, facts.as_slice())]).collect();
    let on = |tasks: &str| {
        replayed("fork", (&own, &definition(&document(tasks))), all.iter().copied(), &|| true)
    };
    assert_eq!(on(&TASKS.replace("x: 1", "x: 2")), Replayed::Same);
    assert!(matches!(on(&TASKS.replace("{n: 1}", "{n: 2}")), Replayed::Differs(_)));
}

#[test]
fn a_replay_ends_when_it_is_told_to_and_what_no_engine_writes_is_unclear() {
    let driver = driver();
    let other = definition(&document(&TASKS.replace("{n: 1}", "{n: 2}")));
    let own = driver.execution.definition();
    let stopped = replayed("execution-1", (own, &other), transitions(&driver), &|| false);
    assert_eq!(stopped, Replayed::Unfinished);
    let mut journal = driver.journal.clone();
    journal.retain(|fact| !matches!(fact, Fact::TaskCompleted { task, .. } if task == "/do/0/one"));
    let strange = [(driver.now, journal.as_slice())];
    assert_eq!(replayed("execution-1", (own, &other), strange, &|| true), Replayed::Unclear);
    assert_eq!(driver.execution.input(), &Value::Object(serde_json::Map::new()));
    assert!(Arc::strong_count(own) > 0);
}
