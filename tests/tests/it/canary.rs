//! Secrets of every kind stand where they are used, and nowhere else: not in logs, streams, buckets, tables, events or errors.

use std::fs;
use std::path::Path;
use std::time::Duration;

use axum::http::StatusCode;
use muster_testkit::{Answer, Process, ScriptedModel, WebServer, eventually};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::platform::Platform;

const DEADLINE: Duration = Duration::from_secs(60);
/// What every secret of this test has in it.
const CANARY: &str = "canary-9d41";
/// The same in base64, at the beginning of a text, and in hexadecimal digits, as Postgres shows bytes.
const FORMS: [&str; 3] = [CANARY, "Y2FuYXJ5LTlk", "63616e6172792d39643431"];
const PROVIDER_KEY: &str = "sk-canary-9d41-provider";
/// 32 bytes each, which begin with the canary.
const MASTER: &str = "a:Y2FuYXJ5LTlkNDEtbWFzdGVyLWtleS0zMi1ieXRlcyE=";
const SEAL: &str = "s:Y2FuYXJ5LTlkNDEtc2VhbGluZy1rZXktMzJieXRlcyE=";

/// Tells the secret in its environment to everybody: in a result, in an error, and on its standard error.
const MCP_SERVER: &str = r#"
import json, os, sys
def say(message):
  sys.stdout.write(json.dumps(message) + "\n"); sys.stdout.flush()
for line in sys.stdin:
  message = json.loads(line)
  id, method = message.get("id"), message.get("method")
  sys.stderr.write(os.environ["TOKEN"] + "\n"); sys.stderr.flush()
  if method == "initialize": say({"jsonrpc": "2.0", "id": id, "result": {"protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {}}, "serverInfo": {"name": "test", "version": "1"}}})
  elif method == "tools/list": say({"jsonrpc": "2.0", "id": id, "result": {"tools": [{"name": "tell", "inputSchema": {"type": "object"}}, {"name": "fail", "inputSchema": {"type": "object"}}]}})
  elif method == "tools/call" and message["params"]["name"] == "fail": say({"jsonrpc": "2.0", "id": id, "error": {"code": -32602, "message": "no luck with " + os.environ["TOKEN"]}})
  elif method == "tools/call": say({"jsonrpc": "2.0", "id": id, "result": {"content": [{"type": "text", "text": "it is " + os.environ["TOKEN"]}]}})
  elif id is not None: say({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no such method"}})
"#;

const WORKFLOW: &str = r#"
document: {dsl: '1.0.3', namespace: tests, name: canaries, version: '1.0.0'}
use: {secrets: [token]}
do:
- greet: {call: http, with: {method: post, endpoint: 'BASE/anything/x', headers: {X-Token: '${ $secrets.token }'}, body: '${ $secrets.token }'}}
- look: {call: tool, with: {tool: look, arguments: {}}}
- tell: {call: tool, with: {tool: py__tell, arguments: {}}}
- think: {call: agent, with: {agent: thinker, input: go}}
- fails:
    try:
    - fail: {call: tool, with: {tool: py__fail, arguments: {}}}
    catch: {}
"#;

struct Fixture {
    platform: Platform,
    model: ScriptedModel,
    server: WebServer,
    folder: tempfile::TempDir,
    /// Everything that a client was told.
    told: Vec<String>,
}

impl Fixture {
    async fn start() -> Self {
        let (model, server) = (ScriptedModel::start().await, WebServer::start().await);
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &model);
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (models, secrets) = (at("models.yaml"), at("secrets"));
        let platform = Platform::start_with(&[
            ("OPENAI_BASE_URL", model.base_url()),
            ("OPENAI_API_KEY", PROVIDER_KEY),
            ("MUSTER_OPENAI_MODEL", "scripted"),
            ("MUSTER_MODELS_FILE", &models),
            ("MUSTER_MASTER_KEY", MASTER),
            ("MUSTER_SEAL_KEYS", SEAL),
            ("MUSTER_SECRETS_DIR", &secrets),
            ("MUSTER_HTTP_ALLOW", server.address()),
            ("MUSTER_MCP_COMMANDS", "python3"),
            ("RUST_LOG", "debug,async_nats=info"),
        ])
        .await;
        Self { platform, model, server, folder, told: Vec::new() }
    }

    async fn post(&mut self, path: &str, body: Value) -> (StatusCode, Value) {
        let (status, body) = self.platform.post(path, &body).await;
        self.told.push(body.to_string());
        (status, body)
    }

    async fn put(&mut self, path: &str, body: Value) {
        let request = self.platform.client.put(self.platform.url(path)).json(&body);
        let answer = request.send().await.unwrap();
        let (status, body) = crate::platform::read(answer).await;
        assert!(status.is_success(), "{path}: {status} {body}");
        self.told.push(body.to_string());
    }

    async fn register(&mut self) {
        let endpoint = json!({ "uri": self.server.url("/anything/look"), "authentication": { "bearer": { "use": "token" } } });
        let with = json!({ "endpoint": endpoint, "headers": { "x-key": "k {secret.token}" }, "output": "response" });
        let look =
            json!({ "description": "Looks.", "kind": "http", "secrets": ["token"], "with": with });
        self.put("/v1/tools/look", look).await;
        let server = self.folder.path().join("server.py").display().to_string();
        let with = json!({ "command": "python3", "arguments": [server], "environment": { "TOKEN": "{secret.token}" } });
        let py =
            json!({ "description": "Tells.", "kind": "mcp", "secrets": ["token"], "with": with });
        self.put("/v1/tools/py", py).await;
        let agent = json!({ "name": "thinker", "instructions": "Think.", "tools": ["look"], "team": { "inbox": true } });
        self.put("/v1/agents/thinker", agent).await;
        let letter = json!({ "from_agent": "ann", "content": "canary-9d41-letter" });
        let (status, body) = self.post("/v1/agents/thinker/inbox", letter).await;
        assert_eq!(status, 202, "{body}");
        let (status, body) = self
            .post(
                "/v1/providers/stored/keys",
                json!({ "key": "sk-canary-9d41-stored", "key_id": "main" }),
            )
            .await;
        assert!(status.is_success(), "{status} {body}");
    }

    /// What refuses repeats nothing of what it refuses.
    async fn refusals(&mut self) {
        for (path, body, expected) in [
            ("/v1/providers/stored/keys", json!({ "key": "canary-9d41-ü" }), 400),
            ("/v1/providers/stored/keys", json!({ "key": ["canary-9d41"] }), 400),
            ("/v1/providers/stored/keys", json!({ "key": "canary-9d41", "colour": 1 }), 400),
        ] {
            let (status, answer) = self.post(path, body).await;
            assert_eq!(status, expected, "{answer}");
        }
        let ask =
            json!({ "model": "scripted", "messages": [{ "role": "user", "content": "refused" }] });
        for model in ["scripted", "stored/scripted"] {
            let (status, answer) = self
                .post(
                    "/v1/chat/completions",
                    json!({ "model": model, "messages": ask["messages"] }),
                )
                .await;
            assert!(status.is_client_error() || status.is_server_error(), "{status} {answer}");
        }
        let request = self.platform.client.post(self.platform.url("/v1/chat/completions"));
        let answer = request.bearer_auth("sk-muster-canary-9d41").json(&ask).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{}", answer.status());
        self.told.push(answer.text().await.unwrap());
    }

    /// A virtual key, used once. It is shown when it is made, and never again.
    async fn virtual_key(&mut self) -> String {
        let (status, made) =
            self.platform.post("/v1/keys", &json!({ "tenant": "acme", "budget_usd": 1.0 })).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        let key = made["key"].as_str().unwrap().to_owned();
        let ask = json!({ "model": "scripted", "messages": [{ "role": "user", "content": "go" }] });
        let request = self.platform.client.post(self.platform.url("/v1/chat/completions"));
        let answer = request.bearer_auth(&key).json(&ask).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        self.told.push(answer.text().await.unwrap());
        for path in
            ["/v1/keys".to_owned(), format!("/v1/keys/{}", made["key_id"].as_str().unwrap())]
        {
            self.told.push(self.platform.get(&path).await.1.to_string());
        }
        key
    }

    /// Runs the workflow to its end, followed by SSE.
    async fn run(&mut self) {
        let source = WORKFLOW.replace("BASE", &self.server.url(""));
        let name = self.platform.put_workflow(source).await;
        let id = self.platform.start_execution(&name, &json!({}), "k1").await;
        let events =
            self.platform.client.get(self.platform.url(&format!("/v1/executions/{id}/events")));
        let events = events.header("accept", "text/event-stream").send().await.unwrap();
        let events = tokio::time::timeout(DEADLINE, events.text()).await.unwrap().unwrap();
        let state = self.platform.ended(&id, DEADLINE).await;
        assert_eq!(state["status"], "completed", "{state:#}");
        assert!(events.contains("call_requested"), "{events:.500}");
        let (_, log) = self.platform.get(&format!("/v1/executions/{id}/events?limit=1000")).await;
        self.told.extend([events, state.to_string(), log.to_string()]);
    }

    /// Everything that the services printed, kept and told.
    async fn places(&self) -> Vec<(&'static str, String)> {
        let logs = self.platform.processes.values().map(Process::log).collect();
        // That it looks at all of them. What follows what happens may come a moment later.
        let kept = eventually(DEADLINE, "the calls and the letter are kept", || async {
            let kept = String::from_utf8_lossy(&self.platform.nats.kept().await).into_owned();
            (kept.contains("py__tell") && kept.contains("inbox/thinker/")).then_some(kept)
        })
        .await;
        let tables = eventually(DEADLINE, "the log has the calls", || async {
            let tables = tables(self.platform.database.url()).await;
            tables.contains("py__tell").then_some(tables)
        })
        .await;
        vec![("logs", logs), ("streams", kept), ("tables", tables), ("told", self.told.join("\n"))]
    }
}

fn write(folder: &Path, model: &ScriptedModel) {
    fs::create_dir(folder.join("secrets")).unwrap();
    fs::write(folder.join("secrets/token"), "canary-9d41-token").unwrap();
    fs::write(folder.join("server.py"), MCP_SERVER).unwrap();
    let models = format!(
        "providers:\n  stored: {{dialect: openai, base_url: '{}', key: main, default_model: scripted}}\n",
        model.base_url()
    );
    fs::write(folder.join("models.yaml"), models).unwrap();
    model.respond_with(|request| {
        let key = request.headers.get("authorization").cloned().unwrap_or_default();
        let said = request.body["messages"].to_string();
        match () {
            () if said.contains("refused") && key.contains("stored") => {
                Answer::failure(StatusCode::UNAUTHORIZED, format!("{key} is wrong"))
            }
            // A server that repeats what it was sent.
            () if said.contains("refused") => {
                Answer::failure(StatusCode::BAD_REQUEST, format!("{key} is wrong"))
            }
            () if said.contains("\"tool\"") => Answer::text("It is seen."),
            () => Answer::tool_call("look", json!({})),
        }
    });
}

/// Every row of every table, as text.
async fn tables(url: &str) -> String {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let names = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema')";
    let names: Vec<String> = sqlx::query_scalar(names).fetch_all(&mut connection).await.unwrap();
    let mut rows = Vec::new();
    for name in names {
        let all = AssertSqlSafe(format!("SELECT t::text FROM {name} t"));
        rows.extend(sqlx::query_scalar::<_, String>(all).fetch_all(&mut connection).await.unwrap());
    }
    rows.join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_any_kind_is_in_no_log_stream_table_event_or_error() {
    let mut world = Fixture::start().await;
    world.register().await;
    eventually(DEADLINE, "the server's tools are listed", || async {
        let (status, _) = world.platform.get("/v1/tools/py__tell").await;
        status.is_success()
    })
    .await;
    world.refusals().await;
    let key = world.virtual_key().await;
    world.run().await;
    // They did arrive where they are used.
    let asked = world.server.asked();
    let with = |name: &str| {
        asked.iter().any(|one| one.headers.get(name).is_some_and(|value| value.contains(CANARY)))
    };
    assert!(with("authorization") && with("x-key") && with("x-token"), "{asked:?}");
    let keys: Vec<_> =
        world.model.requests().iter().map(|one| one.headers["authorization"].clone()).collect();
    assert!(
        keys.iter().any(|key| key.contains(PROVIDER_KEY))
            && keys.iter().any(|key| key.contains("stored"))
    );
    eventually(DEADLINE, "the log has the end", || async {
        tables(world.platform.database.url()).await.contains("py__tell")
    })
    .await;
    for (place, text) in world.places().await {
        for form in FORMS.iter().copied().chain([key.as_str()]) {
            let found = text.find(form).map(|at| {
                let around = at.saturating_sub(120)..(at + 60).min(text.len());
                String::from_utf8_lossy(&text.as_bytes()[around]).into_owned()
            });
            assert!(found.is_none(), "{place} has {form}: {found:?}");
        }
    }
}
