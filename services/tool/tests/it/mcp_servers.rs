//! Servers of the Model Context Protocol that are registered: their tools, their deaths and returns.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use muster_contracts::tool::v1::{RegisterToolRequest, ToolDefinition};
use muster_contracts::{Code, Fault};
use muster_testkit::eventually;
use serde_json::{Value, json};

use crate::mcp_revisions::protocol;
use crate::registered::definition;
use crate::{DEADLINE, World};

/// A server over stdio whose tools echo, count into a file, die, flood, hang or answer binary; `SIGUSR1` gives it one more tool.
const SERVER: &str = r#"
import json, os, signal, sys
tools = [
  {"name": "echoText", "description": "Says it again.", "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}, "annotations": {"readOnlyHint": True}},
  {"name": "count", "inputSchema": {"type": "object"}},
  {"name": "set", "inputSchema": {"type": "object"}, "annotations": {"idempotentHint": True}},
  {"name": "grow", "inputSchema": {"type": "object"}},
]
def say(message):
  sys.stdout.write(json.dumps(message) + "\n"); sys.stdout.flush()
def count(what):
  with open(os.environ["COUNTER"], "a") as file: file.write(what + "\n")
def call(id, name, arguments):
  how = arguments.get("how")
  count(name)
  if how == "die": sys.stderr.write("out of luck " + os.environ["TOKEN"] + "\n"); sys.stderr.flush(); os._exit(3)
  if how == "hang": return
  if how == "flood":
    while True: sys.stdout.write("x" * 65536)
  if how == "binary": sys.stdout.buffer.write(b"\xff\xfe\x00\x80" * 1000 + b"\n"); sys.stdout.flush()
  if how == "large": return say({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "x" * 3000000}]}})
  if how == "fail": return say({"jsonrpc": "2.0", "id": id, "result": {"isError": True, "content": [{"type": "text", "text": "no luck"}]}})
  if how == "wrong": return say({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "wrong arguments"}})
  if name == "grow":
    tools.append({"name": "late", "inputSchema": {"type": "object"}})
    say({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
  say({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": arguments.get("text", os.environ["TOKEN"])}]}})
sys.stderr.write("e" * 300000)
for line in sys.stdin:
  message = json.loads(line)
  id, method = message.get("id"), message.get("method")
  if method == "initialize": say({"jsonrpc": "2.0", "id": id, "result": {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {"listChanged": True}}, "serverInfo": {"name": "test", "version": "1"}}})
  elif method == "tools/list": say({"jsonrpc": "2.0", "id": id, "result": {"tools": tools}})
  elif method == "tools/call": call(id, message["params"]["name"], message["params"].get("arguments", {}))
  elif id is not None: say({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no such method"}})
"#;

struct Fixture {
    world: World,
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.py"), SERVER).unwrap();
        std::fs::create_dir(folder.path().join("secrets")).unwrap();
        std::fs::write(folder.path().join("secrets/token"), "canary-7").unwrap();
        let world = World::with("", folder.path().join("secrets").to_str().unwrap()).await;
        let fixture = Self { world, folder };
        let shown = fixture.world.register(fixture.definition()).await.unwrap();
        assert_eq!(shown.kind, "mcp");
        fixture
    }

    fn definition(&self) -> RegisterToolRequest {
        let at = |name: &str| self.folder.path().join(name).display().to_string();
        RegisterToolRequest {
            secrets: vec!["token".into()],
            timeout_ms: 20_000,
            ..definition(
                "py",
                "mcp",
                json!({
                    "command": "python3",
                    "arguments": [at("server.py")],
                    "environment": { "COUNTER": at("count"), "TOKEN": "{secret.token}" },
                }),
            )
        }
    }

    async fn tools(&self) -> Vec<ToolDefinition> {
        tools(&self.world, "py").await
    }

    async fn call(&self, name: &str, arguments: Value) -> Result<Value, Fault> {
        Ok(self.world.call(name, "", arguments).await?.result.unwrap().0)
    }

    fn counted(&self, name: &str) -> usize {
        let counted = std::fs::read_to_string(self.folder.path().join("count")).unwrap_or_default();
        counted.lines().filter(|line| *line == name).count()
    }
}

/// The tools of a server, which may take its time to start.
pub(crate) async fn tools(world: &World, name: &str) -> Vec<ToolDefinition> {
    let names = [format!("{name}__*")];
    eventually(Duration::from_secs(90), "the server lists its tools", || async {
        let request = muster_contracts::tool::v1::ListToolsRequest { names: names.to_vec() };
        world.bus.request(&request).await.map(|list| list.tools)
    })
    .await
}

#[tokio::test]
async fn the_tools_of_a_server_are_listed_called_and_listed_again_when_they_change() {
    let fixture = Fixture::start().await;
    let tools = fixture.tools().await;
    let shown: Vec<_> =
        tools.iter().map(|tool| (tool.name.as_str(), tool.effect.as_str())).collect();
    assert_eq!(
        shown,
        [
            ("py__count", "once"),
            ("py__echo_text", "pure"),
            ("py__grow", "once"),
            ("py__set", "idempotent")
        ]
    );
    assert_eq!(tools[1].parameters.as_ref().unwrap()["required"], json!(["text"]));
    assert_eq!(fixture.call("py__echo_text", json!({ "text": "ahoy" })).await.unwrap(), "ahoy");
    let unfit = fixture.call("py__echo_text", json!({ "text": 7 })).await.unwrap_err();
    assert_eq!((unfit.code, fixture.counted("echoText")), (Code::Invalid, 1));
    // What the server was given as a secret is not told by it.
    assert_eq!(fixture.call("py__count", json!({})).await.unwrap(), "***");
    fixture.call("py__grow", json!({})).await.unwrap();
    eventually(DEADLINE, "the new tool is listed", || async {
        let tools = fixture.tools().await;
        if tools.iter().any(|tool| tool.name == "py__late") { Ok(()) } else { Err(tools.len()) }
    })
    .await;
    let all = fixture.world.listed(&[]).await;
    assert!(
        all.iter().any(|tool| tool.name == "py") && all.iter().any(|tool| tool.name == "py__late")
    );
}

#[tokio::test]
async fn a_server_that_dies_in_the_middle_of_a_call_is_told_by_its_class_and_comes_back() {
    let fixture = Fixture::start().await;
    fixture.tools().await;
    let died = fixture.call("py__count", json!({ "how": "die" })).await.unwrap_err();
    assert_eq!(died.code, Code::Conflict, "{died}");
    assert!(died.message.starts_with("interrupted: the MCP server \"py\""), "{died}");
    assert_eq!(fixture.counted("count"), 1);
    // It is back, and its tools were never unknown.
    assert_eq!(fixture.tools().await.len(), 4);
    assert_eq!(fixture.call("py__echo_text", json!({ "text": "back" })).await.unwrap(), "back");
    let died = fixture.call("py__set", json!({ "how": "die" })).await.unwrap_err();
    assert_eq!(died.code, Code::Unavailable, "{died}");
    assert_eq!(fixture.call("py__set", json!({ "text": "again" })).await.unwrap(), "again");
}

// Megabytes take long in a program that is not optimized: the test and the service have a thread each.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_server_answers_ends_its_call_and_harms_no_other() {
    let fixture = Fixture::start().await;
    fixture.tools().await;
    for (how, code, part) in [
        ("fail", Code::Conflict, "failed: no luck"),
        ("wrong", Code::Conflict, "answered the error -32602: wrong arguments"),
        ("flood", Code::Conflict, "interrupted"),
    ] {
        let fault = fixture.call("py__count", json!({ "how": how })).await.unwrap_err();
        assert_eq!(fault.code, code, "{how}: {fault}");
        assert!(fault.message.contains(part), "{how}: {fault}");
        assert!(!fault.message.contains("canary"), "{how}: {fault}");
    }
    // Bytes that are no message are none; a large result is one.
    assert_eq!(
        fixture.call("py__count", json!({ "how": "binary", "text": "fine" })).await.unwrap(),
        "fine"
    );
    let large = fixture.call("py__count", json!({ "how": "large" })).await.unwrap();
    assert_eq!(large.as_str().unwrap().len(), 3_000_000);
    let hasty = RegisterToolRequest { timeout_ms: 2_000, ..fixture.definition() };
    fixture.world.register(hasty).await.unwrap();
    fixture.tools().await;
    let hung = fixture.call("py__count", json!({ "how": "hang" })).await.unwrap_err();
    assert_eq!(hung.code, Code::Conflict, "{hung}");
    let part = "interrupted: py__count did not answer within 2000 ms";
    assert!(hung.message.contains(part), "{hung}");
}

#[tokio::test]
async fn a_command_that_the_operator_did_not_name_starts_nothing() {
    let world = World::start().await;
    let refused = |with: Value| world.register(definition("x", "mcp", with));
    let fault = refused(json!({ "command": "sh", "arguments": ["-c", "true"] })).await.unwrap_err();
    assert_eq!(fault.code, Code::Denied);
    assert!(fault.message.contains("MUSTER_MCP_COMMANDS"), "{fault}");
    let fault =
        refused(json!({ "endpoint": "http://x.example/", "protocol": "1" })).await.unwrap_err();
    assert!(fault.message.contains("2026-07-28, 2025-11-25"), "{fault}");
    // One that ends at once is registered, and says why it has no tools.
    let ends =
        world.register(definition("ends", "mcp", json!({ "command": "true" }))).await.unwrap();
    assert!(!ends.problem.is_empty(), "{ends:?}");
    let outside = world
        .register(definition("outside", "mcp", json!({ "endpoint": "http://127.0.0.1:9/mcp" })))
        .await
        .unwrap();
    assert!(outside.problem.contains("MUSTER_HTTP_ALLOW"), "{outside:?}");
}

/// How the servers that the repository's script installs are started.
pub(crate) fn installed() -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local/mcp_servers.py");
    let made = Command::new("python3").arg(script).output().unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "the MCP servers could not be installed: {said}");
    let servers: Value = serde_json::from_slice(&made.stdout).unwrap();
    // A test that is not made must not look like one that passed.
    for name in ["time", "everything"] {
        assert!(servers[name].is_array(), "the MCP server {name} is not installed: {said}");
    }
    servers
}

/// How the script says that a server is started.
pub(crate) fn started(command: &Value, extra: &[&str]) -> Value {
    let words: Vec<&str> =
        command.as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    let mut arguments = words[1..].to_vec();
    arguments.extend(extra);
    json!({ "command": words[0], "arguments": arguments })
}

#[tokio::test]
async fn the_time_server_from_pypi_tells_the_time() {
    let servers = installed();
    let mut world = World::start().await;
    let with = started(&servers["time"], &["--local-timezone", "UTC"]);
    world.commands = with["command"].as_str().unwrap().to_owned();
    world.crash();
    world.serve().await;
    world.register(definition("time", "mcp", with)).await.unwrap();
    let tools = tools(&world, "time").await;
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["time__convert_time", "time__get_current_time"]);
    let told =
        world.call("time__get_current_time", "", json!({ "timezone": "Europe/Berlin" })).await;
    let told = told.unwrap().result.unwrap().0.to_string();
    assert!(told.contains("Europe/Berlin"), "{told}");
    let wrong = world.call("time__get_current_time", "", json!({ "timezone": "Nowhere" })).await;
    assert_eq!(wrong.unwrap_err().code, Code::Conflict);
    assert_eq!(protocol(&world, "time").await, "2026-07-28");
}

#[tokio::test]
async fn the_everything_server_from_npm_is_called_over_both_transports() {
    let servers = installed();
    let command = &servers["everything"];
    let port = muster_testkit::free_port();
    let mut world = World::allowing(&format!("127.0.0.1:{port}")).await;
    let with = started(command, &["stdio"]);
    world.commands = with["command"].as_str().unwrap().to_owned();
    world.crash();
    world.serve().await;
    let http = started(command, &["streamableHttp"]);
    let words = http["arguments"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
    let mut listening = Command::new(http["command"].as_str().unwrap())
        .args(words)
        .env("PORT", port.to_string())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    world.register(definition("stdio", "mcp", with)).await.unwrap();
    let address = format!("http://127.0.0.1:{port}/mcp");
    world.register(definition("web", "mcp", json!({ "endpoint": address }))).await.unwrap();
    for name in ["stdio", "web"] {
        let tools = tools(&world, name).await;
        let echo = format!("{name}__echo");
        assert!(tools.iter().any(|tool| tool.name == echo), "{tools:?}");
        let told = world.call(&echo, "", json!({ "message": "ahoy" })).await.unwrap();
        assert_eq!(told.result.unwrap().0, "Echo: ahoy", "{name}");
        let sum = tools.iter().find(|tool| tool.name.contains("sum") || tool.name.ends_with("add"));
        let sum = world.call(&sum.unwrap().name, "", json!({ "a": 2, "b": 3 })).await.unwrap();
        assert!(sum.result.unwrap().0.to_string().contains('5'));
        assert_eq!(protocol(&world, name).await, "2025-11-25", "{name}");
    }
    listening.kill().unwrap();
    listening.wait().unwrap();
    let away = world.call("web__echo", "", json!({ "message": "x" })).await.unwrap_err();
    assert!(matches!(away.code, Code::Unavailable | Code::Conflict), "{away}");
}
