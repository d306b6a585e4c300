//! Workflows that call servers outside, with secrets: from REST to the server and back, and where the secrets were not.

use std::fs;
use std::time::Duration;

use muster_testkit::WebServer;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::platform::Platform;

const DEADLINE: Duration = Duration::from_secs(60);
const CANARY: &str = "canary-5be2-outward";

/// A document with these tasks, which declares two secrets.
fn document(name: &str, tasks: &str) -> String {
    format!(
        "document: {{dsl: '1.0.3', namespace: tests, name: {name}, version: '1.0.0'}}\nuse:\n  secrets: [token, login]\n  authentications:\n    mine: {{basic: {{use: login}}}}\ndo:\n{tasks}"
    )
}

const CALLS: &str = r#"
- greet:
    call: http
    with:
      method: post
      endpoint: {uri: 'BASE/anything/{who}', authentication: {bearer: {token: '${ $secrets.token }'}}}
      headers: {X-Token: '${ "is \($secrets.token)" }'}
      body: {token: '${ $secrets.token }', user: '${ $secrets.login.username }', who: '${ .who }'}
    export: {as: '${ {who: .json.who, echoed: .json.token, header: .headers["x-token"]} }'}
- login:
    call: http
    with: {method: get, endpoint: {uri: '${ "BASE/basic-auth/ada/\($secrets.token)" }', authentication: {use: mine}}}
- find:
    call: openapi
    with:
      document: {endpoint: 'BASE/v2/swagger.json'}
      operationId: findPetsByStatus
      parameters: {status: sold}
- missing:
    try:
    - get: {call: http, with: {method: get, endpoint: 'BASE/v2/pet/4711'}}
    catch:
      errors: {with: {type: 'https://serverlessworkflow.io/spec/1.0.0/errors/communication', status: 404}}
      do:
      - tell: {set: '${ $context + {caught: $error.status, at: $error.instance} }'}
"#;

#[tokio::test]
async fn a_workflow_calls_servers_with_secrets_that_nobody_else_sees() {
    let (server, secrets) = (WebServer::start().await, tempfile::tempdir().unwrap());
    fs::write(secrets.path().join("token"), format!("{CANARY}\n")).unwrap();
    let login = json!({ "username": "ada", "password": CANARY });
    fs::write(secrets.path().join("login"), login.to_string()).unwrap();
    let settings = [
        ("MUSTER_HTTP_ALLOW", server.address()),
        ("MUSTER_SECRETS_DIR", secrets.path().to_str().unwrap()),
    ];
    let platform = Platform::start_with(&settings).await;
    let unknown = document("unknown", "- a: {set: {x: 1}}").replace("login]", "login, nope]");
    let (status, refused) = platform.put_yaml("/v1/workflows", unknown).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    assert!(refused.to_string().contains("declares the secret \\\"nope\\\""), "{refused}");

    let calls = CALLS.replace("BASE", &server.url(""));
    let workflow = platform.put_workflow(document("calls", &calls)).await;
    let id = platform.start_execution(&workflow, &json!({ "who": "a b" }), "k1").await;
    let state = platform.ended(&id, DEADLINE).await;
    assert_eq!(state["status"], "completed", "{state}");
    let expected = json!({
        "who": "a b", "echoed": "***", "header": "is ***",
        "caught": 404, "at": "/do/3/missing/try/0/get",
    });
    assert_eq!(state["output"], expected);
    let asked = &server.asked()[0];
    assert_eq!(
        (asked.path.as_str(), asked.headers["x-token"].as_str()),
        ("/anything/a%20b", "is canary-5be2-outward")
    );
    assert_eq!(asked.headers["authorization"], format!("Bearer {CANARY}"));
    assert!(asked.headers["idempotency-key"].starts_with(&id), "{asked:?}");
    assert_eq!(serde_json::from_str::<Value>(&asked.body).unwrap()["user"], "ada");

    // A mark that somebody sends is nobody's secret.
    let forged =
        platform.start_execution(&workflow, &json!({ "who": "\u{FDD0}token\u{FDD1}" }), "k2").await;
    let forged = platform.ended(&forged, DEADLINE).await;
    assert_eq!(forged["output"]["who"], "\u{FFFD}token\u{FFFD}", "{forged}");

    let events = platform.client.get(platform.url(&format!("/v1/executions/{id}/events")));
    let events = events.header("accept", "text/event-stream");
    let events = events.send().await.unwrap().text().await.unwrap();
    assert!(events.contains("call_requested"), "{events:.500}");
    let logs: String = platform.processes.values().map(muster_testkit::Process::log).collect();
    let kept = String::from_utf8_lossy(&platform.nats.kept().await).into_owned();
    assert!(kept.contains("call:openapi"));
    for (place, text) in
        [("state", state.to_string()), ("events", events), ("logs", logs), ("streams", kept)]
    {
        let found =
            text.find("canary-5be2").map(|at| text[at.saturating_sub(80)..at + 20].to_owned());
        assert!(found.is_none(), "{place}: {found:?}");
        assert!(!text.contains("Y2FuYXJ5"), "{place}");
    }
}

const PROGRAMS: &str = r#"
- count:
    run: {shell: {command: 'wc -w | tr -d " "; echo "$TOKEN $1"', stdin: '${ .text }', arguments: ['${ .who }'], environment: {TOKEN: '${ $secrets.token }'}}}
    export: {as: '${ {told: .} }'}
- denied:
    try:
    - compute: {run: {script: {language: python, code: 'print(1)'}}}
    catch:
      errors: {with: {type: 'https://serverlessworkflow.io/spec/1.0.0/errors/authorization', status: 403}}
      do:
      - tell: {set: '${ $context + {names: ($error.detail | contains("MUSTER_RUN")), at: $error.instance} }'}
"#;

#[tokio::test]
async fn a_workflow_runs_the_programs_that_the_operator_names_and_no_others() {
    let secrets = tempfile::tempdir().unwrap();
    for name in ["token", "login"] {
        fs::write(secrets.path().join(name), CANARY).unwrap();
    }
    let settings =
        [("MUSTER_RUN", "shell"), ("MUSTER_SECRETS_DIR", secrets.path().to_str().unwrap())];
    let platform = Platform::start_with(&settings).await;
    let text = document("programs", PROGRAMS)
        .replace("  authentications:\n    mine: {basic: {use: login}}\n", "");
    let workflow = platform.put_workflow(text).await;
    let input = json!({ "text": "bees fly far", "who": "$(id) 'x'" });
    let id = platform.start_execution(&workflow, &input, "k1").await;
    let state = platform.ended(&id, DEADLINE).await;
    assert_eq!(state["status"], "completed", "{state}");
    let expected = json!({
        "told": "3\n*** $(id) 'x'\n", "names": true, "at": "/do/1/denied/try/0/compute",
    });
    assert_eq!(state["output"], expected);
}
