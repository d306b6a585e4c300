//! Workers in other languages: the examples and the page about them, on the whole platform.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use muster_contracts::permissions::password_variable;
use muster_testkit::{Process, Program, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::documents::{answered, blocks, page, root, shell};
use crate::platform::{Platform, read};

const PATIENCE: Duration = Duration::from_secs(60);

/// A worker whose first call hangs, with or without signs of life, and whose later calls answer; it says of each that it came.
const SLOW: &str = r#"
import asyncio, json, os, sys, nats
async def main():
    login = {"user": os.environ["NATS_USER"], "password": os.environ["NATS_PASSWORD"]}
    bus = await nats.connect(os.environ["NATS_URL"], inbox_prefix="_INBOX_worker", **login)
    async def call(message):
        first = not os.path.exists(sys.argv[2])
        open(sys.argv[2], "a").write("call\n")
        if sys.argv[3:]:
            # Without a sign nobody could tell that it has ended, so the first is sent before it is killed.
            await bus.publish(message.reply, headers={"Muster-Working": "1"})
            await bus.flush()
        print("called", flush=True)
        while first:
            if sys.argv[3:]: await bus.publish(message.reply, headers={"Muster-Working": "1"})
            await asyncio.sleep(1)
        await message.respond(json.dumps({"result": "done"}).encode())
    await bus.subscribe("tools.slow", "workers", call)
    tool = {"name": "slow", "effect": sys.argv[1], "timeout_ms": 600000 if sys.argv[3:] else 2000}
    await bus.request("tool.registry.register", json.dumps(tool).encode(), timeout=30)
    print("serving", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"#;

/// How each example worker is started.
fn commands() -> BTreeMap<String, Vec<String>> {
    let python = std::env::vars().find(|(name, _)| name == "PYTHON").map(|(_, value)| value);
    let mut command = Command::new(python.unwrap_or_else(|| "python3".to_owned()));
    let done = command.arg(root().join("deploy/local/workers.py")).output().unwrap();
    print!("{}", String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// Starts a worker with nothing but the address and its user's name and password.
fn start(platform: &Platform, command: &[String]) -> Process {
    let (program, arguments) = command.split_first().unwrap();
    let wanted = password_variable("worker");
    let password = platform.nats.env(&[]).into_iter().find(|(name, _)| *name == wanted).unwrap().1;
    let mut program = Program::at(program)
        .env("NATS_URL", platform.nats.url())
        .env("NATS_USER", "worker")
        .env("NATS_PASSWORD", password);
    for argument in arguments {
        program = program.arg(argument);
    }
    program.spawn()
}

async fn call(platform: &Platform, tool: &str, arguments: Value) -> (StatusCode, Value) {
    platform.post(&format!("/v1/tools/{tool}"), &json!({ "arguments": arguments })).await
}

async fn until_it_says(worker: &Process, word: &str) {
    eventually(PATIENCE, word, || {
        let log = worker.log();
        std::future::ready(if log.contains(word) { Ok(()) } else { Err(log) })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_agents_and_clients_call_workers_in_every_language() {
    let platform = Platform::start().await;
    let commands = commands();
    let workers: BTreeMap<&str, Process> = commands
        .iter()
        .map(|(language, command)| (language.as_str(), start(&platform, command)))
        .collect();
    let mut calls = vec![
        ("slug", json!({ "text": "Hello, Big World" }), json!("hello-big-world")),
        ("disk_free", json!({ "path": "/" }), Value::Null),
    ];
    if workers.contains_key("node") {
        calls.push(("roman", json!({ "number": 1994 }), json!("MCMXCIV")));
    }
    for worker in workers.values() {
        until_it_says(worker, "serving tools.").await;
    }
    let mut tasks = String::new();
    for (tool, arguments, expected) in &calls {
        let (status, body) = call(&platform, tool, arguments.clone()).await;
        assert_eq!(status, StatusCode::OK, "{tool}: {body}");
        assert!(expected.is_null() || body["result"] == *expected, "{tool}: {body}");
        tasks += &format!(
            "- {tool}: {{call: tool, with: {{tool: {tool}, arguments: {arguments}}}, export: {{as: '${{ $context + {{{tool}: .}} }}'}}}}\n"
        );
    }
    let workflow = platform
        .put_workflow(format!("document: {{dsl: '1.0.3', namespace: t, name: polyglot, version: '1.0.0'}}\ninput: {{from: '${{ {{}} }}'}}\ndo:\n- begin: {{set: {{ok: true}}, export: {{as: '${{ {{}} }}'}}}}\n{tasks}- end: {{set: '${{ $context }}'}}\n"))
        .await;
    let id = platform.start_execution(&workflow, &json!({}), "polyglot").await;
    let state = platform.ended(&id, PATIENCE).await;
    assert_eq!(state["status"], "completed", "{state:#}");
    assert_eq!(state["output"]["slug"], "hello-big-world", "{state:#}");
    assert!(state["output"]["disk_free"]["free_kb"].as_u64().is_some(), "{state:#}");

    faults_of_workers_are_told(&platform, workers.contains_key("node")).await;
    an_agent_calls(&platform).await;

    workers["python"].kill_9();
    let (status, body) = eventually(PATIENCE, "the server notices", || async {
        let (status, body) = call(&platform, "slug", json!({ "text": "x" })).await;
        if status == StatusCode::OK { Err("still served") } else { Ok((status, body)) }
    })
    .await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{body}");
    assert_eq!(body["detail"], "no worker answers tools.slug: start it");
    workers["python"].restart();
    eventually(PATIENCE, "it is served again", || async {
        let (status, body) = call(&platform, "slug", json!({ "text": "x" })).await;
        if status == StatusCode::OK { Ok(()) } else { Err(body) }
    })
    .await;
}

async fn faults_of_workers_are_told(platform: &Platform, node: bool) {
    let told = async |tool: &str, arguments: Value, status: u16, words: &str| {
        let (found, body) = call(platform, tool, arguments).await;
        assert_eq!(found.as_u16(), status, "{body}");
        assert!(body["detail"].as_str().unwrap().contains(words), "{body}");
    };
    told("slug", json!({ "text": "!!" }), 400, "`text` is '!!', but must have a word").await;
    told("disk_free", json!({ "path": "/no/such/folder" }), 404, "no folder /no/such/folder").await;
    if node {
        told("roman", json!({ "number": 5000 }), 400, "must be at most 3999").await;
    }
    // What does not fit the schema reaches no worker.
    told("disk_free", json!({ "path": "/; reboot" }), 400, "do not fit the tool disk_free").await;
}

async fn an_agent_calls(platform: &Platform) {
    let agent = "instructions: Make a slug.\ntools: [slug]\nmodel: {provider: offline}\noffline:\n  turns:\n  - tools: [{name: slug, arguments: {text: '{{ message }}'}}]\n  - answer: {text: 'It is {{ last }}.'}\n";
    let (status, body) = platform.put_yaml("/v1/agents/slugger", agent.to_owned()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let workflow = platform
        .put_workflow("document: {dsl: '1.0.3', namespace: t, name: slugged, version: '1.0.0'}\ndo:\n- ask: {call: agent, with: {agent: slugger, input: 'Two Words'}}\n".to_owned())
        .await;
    let id = platform.start_execution(&workflow, &json!({}), "slugged").await;
    let state = platform.ended(&id, PATIENCE).await;
    assert_eq!(state["status"], "completed", "{state:#}");
    assert!(state["output"].to_string().contains("It is two-words."), "{state:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_program_is_an_agent_of_a_workflow() {
    let platform = Platform::start().await;
    let (_, python) = commands()["python"]
        .split_last()
        .map(|(last, rest)| (last.clone(), rest.to_vec()))
        .unwrap();
    let agent = root().join("examples/workers/python-agent/agent.py");
    let editor = start(&platform, &[python, vec![agent.to_string_lossy().into_owned()]].concat());
    until_it_says(&editor, "serving agent.").await;
    let workflow = platform
        .put_workflow("document: {dsl: '1.0.3', namespace: t, name: edited, version: '1.0.0'}\ndo:\n- ask: {call: agent, with: {agent: editor, input: '  many   BLANKS '}}\n".to_owned())
        .await;
    let id = platform.start_execution(&workflow, &json!({}), "edited").await;
    let state = platform.ended(&id, PATIENCE).await;
    assert_eq!(state["status"], "completed", "{state:#}");
    assert_eq!(state["output"]["data"]["edited"], "Many blanks", "{state:#}");
    let (status, body) =
        platform.post("/v1/agents/editor/tasks", &json!({"params": {"input": "a  b"}})).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let path = format!("/v1/agents/editor/tasks/{}", body["task_id"].as_str().unwrap());
    eventually(PATIENCE, "the task is done", || async {
        let (_, task) = platform.get(&path).await;
        if task["result"]["edited"] == "A b" { Ok(()) } else { Err(task) }
    })
    .await;
    an_agent_asks_the_program(&platform).await;
}

/// The other agent's run stands still until the program has answered.
async fn an_agent_asks_the_program(platform: &Platform) {
    let agent = "instructions: Let the editor tidy what you get.\nmodel: {provider: offline}\nteam: {agents: [editor]}\noffline:\n  turns:\n  - tools: [{name: ask_editor, arguments: {request: '{{ message }}'}}]\n  - answer: {text: 'The editor says: {{ last }}'}\n";
    let (status, body) = platform.put_yaml("/v1/agents/lead", agent.to_owned()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let workflow = platform
        .put_workflow("document: {dsl: '1.0.3', namespace: t, name: led, version: '1.0.0'}\ndo:\n- ask: {call: agent, with: {agent: lead, input: '  more   BLANKS '}}\n".to_owned())
        .await;
    let id = platform.start_execution(&workflow, &json!({}), "led").await;
    let state = platform.ended(&id, PATIENCE).await;
    assert_eq!(state["status"], "completed", "{state:#}");
    let said = state["output"].to_string();
    assert!(said.contains("The editor says: ") && said.contains("More blanks"), "{state:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_killed_in_the_middle_is_asked_again_only_where_its_class_allows_it() {
    let platform = Platform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let commands = commands();
    let (_, python) = commands["python"].split_last().unwrap();
    let slow = |effect: &str, signs: &[&str]| {
        let calls = folder.path().join(effect).to_string_lossy().into_owned();
        let more = ["-c".to_owned(), SLOW.to_owned(), effect.to_owned(), calls];
        let signs: Vec<String> = signs.iter().map(|word| (*word).to_owned()).collect();
        [python, &more, &signs].concat()
    };
    let workflow = platform
        .put_workflow("document: {dsl: '1.0.3', namespace: t, name: slow, version: '1.0.0'}\ndo:\n- careful:\n    try:\n    - ask: {call: tool, with: {tool: slow}}\n    catch:\n      errors: {with: {status: 408}}\n      retry: {limit: {attempt: {count: 20}}, delay: PT1S}\n".to_owned())
        .await;
    let calls =
        |effect: &str| std::fs::read_to_string(folder.path().join(effect)).unwrap().lines().count();

    let worker = start(&platform, &slow("idempotent", &[]));
    until_it_says(&worker, "serving").await;
    let id = platform.start_execution(&workflow, &json!({}), "idempotent").await;
    until_it_says(&worker, "called").await;
    worker.restart();
    let state = platform.ended(&id, PATIENCE).await;
    assert_eq!(
        (&state["status"], &state["output"]),
        (&json!("completed"), &json!("done")),
        "{state:#}"
    );
    // More often only where a slow machine answers too late.
    assert!(calls("idempotent") >= 2);
    drop(worker);

    let worker = start(&platform, &slow("once", &[]));
    until_it_says(&worker, "serving").await;
    let id = platform.start_execution(&workflow, &json!({}), "once").await;
    until_it_says(&worker, "called").await;
    worker.restart();
    let state = platform.ended(&id, PATIENCE).await;
    assert_eq!(
        (&state["status"], &state["error"]["status"]),
        (&json!("faulted"), &json!(409)),
        "{state:#}"
    );
    assert!(state["error"]["detail"].as_str().unwrap().contains("interrupted"), "{state:#}");
    assert_eq!(calls("once"), 1);
    drop(worker);

    // With signs of life its end is noticed long before the limit, and the platform asks again by itself.
    let worker = start(&platform, &slow("pure", &["signs"]));
    until_it_says(&worker, "serving").await;
    let id = platform.start_execution(&workflow, &json!({}), "pure").await;
    until_it_says(&worker, "called").await;
    worker.restart();
    let state = platform.ended(&id, PATIENCE).await;
    assert_eq!(
        (&state["status"], &state["output"]),
        (&json!("completed"), &json!("done")),
        "{state:#}"
    );
    assert!(calls("pure") >= 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_about_workers_does_what_it_says() {
    let page = page("workers.md");
    let example =
        std::fs::read_to_string(root().join("examples/workers/python/worker.py")).unwrap();
    let platform = Platform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let commands = commands();
    let worker = start(&platform, &commands["python"]);
    until_it_says(&worker, "serving").await;
    let packages = commands["python"].iter().find_map(|word| word.strip_prefix("PYTHONPATH="));
    let exports = format!(
        "export MUSTER={} NATS_URL={} NATS_PASSWORD_OPERATOR={} PYTHONPATH={}",
        platform.http,
        platform.nats.url(),
        platform.nats.password("operator"),
        packages.unwrap()
    );
    shell(&exports, folder.path()).unwrap();
    let (mut told, mut checked) = (String::new(), 0);
    for block in blocks(&page) {
        match (block.language.as_str(), block.text.lines().next().unwrap_or_default()) {
            ("python", first) if first.starts_with("# file: ") => {
                std::fs::write(folder.path().join(&first[8..]), &block.text).unwrap();
            }
            ("python", _) => {
                assert!(example.contains(block.text.trim()), "the page and the example differ");
            }
            ("sh", _) => {
                told = shell(&block.text, folder.path()).unwrap();
                println!("{}\n{told}\n", block.text);
            }
            ("json", first) if !first.starts_with("//") => {
                answered(&block, &told).unwrap();
                checked += 1;
            }
            _ => {}
        }
    }
    assert!(checked >= 5, "only {checked} answers stand on the page");
    let (status, _) =
        read(platform.client.delete(platform.url("/v1/tools/slug")).send().await.unwrap()).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(platform.get("/v1/tools/slug").await.0, StatusCode::NOT_FOUND);
}
