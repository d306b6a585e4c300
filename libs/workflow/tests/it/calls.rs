//! Calls: what is asked, and what comes back.

use muster_workflow::{Effect, Fact, Function, Input, Status, effects};
use serde_json::{Value, json};

use crate::driver::{Driver, definition, document};

#[test]
fn a_call_asks_with_evaluated_arguments_and_goes_on_with_the_result() {
    let mut driver = Driver::start(
        "
        - research:
            call: agent
            with: {agent: researcher, input: {topic: '${ .topic }', depth: 2}}
            output: {as: .text}
        - shout: {set: {said: '${ . | ascii_upcase }'}}
        ",
        json!({"topic": "bees"}),
    );
    assert_eq!(driver.status(), Status::Running);
    let arguments = json!({"agent": "researcher", "input": {"topic": "bees", "depth": 2}});
    assert_eq!(driver.calls, [("/do/0/research".to_owned(), Function::Agent, arguments)]);
    driver.complete("/do/0/research", json!({"text": "buzz"}));
    assert_eq!(*driver.output(), json!({"said": "BUZZ"}));
    assert_eq!(
        driver.told,
        [Effect::Started, Effect::Completed { output: json!({"said": "BUZZ"}) }]
    );
}

#[test]
fn every_function_can_be_called() {
    let driver = Driver::start(
        "
        - all:
            fork:
              branches:
                - a: {call: agent, with: {agent: x, prompt: hello}}
                - b: {call: tool, with: {tool: x, arguments: '${ {n: .n} }'}}
                - c: {call: model, with: {model: x, messages: [{role: user, content: hi}], temperature: 0.5}}
                - d: {call: search, with: {collection: x, query: '${ \"q\" }', top_k: 3}}
                - e: {call: template, with: {stage: spec, vars: {task: '${ .n }'}}}
        ",
        json!({"n": 1}),
    );
    let functions: Vec<_> = driver.calls.iter().map(|(_, function, _)| *function).collect();
    let own = [Function::Agent, Function::Tool, Function::Model, Function::Search];
    assert_eq!((&functions[..4], functions[4]), (&own[..], Function::Template));
    assert_eq!(driver.calls[1].2, json!({"tool": "x", "arguments": {"n": 1}}));
    assert_eq!(driver.calls[4].2, json!({"stage": "spec", "vars": {"task": 1}}));
}

#[test]
fn a_name_that_an_expression_computes_must_be_a_text() {
    let tasks = "- a: {call: tool, with: {tool: '${ .tool }'}}";
    let driver = Driver::start(tasks, json!({"tool": "hammer"}));
    assert_eq!(driver.calls[0].2, json!({"tool": "hammer"}));
    let driver = Driver::start(tasks, json!({"tool": 5}));
    assert!(driver.error().detail.contains("`tool` of call: tool must be a name, not 5"));
    let tasks = "- a: {call: template, with: {template: '${ .name }', vars: '${ .vars }'}}";
    let driver = Driver::start(tasks, json!({"name": "t", "vars": {"a": 1}}));
    assert_eq!(driver.calls[0].2, json!({"template": "t", "vars": {"a": 1}}));
    let driver = Driver::start(tasks, json!({"vars": {}}));
    let detail = "`template` of call: template must be a name, not null";
    assert!(driver.error().detail.contains(detail), "{:?}", driver.error());
    let driver = Driver::start(tasks, json!({"name": "t", "vars": [1]}));
    assert!(driver.error().detail.contains("`vars` of call: template must be a map, not [1]"));
}

#[test]
fn results_that_come_twice_late_or_for_nobody_change_nothing() {
    let mut driver = Driver::start(
        "
        - a: {call: tool, with: {tool: t}}
        - b: {call: tool, with: {tool: t}}
        ",
        Value::Null,
    );
    let result = |task: &str| Input::Completed { task: task.to_owned(), output: json!(1) };
    assert!(!driver.input(&result("/do/1/b")));
    assert!(!driver.input(&result("/do/9/nobody")));
    driver.complete("/do/0/a", json!(1));
    assert!(!driver.input(&result("/do/0/a")));
    assert!(!driver.input(&Input::Start { input: json!("again") }));
    driver.complete("/do/1/b", json!(2));
    assert!(!driver.input(&result("/do/1/b")));
    assert!(!driver.input(&Input::Cancel { reason: "late".to_owned() }));
    assert_eq!(*driver.output(), json!(2));
}

#[test]
fn branches_may_answer_in_any_order() {
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let mut driver = Driver::start(
            "
        - all:
            fork:
              branches:
                - x: {call: tool, with: {tool: t}}
                - x2: {call: tool, with: {tool: t}}
                - x3: {call: tool, with: {tool: t}}
        ",
            Value::Null,
        );
        let keys: Vec<String> = driver.called().into_iter().map(str::to_owned).collect();
        for branch in order {
            driver.complete(&keys[branch], json!(branch));
        }
        assert_eq!(*driver.output(), json!([0, 1, 2]));
    }
}

#[test]
fn references_are_the_names_that_are_no_expressions() {
    let definition = definition(&document(
        "
        - a: {call: agent, with: {agent: writer, prompt: x}}
        - b: {do: [c: {call: agent, with: {agent: writer, prompt: x}}]}
        - d: {call: tool, with: {tool: '${ .tool }'}}
        - e: {call: search, with: {collection: books, query: x}}
        - f: {call: model, with: {model: small, prompt: x}}
        ",
    ));
    let references = serde_json::to_value(definition.references()).unwrap();
    assert_eq!(
        references,
        json!({
            "agents": {"writer": "/do/0/a"},
            "tools": {},
            "models": {"small": "/do/4/f"},
            "collections": {"books": "/do/3/e"},
            "secrets": {},
            "workflows": {},
        })
    );
}

#[test]
fn facts_explain_themselves_in_a_journal() {
    let mut driver = Driver::start("- a: {call: tool, with: {tool: t}}", json!({"n": 1}));
    driver.complete("/do/0/a", json!("done"));
    let journal = serde_json::to_value(&driver.journal).unwrap();
    let at = "2026-01-01T12:00:00Z";
    assert_eq!(
        journal,
        json!([
            {"type": "execution_started", "input": {"n": 1}, "at": at},
            {"type": "task_started", "task": "/do/0/a", "pointer": "/do/0/a", "name": "a",
             "kind": "call", "parent": "", "attempt": 1, "at": at},
            {"type": "call_requested", "task": "/do/0/a", "function": "tool",
             "arguments": {"tool": "t"}},
            {"type": "task_completed", "task": "/do/0/a", "output": "done", "at": at},
            {"type": "execution_completed", "output": "done", "at": at},
        ])
    );
    let read: Vec<Fact> = serde_json::from_value(journal).unwrap();
    assert_eq!(effects(&read), effects(&driver.journal));
}
