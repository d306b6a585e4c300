//! Who may come in, and to what.

use std::collections::BTreeSet;
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt;
use muster_contracts::agent::v1::{Approval, DecideApprovalRequest, GetApprovalRequest};
use muster_contracts::auth::v1::{KeyCreated, KeyRevoked, LoginFailed, LoginSucceeded};
use muster_contracts::thread::v1::{
    ForgetMemoryRequest, GetThreadRequest, ListMemoryRequest, MemoryForgotten, MemoryItem,
    MemoryList, SendMessageRequest, SentMessage, Thread,
};
use muster_contracts::workflow::v1::ExecutionState;
use muster_contracts::{Code, Event, Fault};
use muster_gateway::{Access, access};
use muster_testkit::{NatsServer, eventually};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::platform::{PATIENCE, Peers, Platform, problem, told};

const ADMIN: &str = "an-admin-token-of-this-test";
/// Of the tenant acme, as the played model service knows it; it is for every model.
const KEY: &str = "sk-good-good-good";
/// The same, for the model `fast` only.
const FAST: &str = "sk-fast-fast-fast";

/// The same, for the agent `talk` only.
const TALK: &str = "sk-talk-talk-talk";

/// Says whose thread was asked for; every thread is with the agent `talk`.
pub(crate) async fn thread(_: Peers, request: GetThreadRequest) -> Result<Thread, Fault> {
    let GetThreadRequest { thread_id, tenant } = request;
    Ok(Thread { thread_id, tenant, agent: "talk".to_owned(), ..Thread::default() })
}

pub(crate) async fn message(_: Peers, request: SendMessageRequest) -> Result<SentMessage, Fault> {
    let SendMessageRequest { thread_id, message_id, .. } = request;
    let execution_id = format!("thread-{thread_id}");
    Ok(SentMessage { thread_id, message_id, execution_id, ..SentMessage::default() })
}

/// The tenant of an approval is the first part of its id. It is there for that tenant, as with the agent service.
fn belongs(approval_id: &str, asks: &str) -> Result<(), Fault> {
    if asks.is_empty() || approval_id.starts_with(&format!("{asks}-")) {
        return Ok(());
    }
    Err(Fault::new(Code::NotFound, format!("there is no approval {approval_id:?}")))
}

pub(crate) async fn approval(_: Peers, request: GetApprovalRequest) -> Result<Approval, Fault> {
    belongs(&request.approval_id, &request.tenant)?;
    Ok(Approval { approval_id: request.approval_id, ..Approval::default() })
}

pub(crate) async fn decide(_: Peers, request: DecideApprovalRequest) -> Result<Approval, Fault> {
    belongs(&request.approval_id, &request.tenant)?;
    Ok(Approval { approval_id: request.approval_id, by: request.by, ..Approval::default() })
}

/// Says whose memory was asked for.
pub(crate) async fn remembered(_: Peers, request: ListMemoryRequest) -> Result<MemoryList, Fault> {
    let content = format!("{} for {:?}", request.agent, request.tenant);
    Ok(MemoryList { items: vec![MemoryItem { content, ..MemoryItem::default() }] })
}

/// There is one thing in the memory of acme, and two in that of the platform.
pub(crate) async fn forgotten(
    _: Peers,
    request: ForgetMemoryRequest,
) -> Result<MemoryForgotten, Fault> {
    match request.tenant.as_str() {
        "acme" => Ok(MemoryForgotten { items: 1 }),
        "" => Ok(MemoryForgotten { items: 2 }),
        other => Err(Fault::new(Code::NotFound, format!("nothing is remembered for {other:?}"))),
    }
}

/// A gateway at which everybody must say who he is.
async fn guarded() -> Platform {
    let settings =
        [("MUSTER_ADMIN_TOKEN", "ann:an-admin-token-of-this-test"), ("MUSTER_MAX_STREAMS", "8")];
    let platform = Platform::start_with(NatsServer::start().await, &settings).await;
    eventually(PATIENCE, "the peers answer", || async {
        as_admin(&platform, Method::GET, "/v1/workflows").send().await.unwrap().status()
            == StatusCode::OK
    })
    .await;
    platform
}

fn with(platform: &Platform, token: &str, method: Method, path: &str) -> RequestBuilder {
    platform.request(method, path).bearer_auth(token)
}

fn as_admin(platform: &Platform, method: Method, path: &str) -> RequestBuilder {
    with(platform, ADMIN, method, path)
}

async fn get(platform: &Platform, token: &str, path: &str) -> Response {
    with(platform, token, Method::GET, path).send().await.unwrap()
}

async fn post(platform: &Platform, token: &str, path: &str, body: Value) -> Response {
    with(platform, token, Method::POST, path).json(&body).send().await.unwrap()
}

/// Every method and path of the document, with names in the place of its variables.
fn operations() -> Vec<(Method, String, String)> {
    let document = serde_json::to_value(muster_gateway::openapi()).unwrap();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let filled: Vec<&str> = path
            .split('/')
            .map(|segment| if segment.starts_with('{') { "x" } else { segment })
            .collect();
        for method in ["get", "put", "post", "delete"] {
            if item.get(method).is_some() {
                let method: Method = method.to_uppercase().parse().unwrap();
                operations.push((method, path.clone(), filled.join("/")));
            }
        }
    }
    operations
}

#[tokio::test]
async fn who_does_not_say_who_he_is_is_told_how_to() {
    let platform = guarded().await;
    let missing = platform.get("/v1/workflows").await;
    assert_eq!(missing.headers()["www-authenticate"], "Bearer realm=\"muster\"");
    problem(missing, 401, &["Authorization: Bearer"]).await;
    let wrong = get(&platform, "sk-wrong-wrong-wrong", "/v1/workflows").await;
    let challenge = "Bearer realm=\"muster\", error=\"invalid_token\"";
    assert_eq!(wrong.headers()["www-authenticate"], challenge);
    let told_wrong = problem(wrong, 401, &["****rong"]).await;
    assert!(!told_wrong.to_string().contains("sk-wrong"), "{told_wrong}");
    let basic = platform.request(Method::GET, "/v1/workflows").basic_auth("ann", Some(ADMIN));
    assert_eq!(basic.send().await.unwrap().status(), 401);
    let asked = json!({ "model": "small", "messages": [{ "role": "user", "content": "hi" }] });
    let openai = platform.post("/v1/chat/completions", asked.clone()).await;
    assert!(openai.headers().contains_key("www-authenticate"));
    let (status, body) = told(openai).await;
    assert_eq!((status, &body["error"]["code"]), (401, &json!("invalid_api_key")));
    for token in [KEY, ADMIN] {
        assert_eq!(
            post(&platform, token, "/v1/chat/completions", asked.clone()).await.status(),
            200
        );
    }
    for open in ["/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(platform.get(open).await.status(), 200, "{open}");
    }
}

#[tokio::test]
async fn every_path_is_closed_to_strangers_and_to_tenants_but_for_those_listed() {
    let platform = guarded().await;
    for (method, _, path) in operations() {
        let expected = access(&method, &path);
        let request = platform.request(method.clone(), &path);
        let stranger = request.send().await.unwrap().status();
        assert_eq!(stranger == 401, expected != Access::Open, "{method} {path}: {stranger}");
        if expected == Access::Admin {
            let refused = with(&platform, KEY, method, &path).send().await.unwrap();
            problem(refused, 403, &["admin token", "acme"]).await;
        }
    }
    problem(get(&platform, KEY, "/v1/nothing").await, 403, &["/v1/nothing"]).await;
    problem(get(&platform, ADMIN, "/v1/nothing").await, 404, &["/v1/nothing"]).await;
}

#[test]
fn the_page_lists_what_is_not_for_admins_only() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/authentication.md");
    let page = std::fs::read_to_string(page).unwrap();
    let listed: BTreeSet<(String, String)> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once("` | "))
        .map(|(route, rest)| (route.to_owned(), rest.split(" |").next().unwrap().to_owned()))
        .filter(|(_, who)| ["anybody", "tenant"].contains(&who.as_str()))
        .collect();
    let mut expected: BTreeSet<(String, String)> = operations()
        .into_iter()
        .map(|(method, path, filled)| (format!("{method} {path}"), access(&method, &filled)))
        .filter(|(_, access)| *access != Access::Admin)
        .map(|(route, access)| (route, access.name().to_owned()))
        .collect();
    expected.insert(("GET /openapi.json".to_owned(), Access::Open.name().to_owned()));
    assert_eq!(listed, expected);
}

fn state(id: &str, tenant: &str) -> ExecutionState {
    ExecutionState {
        execution_id: id.to_owned(),
        status: "running".to_owned(),
        tenant: tenant.to_owned(),
        ..ExecutionState::default()
    }
}

#[tokio::test]
async fn a_tenant_starts_and_sees_its_own_executions_and_no_others() {
    let platform = guarded().await;
    let start = json!({ "workflow": "slow", "input": 1 });
    let (status, started) = told(post(&platform, KEY, "/v1/executions", start.clone()).await).await;
    assert_eq!(status, 202, "{started}");
    let id = started["execution_id"].as_str().unwrap();
    eventually(PATIENCE, "the command is there", || async { !platform.peers.starts().is_empty() })
        .await;
    let command = platform.peers.starts().remove(0);
    assert_eq!((command.tenant.as_str(), command.key_id.as_str()), ("acme", "k1"));
    // It has not begun: the gateway itself knows whose it is.
    let (_, pending) = told(get(&platform, KEY, &format!("/v1/executions/{id}")).await).await;
    assert_eq!((&pending["status"], &pending["tenant"]), (&json!("pending"), &json!("acme")));
    for (id, tenant) in [("own", "acme"), ("others", "globex"), ("ours", "")] {
        platform.peers.set(state(id, tenant));
    }
    assert_eq!(get(&platform, KEY, "/v1/executions/own").await.status(), 200);
    for id in ["others", "ours", "nothing"] {
        for part in ["", "/events", "/usage"] {
            let path = format!("/v1/executions/{id}{part}");
            problem(get(&platform, KEY, &path).await, 404, &[id]).await;
        }
        for verb in ["cancel", "suspend", "resume", "retry"] {
            let path = format!("/v1/executions/{id}/{verb}");
            let request = with(&platform, KEY, Method::POST, &path);
            problem(request.send().await.unwrap(), 404, &[id]).await;
        }
        let path = format!("/v1/executions/{id}/signals");
        problem(post(&platform, KEY, &path, json!({ "signal": "go" })).await, 404, &[id]).await;
    }
    assert_eq!(get(&platform, ADMIN, "/v1/executions/others").await.status(), 200);
    // A key that is for some models only starts no workflow that it does not name.
    problem(post(&platform, FAST, "/v1/executions", start).await, 403, &["workflow:slow"]).await;
}

#[tokio::test]
async fn two_tenants_may_choose_the_same_idempotency_key() {
    let platform = guarded().await;
    let start = async |token: &str| {
        let request = with(&platform, token, Method::POST, "/v1/executions");
        let request = request.header("idempotency-key", "the-same");
        let (_, started) =
            told(request.json(&json!({ "workflow": "slow" })).send().await.unwrap()).await;
        started["execution_id"].as_str().unwrap().to_owned()
    };
    let (tenants, admins) = (start(KEY).await, start(ADMIN).await);
    assert_ne!(tenants, admins);
    assert_eq!(start(KEY).await, tenants);
}

#[tokio::test]
async fn a_decision_is_made_under_the_name_of_the_key() {
    let platform = guarded().await;
    let decide = async |token: &str, id: &str, by: &str| {
        let body = json!({ "decision": "approve", "by": by });
        post(&platform, token, &format!("/v1/approvals/{id}"), body).await
    };
    let (_, decided) = told(decide(ADMIN, "acme-1", "").await).await;
    assert_eq!(decided["by"], "ann");
    let (_, decided) = told(decide(KEY, "acme-1", "").await).await;
    assert_eq!(decided["by"], "k1");
    problem(decide(ADMIN, "acme-1", "bob").await, 403, &["bob", "ann"]).await;
    problem(decide(KEY, "globex-1", "").await, 404, &["globex-1"]).await;
    problem(get(&platform, KEY, "/v1/approvals/globex-1").await, 404, &["globex-1"]).await;
    assert_eq!(get(&platform, KEY, "/v1/approvals/acme-1").await.status(), 200);
    // The agent service is told who asks for a thread, and answers only with its own.
    let (_, thread) = told(get(&platform, KEY, "/v1/threads/t1").await).await;
    assert_eq!(thread["tenant"], "acme");
}

#[tokio::test]
async fn an_agents_memory_is_that_of_the_tenant_who_asks() {
    let platform = guarded().await;
    let path = "/v1/agents/talk/memory";
    let told_to = async |token: &str, query: &str| {
        let (status, kept) = told(get(&platform, token, &format!("{path}{query}")).await).await;
        assert_eq!(status, 200, "{kept}");
        kept["items"][0]["content"].as_str().unwrap().to_owned()
    };
    for query in ["", "?tenant=acme"] {
        assert_eq!(told_to(KEY, query).await, "talk for \"acme\"");
    }
    assert_eq!(told_to(TALK, "").await, "talk for \"acme\"");
    assert_eq!(told_to(ADMIN, "").await, "talk for \"\"");
    assert_eq!(told_to(ADMIN, "?tenant=globex").await, "talk for \"globex\"");
    let foreign = get(&platform, KEY, &format!("{path}?tenant=globex")).await;
    problem(foreign, 403, &["globex", "acme"]).await;
    problem(get(&platform, FAST, path).await, 403, &["agent:talk"]).await;
    let delete = async |token: &str, rest: &str| {
        let request = with(&platform, token, Method::DELETE, &format!("{path}{rest}"));
        request.send().await.unwrap()
    };
    for rest in ["", "/m1"] {
        assert_eq!(told(delete(KEY, rest).await).await.1["items"], 1);
        assert_eq!(told(delete(ADMIN, rest).await).await.1["items"], 2);
        let named = format!("{rest}?tenant=globex");
        problem(delete(ADMIN, &named).await, 404, &["globex"]).await;
        problem(delete(KEY, &named).await, 403, &["globex"]).await;
        problem(delete(FAST, rest).await, 403, &["agent:talk"]).await;
    }
}

async fn next<M: Event>(events: &mut (impl futures::Stream<Item = M> + Unpin)) -> M {
    timeout(PATIENCE, events.next()).await.unwrap().unwrap()
}

#[tokio::test]
async fn keys_that_come_go_are_used_and_refused_are_told_on_the_bus_without_themselves() {
    let platform = guarded().await;
    let mut used = pin!(platform.bus.listen::<LoginSucceeded>().await.unwrap());
    let mut refused = pin!(platform.bus.listen::<LoginFailed>().await.unwrap());
    let mut made = pin!(platform.bus.listen::<KeyCreated>().await.unwrap());
    let mut gone = pin!(platform.bus.listen::<KeyRevoked>().await.unwrap());
    // A round trip: now the server knows who listens.
    platform.bus.dead_letters().list(1).await.unwrap();
    let new = post(&platform, ADMIN, "/v1/keys", json!({ "tenant": "acme" })).await;
    let (_, new) = told(new).await;
    let event = next(&mut made).await;
    assert_eq!((event.subject.as_str(), event.key_id.as_str()), ("acme", "k1"));
    assert_eq!((event.by.as_str(), event.ip.as_str()), ("ann", "127.0.0.1"));
    assert!(!format!("{event:?}").contains(new["key"].as_str().unwrap()));
    assert_eq!(get(&platform, KEY, "/v1/models").await.status(), 200);
    // The admin's token may be told first.
    let mut event = next(&mut used).await;
    while event.method != "api_key" {
        event = next(&mut used).await;
    }
    assert_eq!(event.subject, "acme");
    assert_eq!(get(&platform, "sk-wrong-wrong-wrong", "/v1/models").await.status(), 401);
    let event = next(&mut refused).await;
    assert!(event.reason.contains("****rong") && !event.reason.contains("sk-wrong"), "{event:?}");
    let removed = as_admin(&platform, Method::DELETE, "/v1/keys/k1").send().await.unwrap();
    assert_eq!(removed.status(), 204);
    // At once, although the key was known a moment ago.
    assert_eq!(get(&platform, KEY, "/v1/models").await.status(), 401);
    let event = next(&mut gone).await;
    assert_eq!((event.key_id.as_str(), event.subject.as_str()), ("k1", "acme"));
    // Another replica hears of it on the bus.
    assert_eq!(get(&platform, FAST, "/v1/models").await.status(), 200);
    platform.peers.revoke("k2");
    let event = KeyRevoked { key_id: "k2".to_owned(), ..KeyRevoked::default() };
    let id = muster_bus::MessageId::random();
    platform.bus.publish(&event, &id).await.unwrap();
    eventually(PATIENCE, "the key is refused", || async {
        get(&platform, FAST, "/v1/models").await.status() == 401
    })
    .await;
}

#[tokio::test]
async fn a_message_to_a_thread_is_for_keys_that_name_its_agent() {
    let platform = guarded().await;
    let send = async |token: &str| {
        post(&platform, token, "/v1/threads/t1/messages", json!({ "content": "hi" })).await
    };
    problem(send(FAST).await, 403, &["k2", "agent:talk"]).await;
    for token in [TALK, KEY, ADMIN] {
        let (status, sent) = told(send(token).await).await;
        assert_eq!(status, 202, "{token}: {sent}");
    }
}

/// A live stream of the execution `own`.
async fn follow(platform: &Platform, token: &str) -> Response {
    let request = with(platform, token, Method::GET, "/v1/executions/own/events");
    let response = request.header("accept", "text/event-stream").send().await.unwrap();
    assert_eq!(response.status(), 200);
    response
}

async fn end(response: Response) -> String {
    timeout(PATIENCE, response.text()).await.unwrap().unwrap()
}

#[tokio::test]
async fn the_streams_of_a_key_end_with_it_and_no_others() {
    let platform = guarded().await;
    platform.peers.set(state("own", "acme"));
    let (first, second) = (follow(&platform, KEY).await, follow(&platform, KEY).await);
    let (others, admins) = (follow(&platform, FAST).await, follow(&platform, ADMIN).await);
    let asked = json!({ "model": "halts", "stream": true, "messages": [{ "role": "user", "content": "x" }] });
    let reply = post(&platform, KEY, "/v1/chat/completions", asked).await;
    assert_eq!(reply.status(), 200);
    let removed = as_admin(&platform, Method::DELETE, "/v1/keys/k1").send().await.unwrap();
    assert_eq!(removed.status(), 204);
    for stream in [first, second] {
        assert!(!end(stream).await.contains("done"));
    }
    let reply = end(reply).await;
    assert!(reply.contains("one ") && reply.contains("removed"), "{reply}");
    // Those of other clients are still open. Another replica hears of a key on the bus.
    platform.peers.revoke("k2");
    let event = KeyRevoked { key_id: "k2".to_owned(), ..KeyRevoked::default() };
    let id = muster_bus::MessageId::random();
    let mut others = Box::pin(others.text());
    assert!(futures::poll!(&mut others).is_pending());
    platform.bus.publish(&event, &id).await.unwrap();
    timeout(PATIENCE, others).await.unwrap().unwrap();
    let mut admins = Box::pin(admins.text());
    assert!(timeout(Duration::from_millis(200), &mut admins).await.is_err());
}
