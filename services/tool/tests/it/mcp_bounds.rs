//! What a program that is a server of the Model Context Protocol may use, and what becomes of one that is slow, or never ready.

use std::time::Duration;

use muster_contracts::Code;
use muster_contracts::tool::v1::RegisterToolRequest;
use muster_testkit::eventually;
use serde_json::{Value, json};

use crate::World;
use crate::mcp_servers::tools;
use crate::registered::definition;

/// A server over stdio whose tool eats memory or time, writes or asks without end, or fills standard error; told so, it says nothing at first, or ends a few times before it starts.
const SERVER: &str = r#"
import json, os, sys, time
how = sys.argv[1]
with open(sys.argv[2], "a") as file: file.write("start %d\n" % os.getpid())
starts = sum(1 for _ in open(sys.argv[2]))
if how == "silent": time.sleep(3600)
if how == "slow" and starts < 4: sys.stderr.write("try %d" % starts); sys.exit(1)
def say(message):
  sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n"); sys.stdout.flush()
def call(what):
  if what == "memory": return str(len(bytearray(1 << 30)))
  if what == "time":
    while True: pass
  if what == "stderr":
    for _ in range(256): sys.stderr.write("e" * 65536)
    sys.stderr.flush()
  if what == "lines":
    while True: sys.stdout.write("no message\n" * 4096)
  if what == "pings":
    for id in range(1 << 40): say({"id": id, "method": "ping"})
  if what == "file":
    with open("large", "wb") as file:
      for _ in range(1024): file.write(b"x" * 1048576)
  return "fine"
for line in sys.stdin:
  message = json.loads(line)
  id, method = message.get("id"), message.get("method")
  if method == "initialize": say({"id": id, "result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "test", "version": "1"}}})
  elif method == "tools/list": say({"id": id, "result": {"tools": [{"name": "do", "inputSchema": {"type": "object"}}]}})
  elif method == "tools/call": say({"id": id, "result": {"content": [{"type": "text", "text": call(message["params"]["arguments"]["what"])}]}})
  elif id is not None: say({"id": id, "error": {"code": -32601, "message": "no such method"}})
"#;

struct Fixture {
    world: World,
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn start() -> Self {
        Self { world: World::start().await, folder: tempfile::tempdir().unwrap() }
    }

    fn definition(&self, name: &str, how: &str, bounds: Value) -> RegisterToolRequest {
        let starts = self.folder.path().join(name).display().to_string();
        let mut with = json!({ "command": "python3", "arguments": ["-c", SERVER, how, starts] });
        for (field, value) in bounds.as_object().unwrap() {
            with[field] = value.clone();
        }
        definition(name, "mcp", with)
    }

    fn starts(&self, name: &str) -> Vec<String> {
        let starts = std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        starts.lines().map(str::to_owned).collect()
    }

    /// What a call comes to: its result, or the code with the text of its fault.
    async fn call(&self, name: &str, what: &str) -> Result<Value, (Code, String)> {
        let done = self.world.call(&format!("{name}__do"), "", json!({ "what": what })).await;
        done.map(|done| done.result.unwrap().0).map_err(|fault| (fault.code, fault.message))
    }

    /// A server that has ended is there again, in a process of its own.
    async fn returns(&self, name: &str, before: usize) {
        eventually(Duration::from_secs(60), "the server is there again", || async {
            match self.call(name, "nothing").await {
                Ok(result) if result == "fine" && self.starts(name).len() > before => Ok(()),
                other => Err(format!("{other:?}, {} starts", self.starts(name).len())),
            }
        })
        .await;
    }
}

#[tokio::test]
async fn a_server_that_uses_too_much_ends_and_comes_back() {
    let fixture = Fixture::start().await;
    for (name, what, bounds) in [
        ("memory", "memory", json!({ "memory_mib": 256 })),
        ("time", "time", json!({ "cpu_seconds": 2 })),
        ("file", "file", json!({})),
        ("lines", "lines", json!({})),
        ("pings", "pings", json!({})),
    ] {
        let mut server = fixture.definition(name, "ready", bounds);
        server.timeout_ms = 60_000;
        fixture.world.register(server).await.unwrap();
        tools(&fixture.world, name).await;
        let before = fixture.starts(name).len();
        let (code, text) = fixture.call(name, what).await.unwrap_err();
        assert_eq!(code, Code::Conflict, "{name}: {text}");
        assert!(text.contains("interrupted"), "{name}: {text}");
        fixture.returns(name, before).await;
    }
}

#[tokio::test]
async fn what_a_server_says_to_nobody_holds_nothing_up() {
    let fixture = Fixture::start().await;
    fixture.world.register(fixture.definition("loud", "ready", json!({}))).await.unwrap();
    tools(&fixture.world, "loud").await;
    assert_eq!(fixture.call("loud", "stderr").await.unwrap(), "fine");
    assert_eq!(fixture.starts("loud").len(), 1);
}

#[tokio::test]
async fn a_server_that_never_answers_is_ended_and_tried_again() {
    let fixture = Fixture::start().await;
    let server = fixture.definition("silent", "silent", json!({ "startup_seconds": 1 }));
    let shown = fixture.world.register(server).await.unwrap();
    let said = "did not say hello within 1 s (`with.startup_seconds`)";
    assert!(shown.problem.contains(said), "{}", shown.problem);
    eventually(Duration::from_secs(60), "it is tried again", || async {
        let starts = fixture.starts("silent");
        if starts.len() >= 2 { Ok(starts) } else { Err(format!("{starts:?}")) }
    })
    .await;
    let first = fixture.starts("silent")[0].replace("start ", "/proc/");
    eventually(Duration::from_secs(60), "the first process is gone", || {
        std::future::ready(if std::path::Path::new(&first).exists() { Err(&first) } else { Ok(()) })
    })
    .await;
}

#[tokio::test]
async fn a_server_that_ends_at_first_is_there_when_it_starts() {
    let fixture = Fixture::start().await;
    let shown =
        fixture.world.register(fixture.definition("slow", "slow", json!({}))).await.unwrap();
    assert!(shown.problem.contains("it said last: try 1"), "{}", shown.problem);
    tools(&fixture.world, "slow").await;
    assert_eq!(fixture.starts("slow").len(), 4);
    assert_eq!(fixture.call("slow", "nothing").await.unwrap(), "fine");
}

#[tokio::test]
async fn a_bound_that_is_none_is_refused_with_what_it_may_be() {
    let fixture = Fixture::start().await;
    for (bounds, told) in [
        (json!({ "memory_mib": 1 }), "`with.memory_mib` is 1, but must be 16 to 1048576"),
        (json!({ "cpu_seconds": 0 }), "`with.cpu_seconds` is 0, but must be 1 to 31536000"),
        (json!({ "startup_seconds": 601 }), "`with.startup_seconds` is 601, but must be 1 to 600"),
    ] {
        let refused = fixture.world.register(fixture.definition("x", "ready", bounds)).await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.code, Code::Invalid);
        assert!(refused.message.contains(told), "{refused}");
    }
    let elsewhere = json!({ "endpoint": "http://127.0.0.1:9/mcp", "memory_mib": 64 });
    let refused = fixture.world.register(definition("x", "mcp", elsewhere)).await.unwrap_err();
    assert!(refused.message.contains("bounds of a `command`"), "{refused}");
}
