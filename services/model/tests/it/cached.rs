//! Replies that were given before.

use muster_bus::MessageId;
use muster_contracts::cache::v1::{CacheInvalidated, GatewayCacheInvalidate};
use muster_contracts::gateway::v1::TokensSaved;
use muster_contracts::llm::v1::CompleteRequest;
use muster_testkit::{Answer, eventually};

use crate::guarded::{COST, DEADLINE, Guarded, small};

#[tokio::test]
async fn the_same_request_of_a_tenant_is_answered_from_the_cache_until_that_is_cleared() {
    let world = Guarded::start().await;
    let _service = world.serve(&[("MUSTER_RESPONSE_CACHE_SECONDS", "600")]).await;
    world.model.respond_with(|_| Answer::text("x").usage(3, 5));
    let ask = async |request: CompleteRequest| {
        world.agent.request_within(&request, DEADLINE).await.unwrap()
    };
    let first = ask(small("acme", "k0")).await;
    assert_eq!((first.cached, first.cost_nanos), (false, COST));
    let keys = std::sync::atomic::AtomicUsize::new(1);
    let next = || format!("k{}", keys.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
    // The reply is kept beside the answer.
    eventually(DEADLINE, "the cache answers", || async {
        let reply = ask(small("acme", &next())).await;
        assert_eq!(reply.cost_nanos, if reply.cached { 0 } else { COST });
        reply.cached && reply.message == first.message
    })
    .await;
    let asked = world.model.requests().len();
    assert!(!ask(small("other", "o")).await.cached);
    let anew = CompleteRequest { no_cache: true, ..small("acme", "n") };
    assert!(!ask(anew).await.cached);
    assert_eq!(world.model.requests().len(), asked + 2);
    let saved: TokensSaved = world.told("gateway.tokens.saved", 1).await[0].decode().unwrap();
    assert_eq!((saved.by.as_str(), saved.tokens, saved.tenant.as_str()), ("cache", 8, "acme"));
    assert_eq!(world.told("cache.hit", 1).await.len(), 1);
    assert_eq!(world.told("cache.miss", 1).await.len(), 1);
    let command = GatewayCacheInvalidate {
        pattern: "acme.default.*".into(),
        reason: "a test".into(),
        ..Default::default()
    };
    world.agent.publish(&command, &MessageId::random()).await.unwrap();
    let cleared: CacheInvalidated = world.told("cache.invalidated", 1).await[0].decode().unwrap();
    assert_eq!(cleared.pattern, "acme.default.*");
    assert!(!ask(small("acme", &next())).await.cached);
}
