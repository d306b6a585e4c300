//! Who waits for an execution is told what anybody is told who asks for its state.

use serde_json::{Value, json};

use crate::platform::Platform;

const FEW_TASKS: &str = "
document: {dsl: '1.0.3', namespace: test, name: few, version: '1.0.0'}
input: {from: '${ .given }'}
do:
- called: {call: tool, with: {tool: echo, arguments: {value: '${ . }'}}}
- child: {run: {workflow: {namespace: test, name: nothing, version: '1.0.0'}}}
- skipped: {if: '${ false }', set: {never: true}}
- last: {set: {n: 1}}
";
const NOTHING: &str = "
document: {dsl: '1.0.3', namespace: test, name: nothing, version: '1.0.0'}
do:
- none: {set: {n: 2}, output: {as: '${ null }'}}
";
/// More than the message tells that an execution has completed.
const MANY_TASKS: &str = "
document: {dsl: '1.0.3', namespace: test, name: many, version: '1.0.0'}
do:
- all: {for: {each: n, in: '${ [range(40)] }'}, do: [{one: {set: {n: '${ $n }'}}}]}
";
const FAILS: &str = "
document: {dsl: '1.0.3', namespace: test, name: fails, version: '1.0.0'}
do:
- bad: {raise: {error: {type: 'https://example.com/bad', status: 400, title: Bad}}}
";

#[tokio::test]
async fn the_answer_of_a_start_that_waits_is_the_state() {
    let platform = Platform::start().await;
    for source in [NOTHING, FEW_TASKS, MANY_TASKS, FAILS] {
        let put = platform.client.put(platform.url("/v1/workflows"));
        let put = put.header("content-type", "application/yaml").body(source).send().await.unwrap();
        assert!(put.status().is_success(), "{}", put.text().await.unwrap());
    }
    for (workflow, input, status, tasks) in [
        ("few", json!({"given": {"a": [1, null]}}), "completed", 3),
        ("nothing", Value::Null, "completed", 1),
        ("many", json!({}), "completed", 41),
        ("fails", json!("text"), "faulted", 1),
    ] {
        let start = platform.client.post(platform.url("/v1/executions"));
        let start = start.header("Prefer", "wait=120");
        let start = start.json(&json!({"workflow": workflow, "input": input}));
        let told: Value = start.send().await.unwrap().json().await.unwrap();
        assert_eq!(told["status"], status, "{told}");
        assert!(told["tasks"].as_array().unwrap().len() >= tasks, "{told}");
        let id = told["execution_id"].as_str().unwrap();
        let get = platform.client.get(platform.url(&format!("/v1/executions/{id}")));
        let state: Value = get.send().await.unwrap().json().await.unwrap();
        assert_eq!(told, state);
    }
}
