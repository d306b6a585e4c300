//! Going on as another execution: what is asked anew, what is changed, and what is refused.

use std::collections::VecDeque;

use muster_workflow::{
    Changes, Effect, Execution, Fact, Fork, ForkError, Input, Status, effects, step,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::driver::{Driver, definition, document, noon};
use crate::replay::{answer, run, task, written};

const TASKS: &str = "
- one: {call: tool, with: {tool: t, arguments: {n: '${ .n }'}}, export: {as: '{one: .}'}}
- both:
    fork:
      branches:
        - ask: {call: tool, with: {tool: t, arguments: {was: '${ .a }', context: '${ $context.one.a }'}}}
        - nap: {wait: PT1H}
- last: {set: {both: '${ . }', context: '${ $context }'}}
";

/// The driver's execution as a fork, with the effects of all its facts.
fn fork(
    driver: &Driver,
    changes: &Changes,
) -> Result<(Execution, Vec<Fact>, Vec<Effect>), ForkError> {
    let fork = Fork {
        origin: "execution-1",
        position: 2,
        copied: &driver.journal,
        at: driver.now,
        changes,
    };
    let later = noon() + chrono::TimeDelta::days(1);
    let definition = driver.execution.definition().clone();
    let (execution, own) = Execution::forked("execution-2", definition, &fork, later)?;
    let facts: Vec<Fact> = driver.journal.iter().chain(&own).cloned().collect();
    let mut replayed = Execution::new("execution-2", execution.definition().clone());
    facts.iter().for_each(|fact| replayed.apply(fact));
    assert_eq!(replayed.hash(), execution.hash());
    let effects = effects(&facts);
    Ok((execution, own, effects))
}

fn in_the_fork() -> Driver {
    let mut driver = Driver::start(TASKS, json!({"n": 1}));
    driver.now += chrono::TimeDelta::minutes(10);
    driver.complete("/do/0/one", json!({"a": "first"}));
    driver.now += chrono::TimeDelta::minutes(15);
    driver
}

fn complete(execution: &mut Execution, task: &str, output: Value) {
    let input = Input::Completed { task: task.to_owned(), output };
    assert!(!execution.advance(&input, noon()).is_empty(), "{task}");
}

#[test]
fn what_was_in_flight_is_asked_anew_and_nothing_else() {
    let driver = in_the_fork();
    let (mut execution, own, effects) = fork(&driver, &Changes::default()).unwrap();
    assert_eq!(own.len(), 1, "{own:?}");
    let [
        Effect::Call { task, arguments, .. },
        Effect::SetTimer { timer, at },
        Effect::Forked { origin, position: 2 },
    ] = effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    assert_eq!((task.as_str(), origin.as_str()), ("/do/1/both/fork/branches/0/ask", "execution-1"));
    assert_eq!(arguments["arguments"], json!({"was": "first", "context": "first"}));
    // Set for an hour, of which a quarter was over.
    assert_eq!(*at, noon() + chrono::TimeDelta::days(1) + chrono::TimeDelta::minutes(45));
    assert_eq!(execution.origin().map(|origin| origin.position), Some(2));
    complete(&mut execution, "/do/1/both/fork/branches/0/ask", json!("answer"));
    let timer = timer.clone();
    execution.advance(&Input::TimerFired { timer }, noon());
    assert_eq!(execution.status(), Status::Completed);
    let expected = json!({"both": ["answer", {"a": "first"}], "context": {"one": {"a": "first"}}});
    assert_eq!(execution.output(), Some(&expected));
}

#[test]
fn a_fork_of_a_fork_asks_anew_once() {
    let mut driver = in_the_fork();
    let (execution, own, _) = fork(&driver, &Changes::default()).unwrap();
    driver.journal.extend(own);
    driver.execution = execution;
    let (_, _, effects) = fork(&driver, &Changes::default()).unwrap();
    assert_eq!(effects.len(), 3, "{effects:?}");
}

#[test]
fn data_is_for_one_task_which_begins_again() {
    let driver = in_the_fork();
    let changes = |task: Option<&str>| Changes {
        data: Some(json!({"a": "other"})),
        task: task.map(str::to_owned),
        ..Changes::default()
    };
    let ask = "/do/1/both/fork/branches/0/ask";
    let (_, _, effects) = fork(&driver, &changes(Some(ask))).unwrap();
    let calls: Vec<_> = effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Call { task, arguments, .. } => Some((task.as_str(), &arguments["arguments"])),
            _ => None,
        })
        .collect();
    let expected = json!({"was": "other", "context": "first"});
    assert_eq!(calls, [("/do/1/both/fork/branches/0/ask@2", &expected)]);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::SetTimer { .. })), "{effects:?}");
    let several = fork(&driver, &changes(None)).unwrap_err();
    assert!(several.to_string().contains("2 tasks are in flight"), "{several}");
    let none = fork(&driver, &changes(Some("/do/0/one"))).unwrap_err();
    assert!(none.to_string().contains(ask), "{none}");
}

#[test]
fn a_changed_context_is_seen_by_all_that_was_in_flight() {
    let driver = in_the_fork();
    let changes = Changes { context: Some(json!({"one": {"a": "changed"}})), ..Changes::default() };
    let (mut execution, own, effects) = fork(&driver, &changes).unwrap();
    assert!(own.contains(&Fact::ContextSet {
        task: String::new(),
        context: json!({"one": {"a": "changed"}})
    }));
    let timers = effects.iter().filter(|effect| matches!(effect, Effect::SetTimer { .. }));
    assert_eq!(timers.count(), 1, "{effects:?}");
    let called = effects.iter().find_map(|effect| match effect {
        Effect::Call { arguments, .. } => Some(arguments["arguments"]["context"].clone()),
        _ => None,
    });
    assert_eq!(called, Some(json!("changed")));
    complete(&mut execution, "/do/1/both/fork/branches/0/ask@2", json!("answer"));
    assert_eq!(execution.in_flight(), ["/do/1/both/fork/branches/1/nap@2"]);
}

#[test]
fn data_for_the_only_task_in_flight_needs_no_name() {
    let driver = Driver::start(TASKS, json!({"n": 1}));
    let changes = Changes { data: Some(json!({"n": 2})), ..Changes::default() };
    let (_, _, effects) = fork(&driver, &changes).unwrap();
    let arguments = effects.iter().find_map(|effect| match effect {
        Effect::Call { arguments, .. } => Some(&arguments["arguments"]),
        _ => None,
    });
    assert_eq!(arguments, Some(&json!({"n": 2})));
}

#[test]
fn nothing_goes_on_where_nothing_is_left() {
    let ended = Driver::start("- a: {set: {x: 1}}", json!({}));
    assert_eq!(fork(&ended, &Changes::default()).unwrap_err(), ForkError::Ended(Status::Completed));
    let empty = Driver::new(definition(&document("- a: {wait: PT1S}")));
    assert_eq!(fork(&empty, &Changes::default()).unwrap_err(), ForkError::NotBegun);
    let waiting = Driver::start("- a: {wait: PT1S}", json!({}));
    let size = usize::try_from(muster_workflow::limits::VALUE_SIZE).unwrap();
    let huge = Changes { data: Some(json!("x".repeat(size))), ..Changes::default() };
    let refused = fork(&waiting, &huge).map(drop).unwrap_err();
    assert!(matches!(refused, ForkError::TooLarge("data", _)), "{refused}");
    let task = Changes { task: Some("/do/0/a".to_owned()), ..Changes::default() };
    assert_eq!(fork(&waiting, &task).unwrap_err(), ForkError::TaskWithoutData);
}

#[test]
fn nobody_outside_makes_a_mark_of_a_secret() {
    let driver = Driver::start(TASKS, json!({"n": 1}));
    let changes = Changes { data: Some(json!({"n": "\u{fdd0}key"})), ..Changes::default() };
    let (_, _, effects) = fork(&driver, &changes).unwrap();
    let asked = format!("{effects:?}");
    assert!(!asked.contains('\u{fdd0}') && !asked.contains("fdd0"), "{asked}");
}

#[test]
fn null_is_data() {
    let changes: Changes = serde_json::from_value(json!({"data": null})).unwrap();
    assert_eq!(changes.data, Some(Value::Null));
    assert!(serde_json::from_value::<Changes>(json!({"date": 1})).is_err());
}

#[test]
fn the_pause_before_a_retry_and_a_loop_are_gone_on_with() {
    let tasks = "
- loop:
    for: {in: '[1, 2]'}
    do:
      - careful:
          try: [ask: {call: tool, with: {tool: t, arguments: {n: '${ $item }'}}}]
          catch: {retry: {delay: PT1M, limit: {attempt: {count: 3}}}}
";
    let mut driver = Driver::start(tasks, Value::Null);
    let communication = muster_workflow::ErrorType::Communication;
    let ask = "/do/0/loop[0]/do/0/careful/try/0/ask";
    driver.fail(ask, muster_workflow::Error::new(communication, "away"));
    let (mut execution, _, effects) = fork(&driver, &Changes::default()).unwrap();
    let Some(Effect::SetTimer { timer, .. }) = effects.first() else { panic!("{effects:?}") };
    assert!(!execution.advance(&Input::TimerFired { timer: timer.clone() }, noon()).is_empty());
    assert_eq!(execution.in_flight(), [format!("{ask}@2")]);
    let answered = Input::Completed { task: format!("{ask}@2"), output: json!(1) };
    assert!(!step(&execution, &answered, noon()).is_empty());
}

/// How an execution ended, whatever its id and in whatever order its tasks ran.
fn ended(execution: &Execution) -> (Status, Option<Value>, Option<String>, Vec<String>) {
    let mut tasks: Vec<_> =
        execution.tasks().map(|task| format!("{} {:?}", task.task, task.status)).collect();
    tasks.sort();
    let error = execution.error().map(ToString::to_string);
    (execution.status(), execution.output().cloned(), error, tasks)
}

/// Answers everything that the fork asks for, as it was answered in its origin, up to its end.
fn go_on(mut execution: Execution, asked: Vec<Effect>) -> Execution {
    let mut open: VecDeque<Effect> = asked.into();
    while let Some(effect) = open.pop_front() {
        let input = match effect {
            Effect::Call { task, arguments, .. } => answer(&task, &arguments),
            Effect::SetTimer { timer, .. } => Input::TimerFired { timer },
            _ => continue,
        };
        // A timer that was cancelled meanwhile changes nothing.
        let facts = execution.advance(&input, noon());
        open.extend(effects(&facts));
    }
    execution
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn from_every_transition_an_unchanged_fork_comes_to_the_same_end(
        tasks in prop::collection::vec(task(), 1..5),
        choices in prop::collection::vec(any::<usize>(), 64),
    ) {
        let text = written(&tasks);
        let mut choices = choices.into_iter().cycle();
        let origin = run(&text, |_| choices.next().unwrap_or(0), false);
        for (position, (_, at, length)) in origin.history.iter().enumerate().skip(1) {
            let fork = Fork {
                origin: "execution-1",
                position: position as u64,
                copied: &origin.journal[..*length],
                at: *at,
                changes: &Changes::default(),
            };
            let definition = origin.execution.definition().clone();
            let (execution, own) = Execution::forked("execution-2", definition, &fork, noon()).unwrap();
            let facts: Vec<Fact> = fork.copied.iter().chain(&own).cloned().collect();
            let forked = go_on(execution, effects(&facts));
            prop_assert_eq!(ended(&forked), ended(&origin.execution), "forked at {}: {}", position, &text);
        }
    }
}
