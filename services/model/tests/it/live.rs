//! The same list against real providers, where their keys are there: `make test-live`.
#![expect(clippy::print_stderr, reason = "who runs it reads which providers were asked")]

use muster_contracts::Code;
use muster_contracts::llm::v1::CompleteRequest;
use muster_runtime::Env;
use muster_testkit::NatsServer;

use crate::conformance::list;
use crate::{ask, connect, request, serve_with};

/// Provider, the variable that turns it on, and its other ones.
const PROVIDERS: [(&str, &str, [&str; 2]); 4] = [
    ("openai", "OPENAI_API_KEY", ["OPENAI_BASE_URL", "MUSTER_OPENAI_MODEL"]),
    ("anthropic", "ANTHROPIC_API_KEY", ["ANTHROPIC_BASE_URL", "MUSTER_ANTHROPIC_MODEL"]),
    ("gemini", "GEMINI_API_KEY", ["GEMINI_BASE_URL", "MUSTER_GEMINI_MODEL"]),
    ("ollama", "OLLAMA_HOST", ["OLLAMA_API_KEY", "MUSTER_OLLAMA_MODEL"]),
];

/// The environment of who wants real providers to be asked, which costs money.
fn asked_for() -> Option<Env> {
    let env = Env::of_process();
    let wanted = env.get("MUSTER_LIVE").is_some_and(|value| value == "1");
    if !wanted {
        eprintln!("real providers are not asked: make test-live does");
    }
    wanted.then_some(env)
}

#[tokio::test]
async fn real_providers_do_what_a_provider_must() {
    let Some(env) = asked_for() else { return };
    let mut flaws = Vec::new();
    for (provider, turns_on, others) in PROVIDERS {
        let Some(value) = env.get(turns_on).filter(|value| !value.is_empty()) else {
            eprintln!("{provider}: skipped, as {turns_on} is not set");
            continue;
        };
        let more = others.iter().filter_map(|name| Some((*name, env.get(name)?)));
        let settings: Vec<(&str, &str)> = more.chain([(turns_on, value)]).collect();
        let nats = NatsServer::start().await;
        let _service = serve_with(&nats, &settings);
        let bus = connect(&nats).await;
        for check in list() {
            let request = CompleteRequest {
                provider: provider.into(),
                idempotency_key: check.name.into(),
                ..check.request
            };
            let flaw = match ask(&bus, &request).await {
                Ok(reply) => (check.flaw)(&reply),
                Err(fault) => Some(fault.to_string()),
            };
            eprintln!("{provider}: {}: {}", check.name, flaw.as_deref().unwrap_or("as it must"));
            flaws.extend(flaw.map(|flaw| format!("{provider}: {}: {flaw}", check.name)));
        }
    }
    assert!(flaws.is_empty(), "{flaws:#?}");
}

#[tokio::test]
async fn real_providers_refuse_a_wrong_key_and_it_is_not_told() {
    let Some(env) = asked_for() else { return };
    for (provider, turns_on, _) in PROVIDERS {
        if provider == "ollama" || env.get(turns_on).is_none_or(str::is_empty) {
            eprintln!("{provider}: skipped, as {turns_on} is not set, or it takes any key");
            continue;
        }
        let nats = NatsServer::start().await;
        let _service = serve_with(&nats, &[(turns_on, "sk-hush-hush-hush")]);
        let bus = connect(&nats).await;
        let asked = CompleteRequest { provider: provider.into(), ..request("k1") };
        let fault = ask(&bus, &asked).await.unwrap_err();
        assert_eq!(fault.code, Code::Denied, "{provider}: {fault}");
        assert!(!fault.message.contains("hush"), "{provider}: {fault}");
    }
}
