//! The service's own process killed with SIGKILL while it makes a call of the class `once`: between the intent and the call, between the call and its result, and between the result and its record.

use std::fs;
use std::path::Path;

use muster_contracts::Code;
use muster_testkit::{Process, Program, eventually};
use serde_json::json;

use crate::registered::definition;
use crate::{DEADLINE, World};

/// A server over stdio whose only tool counts outside, and kills the process that started the server before, between or after: once, as the file KILL says.
const SERVER: &str = r#"
import json, os, signal, sys, time
folder = os.environ["FOLDER"]
def say(message):
  sys.stdout.write(json.dumps(message) + "\n"); sys.stdout.flush()
def kill(when):
  path = os.path.join(folder, "KILL")
  if os.path.exists(path) and open(path).read() == when:
    parent = os.getppid()
    os.remove(path); os.kill(parent, signal.SIGKILL)
    while os.getppid() == parent: time.sleep(0.01)
    sys.exit()
for line in sys.stdin:
  message = json.loads(line)
  id, method = message.get("id"), message.get("method")
  if method == "initialize": say({"jsonrpc": "2.0", "id": id, "result": {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "killer", "version": "1"}}})
  elif method == "tools/list": say({"jsonrpc": "2.0", "id": id, "result": {"tools": [{"name": "count", "inputSchema": {"type": "object"}}]}})
  elif method == "tools/call":
    kill("before")
    with open(os.path.join(folder, "count"), "a") as file: file.write("x")
    kill("between")
    say({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "done"}]}})
    kill("after")
  elif id is not None: say({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no such method"}})
"#;

fn program(world: &World) -> Process {
    let settings = world.nats.env(&[
        ("MUSTER_MCP_COMMANDS", "python3"),
        ("MUSTER_TOOL_TIMEOUT_SECONDS", "20"),
        ("MUSTER_HEALTH_ADDR", "127.0.0.1:0"),
    ]);
    let path = muster_runtime::Env::of_process().get("PATH").unwrap_or_default().to_owned();
    Program::at(env!("CARGO_BIN_EXE_muster-tool")).envs(settings).env("PATH", path).spawn()
}

async fn until_listed(world: &World) {
    eventually(DEADLINE, "the server's tool is listed", || {
        let names = vec!["killer__*".to_owned()];
        let request = muster_contracts::tool::v1::ListToolsRequest { names };
        async move { world.bus.request(&request).await }
    })
    .await;
}

fn counted(folder: &Path) -> usize {
    fs::read_to_string(folder.join("count")).unwrap_or_default().len()
}

/// Kills the process at a point of a call; returns how often the tool counted, and how the call was told to have ended.
async fn killed(when: &str) -> (usize, Result<serde_json::Value, (String, String)>) {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("server.py"), SERVER).unwrap();
    let mut world = World::start().await;
    world.crash();
    let process = program(&world);
    let with = json!({
        "command": "python3",
        "arguments": [folder.path().join("server.py").display().to_string()],
        "environment": { "FOLDER": folder.path().display().to_string() },
    });
    eventually(DEADLINE, "the tool is registered", || {
        world.register(definition("killer", "mcp", with.clone()))
    })
    .await;
    until_listed(&world).await;
    fs::write(folder.path().join("KILL"), when).unwrap();
    world.command("killer__count", "k", json!({})).await;
    eventually(DEADLINE, "the process is killed", || {
        std::future::ready(if process.is_running() { Err("it runs") } else { Ok(()) })
    })
    .await;
    let again = program(&world);
    let end = world.ends(1).await.remove(0);
    // Who asks with the same key is told the same, and nothing happens.
    let asked = world.call("killer__count", "k", json!({})).await;
    match &end.result {
        Ok(value) => assert_eq!(&asked.unwrap().result.unwrap().0, value),
        Err(_) => assert_eq!(asked.unwrap_err().code, Code::Conflict),
    }
    assert!(again.is_running());
    (counted(folder.path()), end.result)
}

fn assert_interrupted(result: Result<serde_json::Value, (String, String)>) {
    let (code, text) = result.unwrap_err();
    assert_eq!(code, "CONFLICT");
    assert!(text.contains("interrupted") && text.contains("its effect class is once"), "{text}");
}

#[tokio::test]
async fn killed_between_the_intent_and_the_call_nothing_happens_and_the_call_is_interrupted() {
    let (count, result) = killed("before").await;
    assert_eq!(count, 0);
    assert_interrupted(result);
}

#[tokio::test]
async fn killed_between_the_call_and_its_result_it_happened_once_and_the_call_is_interrupted() {
    let (count, result) = killed("between").await;
    assert_eq!(count, 1);
    assert_interrupted(result);
}

#[tokio::test]
async fn killed_between_the_result_and_its_record_it_happened_once_and_the_call_is_one_or_the_other()
 {
    let (count, result) = killed("after").await;
    assert_eq!(count, 1);
    match result {
        Ok(value) => assert_eq!(value, "done"),
        interrupted => assert_interrupted(interrupted),
    }
}
