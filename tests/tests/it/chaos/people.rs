//! People who use the platform meanwhile: they decide, talk, and spend money, and try again where it is away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use muster_testkit::eventually;
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::agents::{decision, number_of};
use crate::platform::read;

/// How long anybody tries.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a single try may take: what answers later is asked again.
const TRY: Duration = Duration::from_secs(10);
/// How often somebody looks at what waits.
const LOOK: Duration = Duration::from_millis(250);
/// What waits is decided after so many looks at most.
const LOOKS: usize = 8;
/// Messages of a conversation, sent without waiting for answers.
pub(super) const MESSAGES: usize = 3;

/// The platform as people reach it.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) client: Client,
    pub(super) http: String,
}

impl Door {
    fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.http)).timeout(TRY)
    }

    /// Posts until the platform is there to answer: with anything but 5xx.
    async fn post(&self, path: &str, key: &str, body: &Value) -> (StatusCode, Value) {
        eventually(PATIENCE, path, || async {
            let request = self.request(reqwest::Method::POST, path).header("idempotency-key", key);
            let answer = request.json(body).send().await.map_err(|error| error.to_string())?;
            match read(answer).await {
                (status, body) if status.is_server_error() => Err(format!("{status} {body}")),
                answer => Ok(answer),
            }
        })
        .await
    }
}

/// A conversation: its thread, and what was said in it in this order.
pub(super) struct Talk {
    pub(super) thread: String,
    pub(super) base: String,
    /// The executions that answer.
    pub(super) executions: Vec<String>,
}

/// Begins a conversation and sends all its messages, whatever is down.
pub(super) async fn talk(door: Door, base: String, number: usize) -> Talk {
    let thread = format!("talk{number}");
    let begin = json!({ "agent": "talker", "thread_id": thread, "on_busy": "queue" });
    let (status, body) = door.post("/v1/threads", &thread, &begin).await;
    assert!(status.is_success(), "{status} {body}");
    let mut executions = Vec::new();
    for at in 0..MESSAGES {
        let message = json!({ "content": content(&thread, &base, at) });
        let path = format!("/v1/threads/{thread}/messages");
        let (status, body) = door.post(&path, &format!("{thread}-{at}"), &message).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        executions.push(body["execution_id"].as_str().unwrap().to_owned());
    }
    Talk { thread, base, executions }
}

/// The message at a place of a conversation.
pub(super) fn content(thread: &str, base: &str, at: usize) -> String {
    format!("{thread}-{at} {base}")
}

/// Somebody who decides what waits, a while later, and says so until it is heard.
pub(super) struct Decider {
    /// Each approval with the status that it must have.
    decided: Arc<Mutex<BTreeMap<String, &'static str>>>,
    stop: CancellationToken,
    deciding: JoinHandle<()>,
}

impl Decider {
    pub(super) fn start(door: Door) -> Self {
        let (decided, stop) = (Arc::default(), CancellationToken::new());
        let deciding = tokio::spawn(decide(door, Arc::clone(&decided), stop.clone()));
        Self { decided, stop, deciding }
    }

    /// Ends when nobody waits any more; what was decided about each approval.
    pub(super) async fn end(self) -> BTreeMap<String, &'static str> {
        self.stop.cancel();
        self.deciding.await.unwrap();
        std::mem::take(&mut self.decided.lock().unwrap())
    }
}

async fn decide(
    door: Door,
    decided: Arc<Mutex<BTreeMap<String, &'static str>>>,
    stop: CancellationToken,
) {
    let mut looks = BTreeMap::<String, usize>::new();
    let mut saying = tokio::task::JoinSet::new();
    let mut look = tokio::time::interval(LOOK);
    while !stop.is_cancelled() {
        look.tick().await;
        for approval in pending(&door).await {
            let id = approval["approval_id"].as_str().unwrap().to_owned();
            let seen = looks.entry(id.clone()).or_default();
            *seen += 1;
            let url = approval["arguments"]["url"].as_str().unwrap().to_owned();
            let number = number_of(&url);
            if *seen != 1 + number % LOOKS {
                continue;
            }
            let (body, status) = decision(&url, number);
            decided.lock().unwrap().insert(id.clone(), status);
            let door = door.clone();
            saying.spawn(async move {
                let (status, answer) = door.post(&format!("/v1/approvals/{id}"), &id, &body).await;
                assert_eq!(status, StatusCode::OK, "{answer}");
            });
        }
    }
    while let Some(said) = saying.join_next().await {
        said.unwrap();
    }
}

async fn pending(door: &Door) -> Vec<Value> {
    let list = door.request(reqwest::Method::GET, "/v1/approvals?status=pending&limit=1000");
    let Ok(answer) = list.send().await else { return Vec::new() };
    let (_, body) = read(answer).await;
    body["approvals"].as_array().cloned().unwrap_or_default()
}

/// Somebody who asks the model directly, several times at once, with a budget that is spent before all is asked.
pub(super) struct Spender {
    door: Door,
    key: String,
    key_id: String,
    asking: Vec<JoinHandle<Vec<(String, Value)>>>,
}

/// Who asks at the same time.
const ASKERS: usize = 4;
/// What each of them asks.
const QUESTIONS: usize = 12;
/// What the budget is enough for.
pub(super) const PAID: u64 = 40;

impl Spender {
    pub(super) async fn start(door: Door, cost: u64) -> Self {
        let new = json!({ "tenant": "storm", "budget_usd": (PAID * cost) as f64 / 1e9 });
        let made = door.request(reqwest::Method::POST, "/v1/keys").json(&new).send().await.unwrap();
        let (status, body) = read(made).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        let (key, key_id) = (text("key"), text("key_id"));
        let asking =
            (0..ASKERS).map(|asker| tokio::spawn(ask_all(door.clone(), key.clone(), asker)));
        Self { asking: asking.collect(), door, key, key_id }
    }

    /// How many replies came, once everything is asked; each that came is still the same.
    pub(super) async fn end(self) -> u64 {
        let mut replies = 0;
        for asking in self.asking {
            for (question, reply) in asking.await.unwrap() {
                replies += 1;
                let again = ask(&self.door, &self.key, &question).await.1;
                assert_eq!(again["choices"], reply["choices"], "{question}");
            }
        }
        replies
    }

    pub(super) fn path(&self) -> String {
        format!("/v1/keys/{}", self.key_id)
    }
}

/// Asks until the budget is spent; each question with the reply that came.
async fn ask_all(door: Door, key: String, asker: usize) -> Vec<(String, Value)> {
    let mut replies = Vec::new();
    for at in 0..QUESTIONS {
        let question = format!("spend-{asker}-{at}");
        match ask(&door, &key, &question).await {
            (StatusCode::OK, reply) => replies.push((question, reply)),
            (StatusCode::TOO_MANY_REQUESTS, _) => break,
            (status, body) => panic!("{question}: {status} {body}"),
        }
        tokio::time::sleep(LOOK * 4).await;
    }
    replies
}

/// Asks until there is a reply, or nothing is left of the budget.
async fn ask(door: &Door, key: &str, question: &str) -> (StatusCode, Value) {
    let path = "/v1/chat/completions";
    let body = json!({ "model": "paid/scripted", "max_tokens": 5,
        "messages": [{ "role": "user", "content": question }] });
    eventually(PATIENCE, question, || async {
        let request = door.request(reqwest::Method::POST, path).bearer_auth(key);
        let request = request.header("idempotency-key", question).json(&body);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        match read(answer).await {
            (status, body) if status.is_server_error() => Err(format!("{status} {body}")),
            // What others have reserved may become free.
            (StatusCode::TOO_MANY_REQUESTS, body)
                if !body.to_string().contains("$0.00 reserved") =>
            {
                Err(body.to_string())
            }
            answer => Ok(answer),
        }
    })
    .await
}
