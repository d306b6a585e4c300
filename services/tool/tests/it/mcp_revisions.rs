//! The revisions of the Model Context Protocol: which is agreed on with which server.

use std::process::{Child, Command, Stdio};

use muster_contracts::tool::v1::{ListToolsRequest, ToolDefinition};
use serde_json::{Value, json};

use crate::World;
use crate::mcp_servers::{installed, tools};
use crate::registered::definition;

/// A server over stdio that answers a greeting in the revision of its first argument, whatever it is asked for; the others are what it says that it speaks where it is asked before.
const SERVER: &str = r#"
import json, sys
greets, speaks = sys.argv[1], sys.argv[2:]
def say(id, **message):
  print(json.dumps({"jsonrpc": "2.0", "id": id, **message}), flush=True)
for line in sys.stdin:
  message = json.loads(line)
  id, method = message.get("id"), message.get("method")
  if method == "server/discover" and speaks and speaks[0] == "refuse":
    say(id, error={"code": -32022, "message": "unsupported", "data": {"supported": speaks[1:], "requested": "2026-07-28"}})
  elif method == "server/discover" and speaks:
    say(id, result={"supportedVersions": speaks, "capabilities": {"tools": {}}, "resultType": "complete", "ttlMs": 0, "cacheScope": "private"})
  elif method == "initialize":
    asked = message["params"]["protocolVersion"]
    say(id, result={"protocolVersion": greets, "capabilities": {"tools": {}}, "serverInfo": {"name": "asked for " + asked, "version": "1"}})
    tool = {"name": "asked-" + asked, "inputSchema": {"type": "object"}}
  elif method == "tools/list": say(id, result={"tools": [tool]})
  elif id is not None: say(id, error={"code": -32601, "message": "no such method"})
"#;

/// The revision that is spoken with a server now.
pub(crate) async fn protocol(world: &World, name: &str) -> String {
    shown(world, name).await.protocol
}

async fn shown(world: &World, name: &str) -> ToolDefinition {
    let request = ListToolsRequest { names: vec![name.into()] };
    world.bus.request(&request).await.unwrap().tools.remove(0)
}

fn scripted(arguments: &[&str], protocol: Option<&str>) -> Value {
    let arguments = [&["-c", SERVER], arguments].concat();
    let mut with = json!({ "command": "python3", "arguments": arguments });
    if let Some(protocol) = protocol {
        with["protocol"] = json!(protocol);
    }
    with
}

#[tokio::test]
async fn a_server_may_answer_in_an_older_revision() {
    let world = World::start().await;
    for (name, answered, pinned, asked) in [
        ("newest", "2025-11-25", None, "2025-11-25"),
        ("older", "2025-06-18", None, "2025-11-25"),
        ("oldest", "2024-11-05", None, "2025-11-25"),
        ("pinned", "2025-03-26", Some("2025-03-26"), "2025-03-26"),
        ("stubborn", "2025-03-26", Some("2025-06-18"), "2025-06-18"),
    ] {
        world.register(definition(name, "mcp", scripted(&[answered], pinned))).await.unwrap();
        let tools = tools(&world, name).await;
        assert_eq!(protocol(&world, name).await, answered, "{name}");
        assert_eq!(tools[0].name, format!("{name}__asked-{asked}"), "{name}");
    }
}

#[tokio::test]
async fn a_server_that_names_older_revisions_is_greeted_in_the_newest_of_them() {
    let world = World::start().await;
    let greeted = "2025-06-18";
    let speaks = ["2025-03-26", greeted, "1999-01-01"];
    for (name, how) in [("says", [].as_slice()), ("refuses", &["refuse"])] {
        let arguments = [&[greeted], how, &speaks].concat();
        world.register(definition(name, "mcp", scripted(&arguments, None))).await.unwrap();
        assert_eq!(tools(&world, name).await[0].name, format!("{name}__asked-{greeted}"));
        assert_eq!(protocol(&world, name).await, greeted, "{name}");
    }
}

#[tokio::test]
async fn a_revision_that_nobody_knows_is_told_with_those_that_are_spoken() {
    let world = World::start().await;
    let spoken = "must speak one of 2026-07-28, 2025-11-25, 2025-06-18, 2025-03-26, 2024-11-05";
    for (name, with) in [
        ("greets", scripted(&["1999-01-01"], None)),
        ("says", scripted(&["2025-11-25", "1999-01-01"], None)),
        ("refuses", scripted(&["2025-11-25", "refuse", "1999-01-01"], None)),
        ("pinned", scripted(&["2025-11-25", "1999-01-01"], Some("2026-07-28"))),
    ] {
        let problem = world.register(definition(name, "mcp", with)).await.unwrap().problem;
        let said = "it speaks the revision 1999-01-01 of MCP, but";
        assert!(problem.contains(said) && problem.contains(spoken), "{name}: {problem}");
        assert_eq!(protocol(&world, name).await, "", "{name}");
    }
}

/// A server of the official SDK for Python, over streamable HTTP.
const OFFICIAL: &str = r#"
import sys
from mcp.server.mcpserver import MCPServer
server = MCPServer("sums")
@server.tool()
def add(a: int, b: int) -> int:
  "Adds."
  return a + b
server.run(transport="streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
"#;

struct Official(Child);

impl Official {
    /// Started as the script starts the server of the time, which brings the SDK with it.
    fn start(time: &Value, port: u16) -> Self {
        let words: Vec<&str> =
            time.as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
        let python = words.iter().position(|word| *word == "-m").unwrap();
        let child = Command::new(words[0])
            .args(&words[1..python])
            .args(["-c", OFFICIAL, &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Official {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[tokio::test]
async fn the_newest_revision_is_spoken_with_the_official_server_over_http() {
    let servers = installed();
    let port = muster_testkit::free_port();
    let _official = Official::start(&servers["time"], port);
    let world = World::allowing(&format!("127.0.0.1:{port}")).await;
    let endpoint = format!("http://127.0.0.1:{port}/mcp");
    for (name, pinned, spoken) in [
        ("free", None, "2026-07-28"),
        ("current", Some("2026-07-28"), "2026-07-28"),
        ("previous", Some("2025-11-25"), "2025-11-25"),
    ] {
        let mut with = json!({ "endpoint": endpoint });
        if let Some(pinned) = pinned {
            with["protocol"] = json!(pinned);
        }
        world.register(definition(name, "mcp", with)).await.unwrap();
        assert_eq!(tools(&world, name).await.len(), 1, "{name}");
        assert_eq!(protocol(&world, name).await, spoken, "{name}");
        let sum = world.call(&format!("{name}__add"), "", json!({ "a": 2, "b": 3 })).await.unwrap();
        assert_eq!(sum.result.unwrap().0, json!({ "result": 5 }), "{name}");
    }
}
