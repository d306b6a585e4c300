//! A thousand calls of every kind at once: what is charged is what was delivered.
#![expect(clippy::indexing_slicing, reason = "test helpers")]

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use futures::future::join_all;
use futures::{FutureExt as _, StreamExt as _, stream};
use muster_bus::After;
use muster_contracts::gateway::v1::LlmResponse;
use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse, SessionAbandoned, Token};
use muster_contracts::model::v1::{ModelDefinition, ModelTarget, PutModelRequest};
use muster_contracts::{Code, Fault, Stream};
use muster_testkit::{Answer, Breakage, eventually};
use muster_text::tokens::count;
use serde_json::{Value, json};

use crate::guarded::{DEADLINE, Guarded, budget, small};
use crate::user;

const CALLS: usize = 1_000;
/// Less than all of them cost.
const BUDGET: u64 = 17_000_000;
const PRICES: &str = "prices: [{model: scripted, input: 1, output: 2}]";
/// What becomes of the calls, in turns.
const KINDS: [&str; 6] = ["whole", "streamed", "abandoned", "refused", "again", "asked-again"];

/// A provider that knows what it delivered.
#[derive(Clone, Default)]
struct Provider(Arc<Mutex<Delivered>>);

#[derive(Default)]
struct Delivered {
    cost: u64,
    calls: usize,
    /// What was asked before, and broke off.
    begun: HashSet<String>,
}

impl Provider {
    async fn start(&self) -> (String, tokio::task::JoinHandle<()>) {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("http://{}/v1", listener.local_addr().unwrap());
        let router = Router::new().route("/v1/chat/completions", post(answer));
        let router = router.with_state(self.clone());
        (address, tokio::spawn(async move { drop(axum::serve(listener, router).await) }))
    }

    fn delivered(&self) -> (u64, usize) {
        let delivered = self.0.lock().unwrap();
        (delivered.cost, delivered.calls)
    }

    /// A call with this prompt, and whether it is the first.
    fn called(&self, prompt: &str) -> bool {
        let mut delivered = self.0.lock().unwrap();
        delivered.calls += 1;
        delivered.begun.insert(prompt.to_owned())
    }

    fn delivers(&self, prompt: &str, output: usize) -> u64 {
        let input = 6 + count("user") + count(prompt);
        self.0.lock().unwrap().cost += (input * 1_000 + output * 2_000) as u64;
        input as u64
    }
}

async fn answer(State(provider): State<Provider>, Json(body): Json<Value>) -> Response {
    let prompt = body["messages"][0]["content"].as_str().unwrap().to_owned();
    let is_first = provider.called(&prompt);
    let kind = prompt.split(' ').next().unwrap();
    match kind {
        "refused" => (StatusCode::BAD_REQUEST, "no").into_response(),
        "abandoned" => {
            provider.delivers(&prompt, count("boat boat boat"));
            sent(words(3), true)
        }
        "again" if is_first => {
            provider.delivers(&prompt, count("boat boat"));
            sent(words(2), false)
        }
        "asked-again" if is_first => {
            // Three are for every call, as our own estimate has it, and one is for the name.
            provider.delivers(&prompt, 3 + count("look") + count("{"));
            let function = json!({ "name": "look", "arguments": "{" });
            sent(
                vec![delta(
                    json!({ "tool_calls": [{ "index": 0, "id": "c", "function": function }] }),
                )],
                false,
            )
        }
        _ => {
            let input = provider.delivers(&prompt, 5);
            let mut events = words(5);
            events
                .push(json!({ "choices": [{ "delta": {}, "finish_reason": "stop" }] }).to_string());
            let usage = json!({ "prompt_tokens": input, "completion_tokens": 5 });
            events.push(json!({ "choices": [], "usage": usage }).to_string());
            events.push("[DONE]".to_owned());
            sent(events, false)
        }
    }
}

fn delta(delta: Value) -> String {
    json!({ "choices": [{ "delta": delta }] }).to_string()
}

fn words(count: usize) -> Vec<String> {
    let word = |at| if at == 0 { "boat" } else { " boat" };
    (0..count).map(|at| delta(json!({ "content": word(at) }))).collect()
}

/// A stream of these events; one that is open never ends.
fn sent(events: Vec<String>, is_open: bool) -> Response {
    let events = events.into_iter().map(|event| Ok::<_, Infallible>(format!("data: {event}\n\n")));
    let rest = match is_open {
        true => stream::pending().boxed(),
        false => stream::empty().boxed(),
    };
    let body = Body::from_stream(stream::iter(events).chain(rest));
    ([(CONTENT_TYPE, "text/event-stream")], body).into_response()
}

fn call(at: usize) -> CompleteRequest {
    let kind = KINDS[at % KINDS.len()];
    let session = match kind {
        "streamed" | "abandoned" => format!("{kind}-{at}"),
        _ => String::new(),
    };
    CompleteRequest {
        provider: "default".into(),
        model: if kind == "again" { "again" } else { "scripted" }.into(),
        messages: vec![user(&format!("{kind} {at}"))],
        session,
        // Half of them as the gateway asks, without a record.
        unrecorded: (at / KINDS.len()).is_multiple_of(2),
        ..small("acme", &format!("k{at}"))
    }
}

/// Asks, and asks again with the same key where the stream broke off.
async fn ask(world: &Guarded, at: usize) -> Result<CompleteResponse, Fault> {
    let (request, within) = (call(at), Duration::from_secs(300));
    let answer = world.agent.request_within(&request, within).await;
    match answer {
        Err(fault) if fault.code == Code::Unavailable => {
            assert!(request.messages[0].content.starts_with("asked-again"), "{fault}");
            world.agent.request_within(&request, within).await
        }
        answer => answer,
    }
}

/// Hangs up as soon as three words of a stream have come.
async fn hang_up(world: &Guarded) {
    let pattern = vec!["llm.stream.*".to_owned()];
    let mut tokens = Box::pin(world.gateway.follow(Stream::LlmStreams, pattern, After(0)));
    let mut heard: HashMap<String, usize> = HashMap::new();
    // A replica that has not begun to listen hears it the next time.
    let mut again = tokio::time::interval(Duration::from_millis(500));
    loop {
        tokio::select! {
            Some(token) = tokens.next() => {
                let token: Token = token.decode().unwrap();
                if token.session.starts_with("abandoned") {
                    let words = heard.entry(token.session.clone()).or_default();
                    *words += 1;
                    if *words == 3 {
                        world.gateway.emit(&SessionAbandoned { session: token.session }).await.unwrap();
                    }
                }
            }
            _ = again.tick() => for (session, _) in heard.iter().filter(|(_, words)| **words >= 3) {
                world.gateway.emit(&SessionAbandoned { session: session.clone() }).await.unwrap();
            },
        }
    }
}

/// Looks at the account for ever: the budget holds at every moment.
async fn watch(world: &Guarded) {
    let mut pause = tokio::time::interval(Duration::from_millis(20));
    loop {
        pause.tick().await;
        let spending = world.spending("tenant", "acme").await;
        let taken = spending.spent_nanos + spending.reserved_nanos;
        assert!(taken <= BUDGET, "{spending:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_streamed_cancelled_failing_and_retried_calls_are_charged_what_was_delivered() {
    let (world, provider) = (Guarded::start().await, Provider::default());
    let (address, serving) = provider.start().await;
    world.price(PRICES);
    // Leases are long here: a machine that is busy must not look like one that is gone.
    let settings = [("OPENAI_BASE_URL", address.as_str()), ("MUSTER_RESERVATION_SECONDS", "600")];
    let _first = world.serve(&settings).await;
    let target = ModelTarget { provider: "openai".into(), ..Default::default() };
    let again = ModelDefinition {
        name: "again".into(),
        targets: vec![target],
        retries: Some(1),
        ..Default::default()
    };
    let put = PutModelRequest { definition: Some(again) };
    world.gateway.request_within(&put, DEADLINE).await.unwrap();
    world.allow(budget("acme", BUDGET)).await;
    let _second = world.serve(&settings).await;
    let asked = join_all((0..CALLS).map(|at| ask(&world, at)));
    let answers = tokio::select! {
        answers = asked => answers,
        () = hang_up(&world) => Vec::new(),
        () = watch(&world) => Vec::new(),
    };
    let mut ends: HashMap<(&str, Option<Code>), usize> = HashMap::new();
    for (at, answer) in answers.iter().enumerate() {
        let end = answer.as_ref().err().map(|fault| fault.code);
        *ends.entry((KINDS[at % KINDS.len()], end)).or_default() += 1;
    }
    let known = |kind: &str, code: Option<Code>| match (kind, code) {
        (_, Some(Code::Exhausted)) => true,
        ("abandoned", code) => code == Some(Code::Conflict),
        ("refused", code) => code == Some(Code::Invalid),
        (_, code) => code.is_none(),
    };
    assert!(ends.keys().all(|(kind, code)| known(kind, *code)), "{ends:?}");
    let refused = |(end, count): (&(&str, Option<Code>), &usize)| match end.1 {
        Some(Code::Exhausted) => *count,
        _ => 0,
    };
    let refused: usize = ends.iter().map(refused).sum();
    assert!((1..CALLS).contains(&refused), "{ends:?}");
    let (cost, calls) = provider.delivered();
    assert!(cost > BUDGET / 2 && cost <= BUDGET, "{cost}");
    world.spends("acme", cost).await;
    let told = world.told("gateway.llm.response", calls).await;
    let told = told.iter().map(|one| one.decode::<LlmResponse>().unwrap().cost_nanos);
    assert_eq!(told.sum::<u64>(), cost);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_streams_run_at_once_on_one_replica_and_what_finds_no_place_is_told_so() {
    let world = Guarded::start().await;
    let first = world.serve(&[]).await;
    world.model.respond_with(|_| Answer::text("one two").break_after(2, Breakage::Silence));
    let ask = |at: usize| {
        let request = CompleteRequest { session: format!("s{at}"), ..small("", &format!("k{at}")) };
        let agent = world.agent.clone();
        async move { agent.request_within(&request, Duration::from_secs(300)).await }
    };
    let mut open = tokio::task::JoinSet::new();
    for at in 0..CALLS {
        open.spawn(ask(at).map(drop));
    }
    eventually(Duration::from_secs(120), "every stream is open", || {
        std::future::ready(world.model.requests().len() == CALLS)
    })
    .await;
    open.abort_all();
    first.crash();
    let settings = [("MUSTER_MODEL_CONCURRENCY", "1"), ("MUSTER_MODEL_QUEUE_SECONDS", "0")];
    let second = world.serve(&settings).await;
    let asked = world.model.requests().len();
    let one = tokio::spawn(ask(CALLS));
    eventually(DEADLINE, "the only place is taken", || {
        std::future::ready(world.model.requests().len() > asked)
    })
    .await;
    let fault = ask(CALLS + 1).await.unwrap_err();
    assert_eq!((fault.code, fault.retry_after_ms), (Code::Exhausted, Some(1_000)), "{fault}");
    assert!(fault.message.contains("MUSTER_MODEL_CONCURRENCY"), "{fault}");
    one.abort();
    second.crash();
}
