//! Replies that were given before.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt;
use muster_bus::{After, MessageId};
use muster_contracts::cache::v1::{CacheHit, CacheInvalidated, GatewayCacheInvalidate};
use muster_contracts::gateway::v1::TokensSaved;
use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse};
use muster_contracts::model::v1::{
    Allowance, CachePolicy, DeleteModelRequest, ModelDefinition, ModelDefinitionChanged,
    ModelTarget, PutModelRequest,
};
use muster_contracts::{Code, Stream};
use muster_testkit::{Answer, eventually};

use crate::guarded::{COST, DEADLINE, Guarded, budget, small};
use crate::{tool, user};

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
    let keys = AtomicUsize::new(1);
    let next = || format!("k{}", keys.fetch_add(1, Ordering::Relaxed));
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

const QUESTION: &str = "Which ships lie in the northern harbour of Lisbon tonight?";
/// The same question in other words, each of which is another request.
const WORDS: [&str; 8] =
    ["please", "friend", "kindly", "sailor", "quickly", "again", "captain", "sir"];

/// A question under a name for models that is cached by nearness.
fn near(tenant: &str, key: &str, content: &str) -> CompleteRequest {
    CompleteRequest { model: "near".into(), messages: vec![user(content)], ..small(tenant, key) }
}

/// A name for models with a cache of its own.
fn named(name: &str, cache: CachePolicy) -> PutModelRequest {
    let target = ModelTarget { provider: "openai".into(), ..Default::default() };
    let definition = ModelDefinition {
        name: name.into(),
        targets: vec![target],
        cache: Some(cache),
        ..Default::default()
    };
    PutModelRequest { definition: Some(definition) }
}

/// Asks in ever other words until the cache answers.
async fn until_near(world: &Guarded, tenant: &str, key: &str) -> CompleteResponse {
    let tries = AtomicUsize::new(0);
    let found = std::sync::Mutex::new(None);
    eventually(DEADLINE, "a question in other words is answered from the cache", || async {
        let number = tries.fetch_add(1, Ordering::Relaxed);
        let word = |at: usize| WORDS.iter().cycle().nth(at % WORDS.len()).unwrap();
        let (first, second) = (word(number), word(number / WORDS.len()));
        let said =
            format!("Which ships lie tonight in the northern harbour of Lisbon, {first} {second}?");
        let asked = near(tenant, &format!("{key}{number}"), &said);
        // While nobody serves.
        let Ok(reply) = world.agent.request_within(&asked, DEADLINE).await else { return false };
        // Its own words, asked before, would be the same request.
        let is_near = reply.cached && reply.similarity < 1.0;
        *found.lock().unwrap() = Some(reply);
        is_near
    })
    .await;
    found.into_inner().unwrap().unwrap()
}

#[tokio::test]
async fn a_question_in_other_words_is_answered_from_the_cache_of_its_tenant_alone() {
    let world = Guarded::start().await;
    let first = world.serve(&[]).await;
    world.model.respond_with(|_| Answer::text("Two boats.").usage(3, 5));
    let cache = CachePolicy {
        ttl_seconds: 600,
        similarity: 0.75,
        embedding_model: "offline/hashing-256".into(),
    };
    world.gateway.request_within(&named("near", cache.clone()), DEADLINE).await.unwrap();
    let wrong = named("wrong", CachePolicy { similarity: 0.2, ..cache });
    let fault = world.gateway.request_within(&wrong, DEADLINE).await.unwrap_err();
    assert!(fault.message.contains("cache.similarity is 0.2"), "{fault}");
    let ask = async |request: CompleteRequest| {
        world.agent.request_within(&request, DEADLINE).await.unwrap()
    };
    assert!(!ask(near("acme", "k0", QUESTION)).await.cached);
    let reply = until_near(&world, "acme", "a").await;
    assert_eq!((reply.cost_nanos, reply.message.unwrap().content.as_str()), (0, "Two boats."));
    assert!((0.75..1.0).contains(&reply.similarity), "{}", reply.similarity);
    // What says something else, or may not be answered so, is asked anew.
    let asked = world.model.requests().len();
    assert!(
        !ask(near("other", "k1", "Which ships lie tonight in the harbour of Lisbon?")).await.cached
    );
    assert!(
        !ask(near("acme", "k2", "Which wines grow on the southern hills of Tuscany?")).await.cached
    );
    assert!(!ask(near("acme", "k3", &format!("{QUESTION} In 1914?"))).await.cached);
    assert!(!ask(near("acme", "k4", &QUESTION.replace("lie", "do not lie"))).await.cached);
    let tools = CompleteRequest {
        tools: vec![tool("look")],
        ..near("acme", "k5", &QUESTION.replace("Which", "What"))
    };
    assert!(!ask(tools).await.cached);
    assert_eq!(world.model.requests().len(), asked + 5);
    // Another replica knows the questions that were asked before it began.
    assert!(first.stop().await, "it ends well");
    let second = world.serve(&[]).await;
    let reply = until_near(&world, "acme", "b").await;
    assert!(reply.cached);
    let hit = CacheHit { similarity: 1.0, ..world.told("cache.hit", 1).await[0].decode().unwrap() };
    assert!(hit.key.starts_with("acme.default.near."), "{hit:?}");
    let command = GatewayCacheInvalidate { pattern: "acme.*".into(), ..Default::default() };
    world.agent.publish(&command, &MessageId::random()).await.unwrap();
    world.told("cache.invalidated", 1).await;
    assert!(!ask(near("acme", "k6", &QUESTION.replace("Which", "What"))).await.cached);
    assert!(second.stop().await, "it ends well");
}

#[tokio::test]
async fn a_request_that_is_refused_has_no_vector_and_one_that_has_is_one_request() {
    /// Of a token of a question: its vector has a price.
    const TOKEN: u64 = 1_000;
    let world = Guarded::start().await;
    world.price(
        "prices: [{model: scripted, input: 0, output: 2}, {model: vectors, input: 1, output: 0}]",
    );
    let _service = world.serve(&[]).await;
    world.model.respond_with(|_| Answer::text("Two boats.").usage(3, 5));
    let cache = CachePolicy {
        ttl_seconds: 600,
        similarity: 0.75,
        embedding_model: "openai/vectors".into(),
    };
    world.gateway.request_within(&named("near", cache), DEADLINE).await.unwrap();
    let vectors = || {
        let asked = world.model.requests();
        asked.iter().filter(|asked| asked.path == "/v1/embeddings").count()
    };
    let words = QUESTION.split_whitespace().count() as u64;
    // Enough for the reply or for the vector, and not for both.
    world.allow(budget("poor", COST + 5 * TOKEN)).await;
    let fault =
        world.agent.request_within(&near("poor", "k0", QUESTION), DEADLINE).await.unwrap_err();
    assert_eq!((fault.code, vectors()), (Code::Exhausted, 0), "{fault}");
    world.spends("poor", 0).await;
    world.allow(Allowance { requests_per_minute: 1, ..budget("acme", 3 * COST) }).await;
    let ask =
        async |key: &str| world.agent.request_within(&near("acme", key, QUESTION), DEADLINE).await;
    let reply = ask("k1").await.unwrap();
    assert_eq!((reply.cost_nanos, vectors()), (COST + words * TOKEN, 1));
    world.spends("acme", COST + words * TOKEN).await;
    let other = near("acme", "k2", "Which wines grow on the southern hills of Tuscany?");
    let fault = world.agent.request_within(&other, DEADLINE).await.unwrap_err();
    assert_eq!((fault.code, vectors()), (Code::Exhausted, 1), "{fault}");
    world.spends("acme", COST + words * TOKEN).await;
}

#[tokio::test]
async fn a_name_for_models_says_whether_its_replies_are_cached() {
    let world = Guarded::start().await;
    let _service = world.serve(&[("MUSTER_RESPONSE_CACHE_SECONDS", "600")]).await;
    world.model.respond_with(|_| Answer::text("x").usage(3, 5));
    world.gateway.request_within(&named("never", CachePolicy::default()), DEADLINE).await.unwrap();
    let keys = AtomicUsize::new(0);
    let ask = async |model: &str| {
        let key = keys.fetch_add(1, Ordering::Relaxed).to_string();
        let request = CompleteRequest { model: model.into(), ..small("acme", &key) };
        world.agent.request_within(&request, DEADLINE).await.unwrap().cached
    };
    eventually(DEADLINE, "the settings hold where a name says nothing", || ask("scripted")).await;
    assert!(!ask("never").await && !ask("never").await);
    // A name is removed once, and an event tells of it.
    let delete = DeleteModelRequest { name: "never".into() };
    let removed = world.gateway.request_within(&delete, DEADLINE).await.unwrap();
    assert_eq!((removed.name.as_str(), removed.digest.len()), ("never", 64));
    let fault = world.gateway.request_within(&delete, DEADLINE).await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    let told = Box::pin(world.operator().await.follow(
        Stream::Executions,
        vec!["model.definition.changed".to_owned()],
        After(0),
    ));
    let told: Vec<_> = tokio::time::timeout(DEADLINE, told.take(2).collect()).await.unwrap();
    let changes = told.iter().map(|one| one.decode::<ModelDefinitionChanged>().unwrap());
    let digests: Vec<String> = changes.map(|change| change.digest).collect();
    assert_eq!(digests, [removed.digest, String::new()]);
}
