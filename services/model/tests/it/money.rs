//! What replies cost, and what is told of every call.

use std::future::ready;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use futures::StreamExt;
use muster_bus::After;
use muster_contracts::Stream;
use muster_contracts::gateway::v1::{LlmRequest, LlmResponse, RateLimitExceeded, RateLimitWarning};
use muster_contracts::llm::v1::CompleteRequest;
use muster_testkit::{Answer, Breakage};
use muster_text::tokens::count;
use serde_json::json;

use crate::guarded::{COST, DEADLINE, Guarded, small};

#[tokio::test]
async fn a_reply_has_its_cost_and_every_call_of_a_provider_is_told() {
    let world = Guarded::start().await;
    let _service = world.serve(&[]).await;
    world.model.push(Answer::text("five small tokens").usage(9, 5));
    let reply = world.agent.request_within(&small("acme", "k1"), DEADLINE).await.unwrap();
    assert_eq!(reply.cost_nanos, COST);
    let again = world.agent.request_within(&small("acme", "k1"), DEADLINE).await.unwrap();
    assert_eq!((again.cost_nanos, again.replayed), (COST, true));
    world.model.push(Answer::too_many_requests(7));
    world.agent.request_within(&small("acme", "k2"), DEADLINE).await.unwrap_err();
    world.model.push(Answer::text("one two three four five six").cut_after(4));
    world.agent.request_within(&small("acme", "k3"), DEADLINE).await.unwrap_err();
    let asked = world.told("gateway.llm.request", 3).await;
    let asked: Vec<LlmRequest> = asked.iter().map(|told| told.decode().unwrap()).collect();
    assert!(asked.iter().all(|told| told.provider == "openai" && told.model == "scripted"));
    let told = world.told("gateway.llm.response", 3).await;
    let told: Vec<LlmResponse> = told.iter().map(|told| told.decode().unwrap()).collect();
    let of = |key: &str| told.iter().find(|told| told.request_id == key).unwrap();
    let paid = of("k1");
    assert_eq!((paid.status.as_str(), paid.cost_nanos, paid.estimated), ("ok", COST, false));
    assert_eq!((paid.input_tokens, paid.output_tokens, paid.tokens_used), (9, 5, 14));
    assert!((paid.cost - 0.000_01).abs() < 1e-12 && paid.latency > 0.0, "{paid:?}");
    assert_eq!((paid.tenant.as_str(), paid.execution_id.as_str()), ("acme", "e1"));
    let refused = of("k2");
    assert_eq!((refused.status.as_str(), refused.tokens_used), ("EXHAUSTED", 0));
    let limits = world.told("gateway.rate_limit.exceeded", 1).await;
    let limit: RateLimitExceeded = limits[0].decode().unwrap();
    assert_eq!((limit.provider.as_str(), limit.retry_after), ("openai", 7.0));
    assert!(limit.owner.is_empty(), "it is the provider's own: {limit:?}");
    // What came of a reply that broke off was paid for.
    let cut = of("k3");
    assert_eq!((cut.status.as_str(), cut.estimated), ("UNAVAILABLE", true));
    assert!(cut.output_tokens > 0 && cut.cost_nanos > 0, "{cut:?}");
}

/// What a token of the prompt costs, and one of the reply, in the tests of what is cut.
const PRICES: &str = "prices: [{model: scripted, input: 1, output: 2}]";

#[tokio::test]
async fn whatever_came_of_a_reply_that_broke_off_is_charged() {
    let world = Guarded::start().await;
    world.price(PRICES);
    let _service = world.serve(&[]).await;
    let arguments = json!({ "where": "the northern harbour of Lisbon", "when": "tonight" });
    let text = arguments.to_string();
    let first: String = text.chars().take(3 * 8).collect();
    let call = || Answer::tool_call("look_around", arguments.clone()).usage(9, 70);
    let thinks = "the boats lie in the harbour at night ";
    // The role, and the name of the call, are chunks of their own.
    for (key, answer, output, thought) in [
        ("call", call().break_after(5, Breakage::End), 3 + count("look_around") + count(&first), 0),
        ("name", call().break_after(2, Breakage::End), 3 + count("look_around"), 0),
        (
            "thought",
            Answer::text("x").reasoning(thinks).break_after(5, Breakage::End),
            count("the boats lie in "),
            count("the boats lie in "),
        ),
        ("begun", Answer::text("x").break_after(1, Breakage::End), 0, 0),
    ] {
        world.model.push(answer);
        let request = CompleteRequest { params: None, ..small("", key) };
        world.agent.request_within(&request, DEADLINE).await.unwrap_err();
        let cut = world.response(key).await;
        assert_eq!((cut.status.as_str(), cut.estimated), ("UNAVAILABLE", true), "{cut:?}");
        assert_eq!((cut.output_tokens as usize, cut.reasoning_tokens as usize), (output, thought));
        let input = u64::from(cut.input_tokens);
        assert!(input > 5, "the prompt is charged: {cut:?}");
        assert_eq!(cut.cost_nanos, input * 1_000 + output as u64 * 2_000, "{cut:?}");
    }
}

#[tokio::test]
async fn the_usage_that_a_provider_told_before_its_stream_broke_off_is_charged() {
    let world = Guarded::start().await;
    world.price(PRICES);
    let root = world.model.root_url();
    let settings = [
        ("ANTHROPIC_BASE_URL", root),
        ("ANTHROPIC_API_KEY", "x"),
        ("MUSTER_ANTHROPIC_MODEL", "scripted"),
    ];
    let _service = world.serve(&settings).await;
    // All but the end: the usage comes right before it.
    world
        .model
        .push(Answer::text("a b").usage(9, 70).break_after(5, Breakage::Garbage("{".into())));
    let request = CompleteRequest { params: None, ..small("", "whole") };
    world.agent.request_within(&request, DEADLINE).await.unwrap_err();
    let cut = world.response("whole").await;
    assert_eq!((cut.input_tokens, cut.output_tokens, cut.estimated), (9, 70, false), "{cut:?}");
    // Anthropic tells at the beginning what came in.
    world
        .model
        .push(Answer::text("one two three four").usage(900, 70).break_after(5, Breakage::End));
    let request = CompleteRequest {
        provider: "anthropic".into(),
        ..CompleteRequest { params: None, ..small("", "begun") }
    };
    world.agent.request_within(&request, DEADLINE).await.unwrap_err();
    let cut = world.response("begun").await;
    assert_eq!((cut.input_tokens, cut.estimated), (900, true), "{cut:?}");
    assert_eq!(cut.output_tokens as usize, count("one two "), "{cut:?}");
}

impl Guarded {
    /// What was told of the only call for the request with this key.
    async fn response(&self, key: &str) -> LlmResponse {
        let operator = self.operator().await;
        let pattern = vec!["gateway.llm.response".to_owned()];
        let told = operator.follow(Stream::Telemetry, pattern, After(0));
        let told = told.map(|one| one.decode::<LlmResponse>().unwrap());
        let mut found = std::pin::pin!(told.filter(|told| ready(told.request_id == key)));
        tokio::time::timeout(DEADLINE, found.next()).await.unwrap().unwrap()
    }
}

/// An answer whose headers say that one request is left of fifty.
async fn nearly_out() -> ([(axum::http::HeaderName, &'static str); 3], &'static str) {
    let name = axum::http::HeaderName::from_static;
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (name("x-ratelimit-limit-requests"), "50"),
        (name("x-ratelimit-remaining-requests"), "1"),
    ];
    (
        headers,
        "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n",
    )
}

#[tokio::test]
async fn a_provider_that_has_little_left_is_told() {
    let world = Guarded::start().await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = format!("http://{}/v1", listener.local_addr().unwrap());
    let router = Router::new().route("/v1/chat/completions", post(nearly_out));
    let serving = tokio::spawn(async move { axum::serve(listener, router).await });
    let _service = world.serve(&[("OPENAI_BASE_URL", &address)]).await;
    world.agent.request_within(&small("", "k1"), DEADLINE).await.unwrap();
    let told = world.told("gateway.rate_limit.warning", 1).await;
    let warning: RateLimitWarning = told[0].decode().unwrap();
    assert_eq!((warning.provider.as_str(), warning.remaining_requests), ("openai", 1));
    serving.abort();
}
