//! Every dialect through the service: what it must do, and all that may go wrong, without a key.

use std::time::Duration;

use axum::http::StatusCode;
use futures::future::join_all;
use muster_contracts::Code;
use muster_contracts::llm::v1::CompleteRequest;
use muster_testkit::{Answer, Breakage};
use serde_json::json;

use crate::conformance::list;
use crate::{World, request};

const PROVIDERS: [&str; 4] = ["openai", "anthropic", "gemini", "ollama"];
/// Events of a reply before its second word.
const BEGUN: [usize; 4] = [2, 4, 1, 1];

fn ask(provider: &str, key: &str) -> CompleteRequest {
    CompleteRequest {
        provider: provider.into(),
        idempotency_key: format!("{provider} {key}"),
        session: String::new(),
        ..request("")
    }
}

#[tokio::test]
async fn every_dialect_does_what_a_provider_must() {
    let world = World::start().await;
    for provider in PROVIDERS {
        for (at, check) in list().into_iter().enumerate() {
            // Every second answer comes byte by byte.
            let answer = if at % 2 == 0 { check.answer } else { check.answer.split(1) };
            world.model.push(answer);
            let request = CompleteRequest {
                provider: provider.into(),
                idempotency_key: format!("{provider} {}", check.name),
                ..check.request
            };
            let reply = world.ask(&request).await.unwrap();
            assert_eq!((check.flaw)(&reply), None, "{provider}: {}", check.name);
            assert_eq!((reply.provider.as_str(), reply.replayed), (provider, false));
        }
    }
    assert_eq!(world.model.remaining(), 0);
}

#[tokio::test]
async fn each_dialect_sends_its_key_in_its_own_header_and_asks_its_own_path() {
    let world = World::start().await;
    for (provider, path, header, value) in [
        ("openai", "/v1/chat/completions", "authorization", "Bearer sk-hush"),
        ("anthropic", "/v1/messages", "x-api-key", "sk-hush"),
        ("gemini", "/v1beta/models/m1:streamGenerateContent", "x-goog-api-key", "sk-hush"),
        ("ollama", "/api/chat", "authorization", "Bearer sk-hush"),
    ] {
        world.model.push(Answer::text("hi"));
        let request = CompleteRequest { model: "m1".into(), ..ask(provider, "k") };
        assert_eq!(world.ask(&request).await.unwrap().model, "m1");
        let requests = world.model.requests();
        let asked = requests.last().unwrap();
        assert_eq!((asked.path.as_str(), asked.headers[header].as_str()), (path, value));
    }
}

#[tokio::test]
async fn what_a_model_thinks_is_told_apart_and_sent_back_to_its_provider_alone() {
    let world = World::start().await;
    for (provider, counted) in PROVIDERS.into_iter().zip([5, 0, 5, 0]) {
        let answer = Answer::tool_call("search", json!({ "q": "boats" }))
            .reasoning("let me think")
            .usage(20, 9)
            .of_which(5, 4);
        world.model.push(answer);
        let request = CompleteRequest {
            tools: vec![crate::tool("search")],
            session: provider.into(),
            ..ask(provider, "k1")
        };
        let reply = world.ask(&request).await.unwrap();
        let message = reply.message.unwrap();
        assert_eq!((message.reasoning.as_str(), message.content.as_str()), ("let me think", ""));
        let tokens = world.tokens(provider).await;
        let thought: String = tokens.iter().map(|token| token.reasoning.as_str()).collect();
        assert_eq!(thought, "let me think", "{provider}");
        assert!(tokens.iter().all(|token| token.delta.is_empty()), "{provider}");
        let usage = reply.usage.unwrap();
        let counts = (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens);
        assert_eq!(counts, (20, 9, counted), "{provider}");
        let cached = if provider == "ollama" { 0 } else { 4 };
        assert_eq!(usage.cached_input_tokens, cached, "{provider}");
        let answer = muster_contracts::llm::v1::ChatMessage {
            role: "tool".into(),
            tool_call_id: message.tool_calls[0].id.clone(),
            ..crate::user("none")
        };
        for other in PROVIDERS {
            world.model.push(Answer::text("fine"));
            let messages = vec![crate::user("boats?"), message.clone(), answer.clone()];
            let request = CompleteRequest { messages, ..ask(other, &format!("{provider} k2")) };
            world.ask(&request).await.unwrap();
            let sent = world.model.requests().last().unwrap().body.to_string();
            let signed = sent.contains("c2ln");
            let own = other == provider && matches!(provider, "anthropic" | "gemini");
            assert_eq!(signed, own, "{provider} to {other}: {sent}");
        }
    }
}

#[tokio::test]
async fn refusals_have_one_meaning_in_every_dialect() {
    let world = World::start().await;
    for provider in PROVIDERS {
        world.model.push(Answer::too_many_requests(7));
        let fault = world.ask(&ask(provider, "k1")).await.unwrap_err();
        assert_eq!((fault.code, fault.retry_after_ms), (Code::Exhausted, Some(7_000)), "{fault}");
        for (status, code, part) in [
            (400, Code::Invalid, "the reason ***"),
            (401, Code::Denied, "check "),
            (403, Code::Denied, "_API_KEY"),
            (404, Code::Invalid, "the reason ***"),
            (500, Code::Unavailable, "the reason ***"),
            (529, Code::Unavailable, "status 529"),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            world.model.push(Answer::failure(status, "the reason sk-hush"));
            let fault = world.ask(&ask(provider, "k1")).await.unwrap_err();
            assert_eq!(fault.code, code, "{provider} {status}: {fault}");
            assert!(fault.message.contains(part), "{provider} {status}: {fault}");
            assert!(!fault.message.contains("sk-hush"), "{provider} {status}: {fault}");
        }
        // Nothing of all that was recorded.
        world.model.push(Answer::text("fine"));
        assert!(!world.ask(&ask(provider, "k1")).await.unwrap().replayed);
    }
}

#[tokio::test]
async fn what_goes_wrong_in_a_stream_is_never_taken_for_a_reply() {
    let world = World::start().await;
    let garbage = |text: &str| Breakage::Garbage(text.to_owned());
    for (provider, begun) in PROVIDERS.into_iter().zip(BEGUN) {
        for (breakage, code, part) in [
            (Breakage::Cut, Code::Unavailable, "broke off"),
            (Breakage::End, Code::Unavailable, "in the middle of the reply"),
            (Breakage::Error("on fire ***".into()), Code::Unavailable, "on fire ***"),
            (garbage("{\"choices\":"), Code::Unavailable, "no piece of a reply"),
            (garbage("[1,2]"), Code::Unavailable, "no piece of a reply"),
        ] {
            let told = format!("{provider} {breakage:?}");
            let answer = Answer::text("one two three four").break_after(begun, breakage);
            world.model.push(answer);
            let fault = world.ask(&ask(provider, "k1")).await.unwrap_err();
            assert_eq!(fault.code, code, "{told}: {fault}");
            assert!(fault.message.contains(part), "{told}: {fault}");
        }
        world.model.push(Answer::text("whole"));
        let reply = world.ask(&ask(provider, "k1")).await.unwrap();
        assert_eq!((reply.message.unwrap().content.as_str(), reply.replayed), ("whole", false));
    }
}

#[tokio::test]
async fn a_provider_that_falls_silent_is_not_waited_for() {
    let world = World::start_idle("1").await;
    world.model.respond_with(|_| Answer::text("one two").break_after(1, Breakage::Silence));
    let asked = PROVIDERS.map(|provider| {
        let (request, world) = (ask(provider, "k1"), &world);
        async move { world.ask(&request).await.unwrap_err() }
    });
    for (provider, fault) in PROVIDERS.into_iter().zip(join_all(asked).await) {
        assert_eq!(fault.code, Code::Unavailable, "{provider}: {fault}");
        assert!(fault.message.contains("no byte for 1000 ms"), "{provider}: {fault}");
    }
}

#[tokio::test]
async fn replies_without_end_and_of_ten_megabytes_are_refused_and_their_connection_is_closed() {
    let world = World::start().await;
    for (at, (provider, begun)) in PROVIDERS.into_iter().zip(BEGUN).enumerate() {
        let word = "x".repeat(16 << 10);
        world.model.push(Answer::text(&word).break_after(begun, Breakage::Endless));
        let fault = world.ask(&ask(provider, "k1")).await.unwrap_err();
        assert_eq!(fault.code, Code::Invalid, "{provider}: {fault}");
        assert!(fault.message.contains("larger than 1 MiB"), "{provider}: {fault}");
        world.model.push(Answer::text("y".repeat(10 << 20)));
        let fault = world.ask(&ask(provider, "k1")).await.unwrap_err();
        assert_eq!(fault.code, Code::Invalid, "{provider}: {fault}");
        muster_testkit::eventually(crate::DEADLINE, "the endless stream is left", || {
            std::future::ready(world.model.hang_ups() > at)
        })
        .await;
    }
}

#[tokio::test]
async fn tool_arguments_that_are_no_object_are_told_and_harm_nothing() {
    let world = World::start().await;
    for provider in PROVIDERS {
        world.model.push(Answer::tool_call("search", json!([1, "}, {"])));
        let request = CompleteRequest { tools: vec![crate::tool("search")], ..ask(provider, "k1") };
        let reply = world.ask(&request).await.unwrap();
        let call = reply.message.unwrap().tool_calls.remove(0);
        assert_eq!((call.arguments, call.invalid_arguments.as_str()), (None, "[1,\"}, {\"]"));
    }
}

#[tokio::test]
async fn a_slow_stream_that_is_alive_is_waited_for() {
    let world = World::start().await;
    let pause = Duration::from_millis(100);
    for provider in PROVIDERS {
        world.model.push(Answer::text("a b c d").pause(pause));
        let reply = world.ask(&ask(provider, "k1")).await.unwrap();
        assert_eq!(reply.message.unwrap().content, "a b c d");
    }
}

#[tokio::test]
async fn vectors_come_from_every_provider_that_has_them() {
    use muster_contracts::llm::v1::EmbedRequest;
    let world = World::start().await;
    world.ready().await;
    let texts = |provider: &str| EmbedRequest {
        provider: provider.into(),
        model: "e1".into(),
        inputs: vec!["red fish".into(), "blue sky".into()],
        idempotency_key: provider.into(),
        ..Default::default()
    };
    let viewer = muster_bus::Bus::open(world.nats.settings("gateway")).await.unwrap();
    for provider in ["openai", "gemini", "ollama"] {
        let reply = viewer.request_within(&texts(provider), crate::DEADLINE).await.unwrap();
        let lengths: Vec<_> = reply.vectors.iter().map(|vector| vector.values.len()).collect();
        assert_eq!(lengths, [64, 64], "{provider}");
        assert!(reply.usage.unwrap().input_tokens > 0, "{provider}");
    }
    let refused = |request: EmbedRequest| {
        let viewer = viewer.clone();
        async move { viewer.request_within(&request, crate::DEADLINE).await.unwrap_err() }
    };
    assert!(refused(texts("anthropic")).await.message.contains("has no vectors"));
    let empty = EmbedRequest { inputs: vec![String::new()], ..texts("openai") };
    assert!(refused(empty).await.message.contains("inputs[0] is empty"));
    let none = EmbedRequest { inputs: Vec::new(), ..texts("openai") };
    assert_eq!(refused(none).await.code, Code::Invalid);
}
