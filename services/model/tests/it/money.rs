//! What replies cost, and what is told of every call.

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use muster_contracts::gateway::v1::{LlmRequest, LlmResponse, RateLimitExceeded, RateLimitWarning};
use muster_testkit::Answer;

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
