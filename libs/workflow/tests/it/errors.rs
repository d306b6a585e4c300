//! Raising, catching and retrying.

use muster_workflow::{Error, ErrorType, Fact, Handling, Status, TaskStatus};
use serde_json::{Value, json};

use crate::driver::{Driver, check};

fn unavailable() -> Error {
    Error { status: 503, ..Error::new(ErrorType::Communication, "the tool is away") }
}

#[test]
fn a_raised_error_faults_the_workflow() {
    let driver = Driver::start(
        "- a: {raise: {error: {type: 'https://example.com/no', status: 418, title: No,
             detail: '${ \"because \" + .why }'}}}",
        json!({"why": "tea"}),
    );
    assert_eq!(
        *driver.error(),
        Error {
            r#type: "https://example.com/no".to_owned(),
            status: 418,
            title: "No".to_owned(),
            detail: "because tea".to_owned(),
            instance: "/do/0/a".to_owned(),
        }
    );
}

#[test]
fn an_expression_that_fails_faults_the_task_with_the_standard_type() {
    let driver = Driver::start("- a: {set: {x: '${ .n + \"text\" }'}}", json!({"n": 1}));
    let error = driver.error();
    assert_eq!((error.status, error.instance.as_str()), (400, "/do/0/a"));
    assert!(error.r#type.ends_with("/errors/expression"));
    assert!(error.detail.contains("cannot calculate 1 + \"text\""), "{error}");
}

#[test]
fn catch_swallows_what_its_filter_matches() {
    let tasks = |filter: &str| {
        format!(
            "
        - careful:
            try:
              - a: {{raise: {{error: {{type: 'https://example.com/no', status: 418}}}}}}
            catch: {{errors: {{with: {filter}}}}}
        "
        )
    };
    check(&tasks("{status: 418}"), json!(1), json!(1));
    check(
        &tasks("{type: 'https://example.com/no', instance: /do/0/careful/try/0/a}"),
        json!(1),
        json!(1),
    );
    for other in ["{status: 500}", "{title: x}", "{type: 'https://example.com/other'}"] {
        assert_eq!(Driver::start(&tasks(other), json!(1)).error().status, 418, "{other}");
    }
}

#[test]
fn catch_knows_the_error_and_runs_its_tasks() {
    check(
        "
        - careful:
            try:
              - a: {set: {lost: true}}
              - b: {raise: {error: {type: 'https://example.com/no', status: 418, title: No}}}
            catch:
              as: trouble
              when: $trouble.status >= 400
              exceptWhen: $trouble.title == \"Yes\"
              do:
                - note: {set: {was: '${ $trouble.title }', input: '${ .n }'}}
        - after: {set: {was: '${ .was }', input: '${ .input }', after: true}}
        ",
        json!({"n": 7}),
        json!({"was": "No", "input": 7, "after": true}),
    );
}

#[test]
fn a_catch_that_does_not_want_an_error_lets_it_through_to_the_next() {
    let tasks = |inner: &str| {
        format!(
            "
        - outer:
            try:
              - inner:
                  try: [a: {{raise: {{error: {{type: 'https://example.com/no', status: 418}}}}}}]
                  catch: {{{inner}}}
            catch: {{do: [note: {{set: {{by: outer}}}}]}}
        "
        )
    };
    for inner in ["when: 'false'", "exceptWhen: 'true'", "errors: {with: {status: 500}}"] {
        check(&tasks(inner), json!({}), json!({"by": "outer"}));
    }
    // An error of the handler, or of the condition, is not caught by the same catch.
    check(
        &tasks("do: [b: {raise: {error: {type: 'https://example.com/b', status: 500}}}]"),
        json!({}),
        json!({"by": "outer"}),
    );
    check(&tasks("when: $error.status.wrong"), json!({}), json!({"by": "outer"}));
}

#[test]
fn a_failed_call_is_retried_with_growing_pauses() {
    let mut driver = Driver::start(
        "
        - careful:
            try: [a: {call: tool, with: {tool: t}}]
            catch:
              errors: {with: {status: 503}}
              retry: {delay: {seconds: 2}, backoff: {exponential: {}}, limit: {attempt: {count: 3}}}
        ",
        json!({}),
    );
    let mut key = "/do/0/careful/try/0/a".to_owned();
    for (attempt, pause) in [(2, 2.0), (3, 4.0), (4, 8.0)] {
        driver.fail(&key, unavailable());
        assert_eq!(driver.status(), Status::Waiting);
        assert_eq!(driver.pause(), pause);
        assert_eq!(driver.fire(), format!("/do/0/careful#retry-{}", attempt - 1));
        key = format!("/do/0/careful/try/0/a@{attempt}");
        assert_eq!(driver.called(), [key.as_str()]);
    }
    let cancelled = |fact: &Fact| matches!(fact, Fact::CallCancelled { .. });
    assert!(!driver.journal.iter().any(cancelled), "a call that failed is not cancelled");
    let mut exhausted = driver.clone();
    driver.complete(&key, json!("at last"));
    assert_eq!(*driver.output(), json!("at last"));

    exhausted.fail(&key, unavailable());
    assert_eq!(exhausted.error().status, 503);
    assert_eq!(exhausted.error().instance, "/do/0/careful/try/0/a");
}

#[test]
fn backoff_is_constant_or_linear_and_jitter_stays_in_its_range() {
    let start = |retry: &str| {
        Driver::start(
            &format!(
                "
        - careful:
            try: [a: {{call: tool, with: {{tool: t}}}}]
            catch: {{retry: {{{retry}, limit: {{attempt: {{count: 9}}}}}}}}
        "
            ),
            json!({}),
        )
    };
    let pauses = |retry: &str| {
        let mut driver = start(retry);
        let mut pauses = Vec::new();
        for _ in 0..3 {
            let key = driver.called()[0].to_owned();
            driver.fail(&key, unavailable());
            pauses.push(driver.pause());
            driver.fire();
        }
        pauses
    };
    assert_eq!(pauses("delay: PT3S"), [3.0, 3.0, 3.0]);
    assert_eq!(pauses("delay: PT3S, backoff: {constant: {}}"), [3.0, 3.0, 3.0]);
    assert_eq!(pauses("delay: PT3S, backoff: {linear: {}}"), [3.0, 6.0, 9.0]);
    let jitter = "delay: PT3S, jitter: {from: {seconds: 1}, to: {seconds: 5}}";
    let jittered = pauses(jitter);
    assert!(jittered.iter().all(|pause| (4.0..=8.0).contains(pause)), "{jittered:?}");
    assert_ne!(jittered[0], jittered[1]);
    assert_eq!(jittered, pauses(jitter), "the same execution pauses the same");
}

#[test]
fn retries_that_do_not_help_lead_to_the_handler() {
    let text = "
document: {dsl: 1.0.3, namespace: tests, name: example, version: 1.0.0}
use: {retries: {once: {limit: {attempt: {count: 1}}}}}
do:
  - careful:
      try: [a: {call: tool, with: {tool: t}}]
      catch:
        retry: once
        do: [give-up: {set: {gave: up, why: '${ $error.detail }'}}]
";
    let mut driver = Driver::start_document(text, json!({}));
    driver.fail("/do/0/careful/try/0/a", unavailable());
    assert_eq!(driver.called(), ["/do/0/careful/try/0/a@2"]);
    driver.fail("/do/0/careful/try/0/a@2", unavailable());
    assert_eq!(*driver.output(), json!({"gave": "up", "why": "the tool is away"}));
    let handlings: Vec<_> = driver
        .journal
        .iter()
        .filter_map(|fact| match fact {
            Fact::ErrorCaught { handling, .. } => Some(*handling),
            _ => None,
        })
        .collect();
    assert_eq!(handlings, [Handling::Retry, Handling::Do]);
}

#[test]
fn a_retry_has_conditions_and_a_limit_of_time() {
    let tasks = |retry: &str| {
        format!(
            "
        - careful:
            try: [a: {{call: tool, with: {{tool: t}}}}]
            catch: {{retry: {{delay: PT10S, {retry}}}}}
        "
        )
    };
    for retry in [
        "when: $error.status == 500, limit: {attempt: {count: 5}}",
        "exceptWhen: $error.status == 503, limit: {attempt: {count: 5}}",
    ] {
        let mut driver = Driver::start(&tasks(retry), json!({}));
        driver.fail("/do/0/careful/try/0/a", unavailable());
        assert_eq!(driver.error().status, 503, "{retry}");
    }
    let mut driver = Driver::start(&tasks("limit: {duration: PT15S}"), json!({}));
    driver.fail("/do/0/careful/try/0/a", unavailable());
    driver.fire();
    driver.fail("/do/0/careful/try/0/a@2", unavailable());
    driver.fire();
    driver.fail("/do/0/careful/try/0/a@3", unavailable());
    assert_eq!(driver.status(), Status::Faulted);
}

#[test]
fn an_error_in_one_branch_stops_the_others() {
    let mut driver = Driver::start(
        "
        - both:
            fork:
              branches:
                - one: {call: tool, with: {tool: t}}
                - two: {wait: PT5S}
                - three: {call: tool, with: {tool: t}}
        ",
        json!({}),
    );
    driver.fail("/do/0/both/fork/branches/0/one", unavailable());
    assert_eq!(driver.error().instance, "/do/0/both/fork/branches/0/one");
    assert!(driver.calls.is_empty() && driver.timers.is_empty());
    let statuses: Vec<_> = driver.execution.tasks().map(|task| task.status).collect();
    use TaskStatus::{Cancelled, Faulted};
    assert_eq!(statuses, [Faulted, Faulted, Cancelled, Cancelled]);
}

#[test]
fn a_race_is_won_by_the_first_that_ends_well_and_lost_when_all_fail() {
    let tasks = "
        - race:
            fork:
              compete: true
              branches:
                - one: {call: tool, with: {tool: t}}
                - two: {call: tool, with: {tool: t}}
        ";
    let (one, two) = ("/do/0/race/fork/branches/0/one", "/do/0/race/fork/branches/1/two");
    let mut driver = Driver::start(tasks, json!({}));
    driver.fail(one, unavailable());
    assert_eq!(driver.status(), Status::Running);
    driver.complete(two, json!("second wins"));
    assert_eq!(*driver.output(), json!("second wins"));

    let mut driver = Driver::start(tasks, json!({}));
    driver.complete(one, json!("first wins"));
    assert_eq!(*driver.output(), json!("first wins"));
    assert!(driver.calls.is_empty());

    let mut driver = Driver::start(tasks, json!({}));
    driver.fail(one, unavailable());
    driver.fail(two, Error { status: 599, ..unavailable() });
    assert_eq!(driver.error().status, 599);
}

#[test]
fn reusable_errors_are_raised_by_name() {
    let text = "
document: {dsl: 1.0.3, namespace: tests, name: example, version: 1.0.0}
use: {errors: {no: {type: 'https://example.com/no', status: 418, detail: '${ .why }'}}}
do: [a: {raise: {error: no}}]
";
    let driver = Driver::start_document(text, json!({"why": "x"}));
    assert_eq!((driver.error().status, driver.error().detail.as_str()), (418, "x"));
    assert_eq!(driver.execution.output(), None::<&Value>);
}
