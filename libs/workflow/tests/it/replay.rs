//! Facts are the whole truth: replayed they give the same state, and the order and number of the
//! inputs do not matter.

use std::fmt::Write as _;

use muster_workflow::{Error, ErrorType, Execution, Fact, Input, Status};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::driver::{Driver, definition, document};

/// A task of a random workflow.
#[derive(Debug, Clone)]
pub(crate) enum Task {
    Set(u8),
    Call,
    Wait,
    /// Fails for the first attempts, then answers.
    Flaky(u8),
    Switch(bool),
    Do(Vec<Task>),
    For(u8, Vec<Task>),
    Fork(Vec<Task>),
    Try(Vec<Task>),
}

pub(crate) fn task() -> impl Strategy<Value = Task> {
    let leaf = prop_oneof![
        any::<u8>().prop_map(Task::Set),
        Just(Task::Call),
        Just(Task::Wait),
        (1..3_u8).prop_map(Task::Flaky),
        any::<bool>().prop_map(Task::Switch),
    ];
    leaf.prop_recursive(3, 16, 3, |inner| {
        let list = prop::collection::vec(inner, 1..4);
        prop_oneof![
            list.clone().prop_map(Task::Do),
            (0..3_u8, list.clone()).prop_map(|(count, list)| Task::For(count, list)),
            list.clone().prop_map(Task::Fork),
            list.prop_map(Task::Try),
        ]
    })
}

/// A document that runs these tasks.
pub(crate) fn written(tasks: &[Task]) -> String {
    let mut list = String::new();
    write_list(tasks, &mut list);
    document("").replace("do:\n", &format!("do: {list}\n"))
}

fn write_list(tasks: &[Task], text: &mut String) {
    text.push('[');
    for (index, task) in tasks.iter().enumerate() {
        write!(text, "{}t{index}: ", if index > 0 { ", " } else { "" }).unwrap();
        write_task(task, text);
    }
    text.push(']');
}

fn write_task(task: &Task, text: &mut String) {
    match task {
        Task::Set(n) => write!(text, "{{set: {{n: {n}, was: '${{ . | tojson | .[:40] }}'}}}}").unwrap(),
        Task::Call => text.push_str("{call: tool, with: {tool: t, arguments: {input: '${ tojson | .[:40] }'}}}"),
        Task::Wait => text.push_str("{wait: PT1S}"),
        Task::Flaky(failures) => write!(
            text,
            "{{try: [flaky: {{call: tool, with: {{tool: flaky, arguments: {{failures: {failures}}}}}}}], \
             catch: {{retry: {{delay: PT1S, limit: {{attempt: {{count: 1}}}}}}, do: [lost: {{set: {{lost: true}}}}]}}}}"
        )
        .unwrap(),
        Task::Switch(exit) => {
            let then = if *exit { "exit" } else { "continue" };
            write!(text, "{{switch: [x: {{then: {then}}}]}}").unwrap();
        }
        Task::Do(tasks) => {
            text.push_str("{do: ");
            write_list(tasks, text);
            text.push('}');
        }
        Task::For(count, tasks) => {
            write!(text, "{{for: {{in: '[range({count})]'}}, do: ").unwrap();
            write_list(tasks, text);
            text.push('}');
        }
        Task::Fork(tasks) => {
            text.push_str("{fork: {branches: ");
            write_list(tasks, text);
            text.push_str("}}");
        }
        Task::Try(tasks) => {
            text.push_str("{try: ");
            write_list(tasks, text);
            text.push_str(", catch: {do: [sad: {set: {sad: '${ $error.status }'}}]}}");
        }
    }
}

/// What the world answers to a call: the same for the same call, whenever it comes.
pub(crate) fn answer(task: &str, arguments: &Value) -> Input {
    let failures = arguments["arguments"]["failures"].as_u64().unwrap_or(0);
    let attempt = task.rsplit_once('@').and_then(|(_, n)| n.parse::<u64>().ok()).unwrap_or(1);
    let task = task.to_owned();
    if attempt <= failures {
        return Input::Failed { task, error: Error::new(ErrorType::Communication, "flaky") };
    }
    Input::Completed { output: json!({"answer": task.len()}), task }
}

/// Runs to the end; `choose` says which waiting effect is answered next and what is repeated.
pub(crate) fn run(text: &str, mut choose: impl FnMut(usize) -> usize, repeat: bool) -> Driver {
    let mut driver = Driver::new(definition(text));
    let mut past = vec![Input::Start { input: json!({"n": 0}) }];
    driver.input(&past[0].clone());
    let mut steps = 0;
    while !driver.status().is_ended() {
        steps += 1;
        assert!(steps < 10_000, "it does not end: {text}");
        let waiting = driver.calls.len() + driver.timers.len();
        assert!(waiting > 0, "{:?} with nothing to wait for: {text}", driver.status());
        // The far timeout of a task stays behind the pauses.
        driver.timers.sort_by_key(|(_, at)| *at);
        let next = choose(waiting) % waiting;
        let input = if next < driver.calls.len() {
            let (task, _, arguments) = driver.calls.remove(next);
            answer(&task, &arguments)
        } else {
            let (timer, _) = driver.timers.remove(next - driver.calls.len());
            Input::TimerFired { timer }
        };
        assert!(driver.input(&input), "{input:?}: {text}");
        past.push(input);
        if repeat {
            let old = past[choose(past.len()) % past.len()].clone();
            assert!(!driver.input(&old), "a repeated input changed something: {old:?}");
        }
    }
    driver
}

/// What must not depend on the order of inputs.
fn essence(execution: &Execution) -> (Status, Option<Value>, Option<Error>, Vec<String>) {
    let mut tasks: Vec<_> =
        execution.tasks().map(|task| format!("{} {:?}", task.task, task.status)).collect();
    tasks.sort();
    (execution.status(), execution.output().cloned(), execution.error().cloned(), tasks)
}

fn restored(execution: &Execution) -> Execution {
    let saved = execution.save().unwrap();
    let restored = Execution::restore(&saved, execution.definition().clone()).unwrap();
    assert_eq!(restored.hash(), execution.hash());
    let tasks = |execution: &Execution| format!("{:?}", execution.tasks().collect::<Vec<_>>());
    assert_eq!(tasks(&restored), tasks(execution), "the order is kept, too");
    restored
}

/// Goes through a journal in the form in which it is kept: at each step, the state that the facts
/// so far give leads to the facts that follow; and so does the state that was saved and restored.
#[track_caller]
fn check_replay(driver: &Driver) {
    let journal = serde_json::to_string(&driver.journal).unwrap();
    let journal: Vec<Fact> = serde_json::from_str(&journal).unwrap();
    assert_eq!(journal, driver.journal);
    let mut execution = Execution::new("execution-1", driver.execution.definition().clone());
    for (index, (input, now, from)) in driver.history.iter().enumerate() {
        let to = driver.history.get(index + 1).map_or(journal.len(), |(.., next)| *next);
        let mut restored = restored(&execution);
        assert_eq!(restored.advance(input, *now), journal[*from..to], "{input:?}");
        journal[*from..to].iter().for_each(|fact| execution.apply(fact));
        assert_eq!(restored.hash(), execution.hash());
    }
    assert_eq!(essence(&execution), essence(&driver.execution));
    assert_eq!(execution.context(), driver.execution.context());
    assert_eq!(execution.hash(), driver.execution.hash());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_and_number_of_inputs_do_not_matter(
        tasks in prop::collection::vec(task(), 1..5),
        choices in prop::collection::vec(any::<usize>(), 64),
    ) {
        let text = written(&tasks);
        let sequential = run(&text, |_| 0, false);
        let mut choices = choices.into_iter().cycle();
        let shuffled = run(&text, |_| choices.next().unwrap_or(0), true);
        prop_assert_eq!(essence(&sequential.execution), essence(&shuffled.execution));
        prop_assert_eq!(sequential.execution.hash(), shuffled.execution.hash());
        check_replay(&shuffled);
    }
}

#[test]
fn a_journal_with_everything_in_it_is_replayed() {
    let driver = run(
        &document(
            "
        - skipped: {if: 'false', set: {x: 1}}
        - careful:
            timeout: {after: PT1H}
            try:
              - all:
                  for: {each: n, in: '[1, 2]'}
                  do:
                    - both:
                        fork:
                          branches:
                            - a: {call: tool, with: {tool: t, arguments: {n: '${ $n }'}}}
                            - b: {wait: PT1S}
                        export: {as: '{n: $n}'}
              - bad: {call: tool, with: {tool: t, arguments: {failures: 9}}}
            catch:
              retry: {delay: PT1S, limit: {attempt: {count: 1}}}
              do: [x: {set: {x: '${ $error.detail }'}}]
        - race:
            fork:
              compete: true
              branches:
                - a: {call: tool, with: {tool: t}}
                - b: {call: tool, with: {tool: t}}
            then: end
        ",
        ),
        |_| 0,
        true,
    );
    assert_eq!(*driver.output(), json!({"answer": 28}));
    check_replay(&driver);
    let kinds: std::collections::BTreeSet<String> = driver
        .journal
        .iter()
        .map(|fact| serde_json::to_value(fact).unwrap()["type"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(kinds.len(), 18, "{kinds:?}");
}
