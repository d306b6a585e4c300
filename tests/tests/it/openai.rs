//! OpenAI's own Python client, and a client that hangs up, on the whole platform with a scripted provider.

use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use axum::http::StatusCode;
use muster_testkit::{Answer, Program, RecordedRequest, ScriptedModel, eventually};
use serde_json::json;

use crate::documents::root;
use crate::platform::Platform;

const PATIENCE: Duration = Duration::from_secs(120);
const POET: &str = "instructions: You write about boats.\nlimits: {turns: 2}\n";

/// What the provider says follows from the last words of the user.
fn answer(request: &RecordedRequest) -> Answer {
    let messages = request.body["messages"].as_array().cloned().unwrap_or_default();
    if messages.last().is_some_and(|message| message["role"] == "tool") {
        return Answer::text("Seen: a boat.");
    }
    let said = messages.last().map(|message| message["content"].to_string()).unwrap_or_default();
    let boats = || Answer::text("Two boats and a crane.").usage(11, 7);
    let says = |word: &str| said.contains(word);
    if says("look twice") {
        let place = |place: &str| json!({ "place": place });
        return Answer::tool_call("look", place("harbour")).and_tool_call("look", place("market"));
    }
    match () {
        () if says("think") => boats().reasoning("Boats float."),
        () if says("json") => Answer::text(r#"{"boats": 2, "crane": true}"#),
        () if says("busy") => Answer::too_many_requests(7),
        () if says("wrong") => Answer::failure(StatusCode::BAD_REQUEST, "a wrong question"),
        () if says("broken") => Answer::failure(StatusCode::INTERNAL_SERVER_ERROR, "it is broken"),
        () if says("breaks") => boats().cut_after(3),
        () if says("slowly") => boats().pause(Duration::from_secs(600)),
        () => boats(),
    }
}

async fn start() -> (ScriptedModel, Platform) {
    let model = ScriptedModel::start().await;
    model.respond_with(answer);
    let settings = [
        ("OPENAI_BASE_URL", model.base_url()),
        ("OPENAI_API_KEY", "sk-test"),
        ("MUSTER_OPENAI_MODEL", "scripted"),
        ("RUST_LOG", "info,muster_model=debug,async_nats=error,sqlx=warn"),
    ];
    let platform = Platform::start_with(&settings).await;
    (model, platform)
}

/// The command that runs Python with OpenAI's client; none where this machine's Python is too old for it.
fn python() -> Option<Vec<String>> {
    let python = std::env::vars().find(|(name, _)| name == "PYTHON").map(|(_, value)| value);
    let mut command = Command::new(python.unwrap_or_else(|| "python3".to_owned()));
    let done = command.arg(root().join("deploy/local/openai_client.py")).output().unwrap();
    print!("{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn openais_own_client_finds_everything_as_it_expects_it() {
    let Some(python) = python() else { return };
    let (_model, platform) = start().await;
    let (status, body) = platform.put_yaml("/v1/agents/poet", POET.to_owned()).await;
    assert!(status.is_success(), "{status} {body}");
    let (program, arguments) = python.split_first().unwrap();
    let mut client = Program::at(program).arg(format!("BASE_URL={}", platform.url("/v1")));
    for argument in arguments {
        client = client.arg(argument);
    }
    let client =
        client.arg(root().join("tests/tests/it/openai/client.py").to_string_lossy()).spawn();
    let ended = client.wait(PATIENCE).await;
    assert!(ended.success(), "{}", client.log());
    assert_eq!(client.log().matches("passed: ").count(), 19, "{}", client.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_ends_the_request_to_the_provider() {
    let (model, platform) = start().await;
    for stream in [false, true] {
        let asked = model.requests().len();
        let body = json!({ "model": "scripted", "stream": stream,
            "messages": [{ "role": "user", "content": "slowly" }] });
        let ask = || {
            let request = platform.client.post(platform.url("/v1/chat/completions")).json(&body);
            tokio::spawn(request.send())
        };
        let hanging = Mutex::new(ask());
        eventually(PATIENCE, "the provider is asked", || async {
            // A model service that has just begun may refuse.
            let mut hanging = hanging.lock().unwrap();
            if hanging.is_finished() {
                *hanging = ask();
            }
            model.requests().len() > asked
        })
        .await;
        hanging.into_inner().unwrap().abort();
        let dropped =
            || platform.processes["model"].log().matches("nobody wants the reply").count();
        let before = usize::from(stream);
        // Long before the provider would say its first word, which is what its connection waits for.
        eventually(Duration::from_secs(60), "the request to the provider is dropped", || async {
            dropped() > before
        })
        .await;
    }
}
