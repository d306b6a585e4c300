//! What people do by REST and by the command line: decide about calls, talk in threads, look at what agents remember, and tell them something.

use std::time::Duration;

use futures::StreamExt;
use muster_testkit::{Answer, Program, RecordedRequest, ScriptedModel, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::platform::{Platform, read};

const DEADLINE: Duration = Duration::from_secs(60);
const SEAL: &str = "s:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";
const WORKFLOW: &str = "
document: {dsl: '1.0.3', namespace: tests, name: buy, version: '1.0.0'}
do:
- buy: {call: agent, with: {agent: buyer, input: '${ .what }'}}
";
const BUYER: &str =
    "tools: [calculate]\napproval: {tools: {calculate: always}, approvers: [ann, bob]}\n";
const MEMORY: &str = "memory: {scope: agent, max_items: 10}\n";

/// Each agent is told by its name what it does.
fn answer(request: &RecordedRequest) -> Answer {
    let messages = request.body["messages"].as_array().cloned().unwrap_or_default();
    let text =
        |message: Option<&Value>| message.map(|one| one["content"].to_string()).unwrap_or_default();
    let (agent, last) = (text(messages.first()), messages.last());
    if last.is_some_and(|message| message["role"] == "tool") {
        return Answer::text(format!("It is {}", text(last).replace('"', "")));
    }
    match () {
        () if agent.contains("buyer") => {
            Answer::tool_call("calculate", json!({ "expression": "1 + 1" }))
        }
        () if agent.contains("keeper") => {
            Answer::tool_call("remember", json!({ "content": text(last) }))
        }
        () => Answer::text(format!("{} messages", messages.len() - 1)),
    }
}

struct Desk {
    platform: Platform,
    _model: ScriptedModel,
}

impl Desk {
    async fn start() -> Self {
        let model = ScriptedModel::start().await;
        model.respond_with(answer);
        let platform = Platform::start_with(&[
            ("OPENAI_BASE_URL", model.base_url()),
            ("OPENAI_API_KEY", "sk-test"),
            ("MUSTER_OPENAI_MODEL", "scripted"),
            ("MUSTER_SEAL_KEYS", SEAL),
        ])
        .await;
        let desk = Self { platform, _model: model };
        for (name, rest) in [
            ("buyer", BUYER),
            ("keeper", MEMORY),
            ("talker", ""),
            ("reader", "team: {inbox: true}\n"),
        ] {
            let file = format!("name: {name}\ninstructions: You are the {name}.\n{rest}");
            let (status, body) = desk.platform.put_yaml(&format!("/v1/agents/{name}"), file).await;
            assert!(status.is_success(), "{name}: {status} {body}");
        }
        desk
    }

    /// The command line, as a person uses it: whether it succeeded, and what it said.
    async fn muster(&self, arguments: &[&str]) -> (bool, String) {
        let program = arguments.iter().copied().fold(Program::of_workspace("muster"), Program::arg);
        let process =
            program.env("MUSTER_SERVER", &self.platform.http).env("NO_COLOR", "1").spawn();
        (process.wait(DEADLINE).await.success(), process.log())
    }

    async fn said(&self, arguments: &[&str], words: &[&str]) {
        let (good, log) = self.muster(arguments).await;
        assert!(good, "{arguments:?}: {log}");
        self.has(&log, words);
    }

    async fn refused(&self, arguments: &[&str], words: &[&str]) {
        let (good, log) = self.muster(arguments).await;
        assert!(!good, "{arguments:?}: {log}");
        self.has(&log, words);
    }

    fn has(&self, log: &str, words: &[&str]) {
        for word in words {
            assert!(log.contains(word), "{word:?} is not in {log}");
        }
    }

    async fn send(&self, method: &str, path: &str) -> (StatusCode, Value) {
        let method = method.parse().unwrap();
        read(self.platform.client.request(method, self.platform.url(path)).send().await.unwrap())
            .await
    }

    /// The approval that waits.
    async fn pending(&self) -> Value {
        eventually(DEADLINE, "somebody is asked", || async {
            let (_, list) = self.platform.get("/v1/approvals?status=pending&agent=buyer").await;
            list["approvals"].get(0).cloned()
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_decided_about_at_the_command_line_and_its_watchers_see_it() {
    let desk = Desk::start().await;
    let platform = &desk.platform;
    let name = platform.put_workflow(WORKFLOW.to_owned()).await;
    let id = platform.start_execution(&name, &json!({ "what": "bread" }), "one").await;
    let events = platform.client.get(platform.url(&format!("/v1/executions/{id}/events")));
    let events = events.header("accept", "text/event-stream").send().await.unwrap();
    let mut events = events.bytes_stream();
    let mut seen = String::new();
    // Decided about before that, it would never stand still.
    while !seen.contains("run_suspended") {
        let chunk = tokio::time::timeout(DEADLINE, events.next()).await.expect(&seen);
        seen.push_str(&String::from_utf8_lossy(&chunk.unwrap().unwrap()));
    }
    let approval = desk.pending().await;
    let approval = approval["approval_id"].as_str().unwrap();
    desk.said(
        &["approvals", "ls", "--status", "pending"],
        &[approval, "buyer", "calculate", "1 + 1"],
    )
    .await;
    desk.said(&["approvals", "show", approval], &["\"approvers\"", "ann", &id]).await;
    desk.refused(&["approvals", "approve", approval, "--by", "eve"], &["ann, bob"]).await;
    desk.refused(&["approvals", "approve", approval, "--arguments", "{"], &["--arguments must be"])
        .await;
    let edited = [
        "approvals",
        "approve",
        approval,
        "--by",
        "ann",
        "--arguments",
        r#"{"expression": "2 * 21"}"#,
    ];
    desk.said(&edited, &["calculate approved"]).await;
    desk.refused(
        &["approvals", "reject", approval, "--by", "bob", "--reason", "late"],
        &["approved"],
    )
    .await;
    desk.said(&["approvals", "ls", "--agent", "buyer", "--json"], &["\"status\": \"approved\""])
        .await;
    desk.said(&["approvals", "ls", "--agent", "talker"], &["no approvals"]).await;
    desk.refused(&["approvals", "show", "nothing"], &["nothing"]).await;
    // The same stream tells what was decided, what came of it, and ends.
    while let Some(chunk) = tokio::time::timeout(DEADLINE, events.next()).await.expect(&seen) {
        seen.push_str(&String::from_utf8_lossy(&chunk.unwrap()));
    }
    desk.has(&seen, &["approval_decided", "run_suspended", "run_resumed", "event: done"]);
    let state = platform.ended(&id, DEADLINE).await;
    assert!(state["output"]["summary"].as_str().unwrap().contains("42"), "{state}");
    let (status, problem) = platform.get("/v1/approvals?status=maybe").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");

    let rejected = platform.start_execution(&name, &json!({ "what": "cake" }), "two").await;
    let approval = desk.pending().await;
    let approval = approval["approval_id"].as_str().unwrap().to_owned();
    let decision = json!({ "decision": "reject", "by": "bob", "reason": "too dear" });
    let (status, body) = platform.post(&format!("/v1/approvals/{approval}"), &decision).await;
    assert_eq!((status, &body["status"]), (StatusCode::OK, &json!("rejected")), "{body}");
    let state = platform.ended(&rejected, DEADLINE).await;
    assert!(state["output"]["summary"].as_str().unwrap().contains("too dear"), "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn threads_memories_and_messages_have_their_paths() {
    let desk = Desk::start().await;
    threads(&desk).await;
    memory(&desk).await;
    messages(&desk).await;
}

async fn threads(desk: &Desk) {
    let platform = &desk.platform;
    let new = json!({ "agent": "talker", "thread_id": "t1", "metadata": { "by": "ann" } });
    for _again in 0..2 {
        let (status, thread) = platform.post("/v1/threads", &new).await;
        assert!(status.is_success(), "{thread}");
        assert_eq!(
            (&thread["on_busy"], &thread["metadata"]["by"]),
            (&json!("queue"), &json!("ann"))
        );
    }
    for (body, expected, word) in [
        (json!({ "agent": "keeper", "thread_id": "t1" }), 409, "talker"),
        (json!({ "agent": "nobody" }), 404, "nobody"),
        (json!({ "agent": "talker", "on_busy": "sometimes" }), 400, "sometimes"),
        (json!({ "agent": "talker", "thread_id": "a b" }), 400, "a b"),
    ] {
        let (status, problem) = platform.post("/v1/threads", &body).await;
        assert_eq!(status, expected, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
    }
    for message in ["one", "two"] {
        let (status, sent) =
            platform.post("/v1/threads/t1/messages", &json!({ "content": message })).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{sent}");
        let id = sent["execution_id"].as_str().unwrap();
        assert_eq!(platform.ended(id, DEADLINE).await["status"], "completed");
    }
    let said = eventually(DEADLINE, "the thread is idle", || async {
        let (_, thread) = platform.get("/v1/threads/t1").await;
        let messages = thread["messages"].as_array().cloned().unwrap_or_default();
        if thread["status"] == "idle" { Ok(messages) } else { Err(thread) }
    })
    .await;
    let said: Vec<_> = said.iter().map(|message| message["content"].as_str().unwrap()).collect();
    assert_eq!(said, ["one", "1 messages", "two", "3 messages"]);
    let (_, list) = platform.get("/v1/threads?agent=talker").await;
    assert_eq!(list["threads"].as_array().unwrap().len(), 1, "{list}");
    let (status, problem) =
        platform.post("/v1/threads/none/messages", &json!({ "content": "x" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
    assert!(desk.send("DELETE", "/v1/threads/t1").await.0.is_success());
    assert_eq!(platform.get("/v1/threads/t1").await.0, StatusCode::NOT_FOUND);
}

async fn memory(desk: &Desk) {
    let platform = &desk.platform;
    let text = WORKFLOW.replace("name: buy", "name: keep").replace("agent: buyer", "agent: keeper");
    let name = platform.put_workflow(text).await;
    for what in ["bees fly", "ants walk", "cats sleep"] {
        let id = platform.start_execution(&name, &json!({ "what": what }), what).await;
        assert_eq!(platform.ended(&id, DEADLINE).await["status"], "completed");
    }
    let (_, kept) = platform.get("/v1/agents/keeper/memory").await;
    let items = kept["items"].as_array().unwrap();
    assert_eq!(items.len(), 3, "{kept}");
    assert!(
        items[0]["content"].as_str().unwrap().contains("cats sleep"),
        "the newest first: {kept}"
    );
    let path = format!("/v1/agents/keeper/memory/{}", items[1]["item_id"].as_str().unwrap());
    assert!(desk.send("DELETE", &path).await.0.is_success());
    let (_, kept) = platform.get("/v1/agents/keeper/memory").await;
    assert!(
        kept["items"].as_array().unwrap().len() == 2 && !kept.to_string().contains("ants"),
        "{kept}"
    );
    assert!(desk.send("DELETE", "/v1/agents/keeper/memory").await.0.is_success());
    assert_eq!(platform.get("/v1/agents/keeper/memory").await.1["items"], json!([]));
    // One without a memory, and one that is not there.
    let (status, problem) = platform.get("/v1/agents/talker/memory").await;
    assert!(status.is_client_error(), "{status} {problem}");
    assert_eq!(platform.get("/v1/agents/nobody/memory").await.0, StatusCode::NOT_FOUND);
}

async fn messages(desk: &Desk) {
    let platform = &desk.platform;
    eventually(DEADLINE, "it is idle", || async {
        let (_, log) = desk.muster(&["agents", "status", "talker"]).await;
        if log.contains("talker") && log.contains("idle") { Ok(()) } else { Err(log) }
    })
    .await;
    desk.said(&["agents", "status", "talker", "--json"], &["\"status\": \"idle\""]).await;
    desk.refused(&["agents", "status", "nobody"], &["nobody"]).await;
    desk.said(&["agents", "send", "reader", "the door is open", "--from", "ann"], &["sent "]).await;
    desk.refused(&["agents", "send", "nobody", "x"], &["nobody"]).await;
    desk.said(&["agents", "broadcast", "all is well", "--type", "news"], &["sent "]).await;
    let (status, problem) = platform
        .post("/v1/agents/reader/inbox", &json!({ "from_agent": "a b", "content": "x" }))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let (status, body) =
        platform.post("/v1/agents/talker/tasks", &json!({ "params": { "input": "go" } })).await;
    assert!(status.is_success(), "{status} {body}");
    let path = format!("/v1/agents/talker/tasks/{}", body["task_id"].as_str().unwrap());
    eventually(DEADLINE, "the task is done", || async {
        let (_, task) = platform.get(&path).await;
        if task["status"] == "completed" { Ok(()) } else { Err(task) }
    })
    .await;
    assert_eq!(platform.get("/v1/agents/talker/tasks/none").await.0, StatusCode::NOT_FOUND);
    let (_, versions) = platform.get("/v1/agents/talker/versions").await;
    assert!(versions.to_string().contains("digest"), "{versions}");
}
