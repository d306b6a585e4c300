//! A reply is paid, whatever its provider says of its usage: it is kept, and what cannot be read of its usage is counted.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use muster_bus::{After, Bus};
use muster_contracts::gateway::v1::LlmResponse;
use muster_contracts::llm::v1::{CompleteRequest, EmbedRequest, Token, TokenUsage};
use muster_contracts::{Stream, subject};
use muster_text::tokens::count;
use serde_json::{Map, Value, json};

use crate::guarded::{DEADLINE, Guarded};
use crate::request;

const TEXT: &str = "the boats lie in the harbour at night";
/// A token of the prompt costs 1,000 billionths of a dollar, one of the reply 2,000.
const PRICES: &str = "prices: [{model: scripted, input: 1, output: 2}]";
/// Each dialect, with its name for what came in and what went out.
const DIALECTS: [(&str, &str, &str); 4] = [
    ("openai", "prompt_tokens", "completion_tokens"),
    ("anthropic", "input_tokens", "output_tokens"),
    ("gemini", "promptTokenCount", "candidatesTokenCount"),
    ("ollama", "prompt_eval_count", "eval_count"),
];

/// Before what stands in a reply as it is, without quotes.
const BARE: &str = "bare:";

/// JSON that may be none.
fn json_of(value: &Value) -> String {
    let (text, bare) = (value.to_string(), format!("\"{BARE}"));
    let mut pieces = text.split(&bare);
    let first = pieces.next().unwrap().to_owned();
    pieces.fold(first, |text, piece| text + &piece.replacen('"', "", 1))
}

/// What a server says of the usage of each of its replies; null: nothing.
type Usage = Arc<Mutex<Value>>;

/// Providers of every dialect, whose usage the test says.
struct Odd {
    root: String,
    usage: Usage,
    serving: tokio::task::JoinHandle<()>,
}

impl Odd {
    async fn start() -> Self {
        let usage = Usage::default();
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let root = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new()
            .route("/v1/chat/completions", post(openai))
            .route("/v1/messages", post(anthropic))
            .route("/v1beta/{*path}", post(gemini))
            .route("/api/chat", post(ollama))
            .route("/v1/embeddings", post(vectors))
            .with_state(usage.clone());
        let serving = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Self { root, usage, serving }
    }

    fn says(&self, usage: Value) {
        *self.usage.lock().unwrap() = usage;
    }
}

impl Drop for Odd {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn with(mut event: Value, field: &str, usage: &Usage) -> Value {
    let usage = usage.lock().unwrap().clone();
    if !usage.is_null() {
        event.as_object_mut().unwrap().insert(field.to_owned(), usage);
    }
    event
}

fn events(events: &[Value]) -> impl IntoResponse + use<> {
    let body: String = events.iter().map(|event| format!("data: {}\n\n", json_of(event))).collect();
    ([(CONTENT_TYPE, "text/event-stream")], body)
}

async fn openai(State(usage): State<Usage>) -> impl IntoResponse {
    events(&[
        json!({ "model": "scripted", "choices": [{ "delta": { "content": TEXT } }] }),
        with(json!({ "choices": [{ "delta": {}, "finish_reason": "stop" }] }), "usage", &usage),
    ])
}

async fn anthropic(State(usage): State<Usage>) -> impl IntoResponse {
    let message = with(json!({ "model": "scripted" }), "usage", &usage);
    let end = json!({ "type": "message_delta", "delta": { "stop_reason": "end_turn" } });
    events(&[
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": { "type": "text", "text": "" } }),
        json!({ "type": "content_block_delta", "index": 0, "delta": { "type": "text_delta", "text": TEXT } }),
        with(end, "usage", &usage),
        json!({ "type": "message_stop" }),
    ])
}

async fn gemini(State(usage): State<Usage>) -> impl IntoResponse {
    let candidate = json!({ "content": { "parts": [{ "text": TEXT }] }, "finishReason": "STOP" });
    let chunk = json!({ "candidates": [candidate], "modelVersion": "scripted" });
    events(&[with(chunk, "usageMetadata", &usage)])
}

async fn ollama(State(usage): State<Usage>) -> impl IntoResponse {
    let mut last = json!({ "model": "scripted", "done": true, "done_reason": "stop" });
    // It has no object for its usage.
    match usage.lock().unwrap().clone() {
        Value::Null => {}
        Value::Object(fields) => last.as_object_mut().unwrap().extend(fields),
        odd => drop(last.as_object_mut().unwrap().insert("prompt_eval_count".into(), odd)),
    }
    let said = json!({ "model": "scripted", "message": { "content": TEXT }, "done": false });
    ([(CONTENT_TYPE, "application/x-ndjson")], format!("{said}\n{}\n", json_of(&last)))
}

async fn vectors(State(usage): State<Usage>) -> impl IntoResponse {
    let answer = json!({ "data": [{ "index": 0, "embedding": [0.5, 0.5] }], "model": "scripted" });
    ([(CONTENT_TYPE, "application/json")], json_of(&with(answer, "usage", &usage)))
}

struct World {
    guarded: Guarded,
    odd: Odd,
    viewer: Bus,
    _service: muster_runtime::testing::Running,
}

impl World {
    async fn start() -> Self {
        let (guarded, odd) = (Guarded::start().await, Odd::start().await);
        guarded.price(PRICES);
        let (v1, v1beta) = (format!("{}/v1", odd.root), format!("{}/v1beta", odd.root));
        let settings = [
            ("OPENAI_BASE_URL", v1.as_str()),
            ("ANTHROPIC_BASE_URL", &odd.root),
            ("MUSTER_ANTHROPIC_MODEL", "scripted"),
            ("GEMINI_BASE_URL", &v1beta),
            ("MUSTER_GEMINI_MODEL", "scripted"),
            ("OLLAMA_HOST", &odd.root),
            ("MUSTER_OLLAMA_MODEL", "scripted"),
        ];
        let service = guarded.serve(&settings).await;
        let viewer = Bus::open(guarded.nats.settings("gateway")).await.unwrap();
        Self { guarded, odd, viewer, _service: service }
    }

    /// The usage of a reply and what it cost, which its text, its tokens and its event must not contradict.
    async fn usage(&self, provider: &str, key: &str) -> (TokenUsage, u64) {
        let request =
            CompleteRequest { provider: provider.into(), session: key.into(), ..request(key) };
        let reply = self.guarded.agent.request_within(&request, DEADLINE).await;
        assert!(reply.is_ok(), "{key}: {reply:?}");
        let reply = reply.unwrap();
        assert_eq!(reply.message.unwrap().content, TEXT, "{key}");
        let usage = reply.usage.unwrap();
        let tokens = self.tokens(key).await;
        let streamed: String = tokens.iter().map(|token| token.delta.as_str()).collect();
        assert_eq!((streamed.as_str(), tokens.last().unwrap().usage), (TEXT, Some(usage)), "{key}");
        (usage, reply.cost_nanos)
    }

    async fn tokens(&self, session: &str) -> Vec<Token> {
        use futures::StreamExt;
        let pattern = subject::address::<Token>(&[("session", session)]).unwrap();
        let mut stream = Box::pin(self.viewer.follow(Stream::LlmStreams, vec![pattern], After(0)));
        let mut tokens = Vec::new();
        while tokens.last().is_none_or(|token: &Token| token.finish_reason.is_empty()) {
            let recorded = tokio::time::timeout(DEADLINE, stream.next()).await.unwrap().unwrap();
            tokens.push(recorded.decode::<Token>().unwrap());
        }
        tokens
    }
}

/// A usage of these two numbers in the words of a dialect; null: it is not told.
fn told(input: (&str, Value), output: (&str, Value)) -> Value {
    let fields = [input, output].into_iter().filter(|(_, value)| !value.is_null());
    Value::Object(fields.map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>())
}

#[tokio::test]
async fn a_reply_whose_usage_is_odd_is_kept_and_what_cannot_be_read_is_counted() {
    let world = World::start().await;
    let said = u32::try_from(count(TEXT)).unwrap();
    let asked = world.usage("openai", "none").await.0.input_tokens;
    assert!(asked > 5, "{asked}");
    for (provider, input, output) in DIALECTS {
        let both = |odd: Value| told((input, odd.clone()), (output, odd));
        let (nine, seven) = (json!(9), json!(7));
        for (name, usage, counts) in [
            ("right", told((input, nine.clone()), (output, seven.clone())), (9, 7, false)),
            ("whole", told((input, json!(9.0)), (output, json!(7.0))), (9, 7, false)),
            ("missing", Value::Null, (asked, said, true)),
            ("empty", json!({}), (asked, said, true)),
            ("array", json!([9, 7]), (asked, said, true)),
            ("text", json!("much"), (asked, said, true)),
            ("number", json!(-7), (asked, said, true)),
            ("nulls", both(Value::Null), (asked, said, true)),
            ("negatives", both(json!(-5)), (asked, said, true)),
            ("texts", both(json!("12")), (asked, said, true)),
            ("large", both(json!(u64::from(u32::MAX) + 1)), (asked, said, true)),
            ("endless", both(json!(1e300)), (asked, said, true)),
            ("parts", both(json!(1.5)), (asked, said, true)),
            ("lists", both(json!([1])), (asked, said, true)),
            ("nan", both(json!("bare:NaN")), (asked, said, true)),
            ("infinity", both(json!("bare:-Infinity")), (asked, said, true)),
            ("beyond", both(json!("bare:1e400")), (asked, said, true)),
            ("nothing", json!("bare:NaN"), (asked, said, true)),
            ("one", told((input, json!("bare:1e400")), (output, json!(7))), (asked, 7, true)),
            ("input", told((input, json!(-9)), (output, seven)), (asked, 7, true)),
            ("output", told((input, nine), (output, json!("x"))), (9, said, true)),
        ] {
            world.odd.says(usage);
            let key = format!("{provider}-{name}");
            let (usage, cost) = world.usage(provider, &key).await;
            let found = (usage.input_tokens, usage.output_tokens, usage.estimated);
            assert_eq!(found, counts, "{key}");
            assert_eq!(cost, u64::from(counts.0) * 1_000 + u64::from(counts.1) * 2_000, "{key}");
        }
    }
    let events = world.guarded.told("gateway.llm.response", 1 + 4 * 21).await;
    let events: Vec<LlmResponse> = events.iter().map(|event| event.decode().unwrap()).collect();
    let estimated = events.iter().filter(|event| event.estimated).count();
    assert_eq!(estimated, 1 + 4 * 19);
    assert!(events.iter().all(|event| event.status == "ok" && event.cost >= 0.0), "{events:?}");
}

#[tokio::test]
async fn the_dearest_usage_that_can_be_read_makes_no_money_overflow() {
    let world = World::start().await;
    for (provider, input, output) in DIALECTS {
        let most = json!(u32::MAX);
        world.odd.says(told((input, most.clone()), (output, most)));
        let (usage, cost) = world.usage(provider, &format!("{provider}-most")).await;
        assert_eq!((usage.input_tokens, usage.output_tokens), (u32::MAX, u32::MAX), "{provider}");
        assert_eq!(cost, u64::from(u32::MAX) * 3_000, "{provider}");
    }
}

#[tokio::test]
async fn vectors_whose_usage_is_odd_are_kept_and_counted() {
    let world = World::start().await;
    let text = "red fish in the harbour";
    for (at, (usage, counts)) in [
        (json!({ "prompt_tokens": 3 }), (3, false)),
        (json!({ "prompt_tokens": -3 }), (count(text), true)),
        (json!({ "prompt_tokens": "bare:1e400" }), (count(text), true)),
        (json!("bare:NaN"), (count(text), true)),
        (json!("much"), (count(text), true)),
        (Value::Null, (count(text), true)),
    ]
    .into_iter()
    .enumerate()
    {
        world.odd.says(usage);
        let request = EmbedRequest {
            provider: "openai".into(),
            model: "scripted".into(),
            inputs: vec![text.into()],
            idempotency_key: format!("v{at}"),
            ..EmbedRequest::default()
        };
        let answer = world.guarded.gateway.request_within(&request, DEADLINE).await.unwrap();
        assert_eq!(answer.vectors[0].values, [0.5, 0.5]);
        let usage = answer.usage.unwrap();
        assert_eq!((usage.input_tokens as usize, usage.estimated), counts, "{at}");
        assert_eq!(answer.cost_nanos, u64::from(usage.input_tokens) * 1_000, "{at}");
    }
}
