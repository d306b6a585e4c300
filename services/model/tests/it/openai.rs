//! What becomes of a provider's answers.

use muster_contracts::Code;
use muster_contracts::llm::v1::{ChatTool, CompleteRequest};
use muster_testkit::{Answer, ScriptedModel};
use serde_json::json;

use crate::{World, request, tool};

#[tokio::test]
async fn a_text_is_streamed_token_by_token_and_answered_whole() {
    let world = World::start().await;
    world.model.push(Answer::text("Two boats and a crane.").usage(11, 7));
    let reply = world.ask(&request("k1")).await.unwrap();
    let message = reply.message.unwrap();
    assert_eq!(
        (message.role.as_str(), message.content.as_str()),
        ("assistant", "Two boats and a crane.")
    );
    assert_eq!((reply.provider.as_str(), reply.model.as_str()), ("openai", "scripted"));
    let usage = reply.usage.unwrap();
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.estimated), (11, 7, false));
    let tokens = world.tokens("s1").await;
    let text: String = tokens.iter().map(|token| token.delta.as_str()).collect();
    assert_eq!(text, "Two boats and a crane.");
    assert!(tokens.len() > 4, "{tokens:?}");
    assert!(tokens.iter().zip(1..).all(|(token, at)| token.sequence == at && token.reply == "k1"));
    let last = tokens.last().unwrap();
    assert_eq!((last.finish_reason.as_str(), last.usage), ("stop", reply.usage));
    let asked = &world.model.requests()[0];
    assert_eq!(asked.headers["authorization"], "Bearer sk-hush");
    assert_eq!(
        asked.body["messages"],
        json!([{ "role": "user", "content": "what is in the harbour?" }])
    );
}

#[tokio::test]
async fn tool_calls_that_are_split_over_chunks_are_put_together() {
    let world = World::start().await;
    let answer = Answer::tool_call("search", json!({ "query": "cranes and boats", "top_k": 3 }))
        .and_tool_call("echo", json!({ "value": [1, 2] }));
    world.model.push(answer);
    let tools: Vec<ChatTool> = vec![tool("search"), tool("echo")];
    let reply = world.ask(&CompleteRequest { tools, ..request("k1") }).await.unwrap();
    assert_eq!(reply.finish_reason, "tool_calls");
    let calls = reply.message.unwrap().tool_calls;
    let arguments = |at: usize| calls[at].arguments.clone().unwrap().into_value();
    assert_eq!(arguments(0), json!({ "query": "cranes and boats", "top_k": 3 }));
    assert_eq!((calls[1].name.as_str(), arguments(1)), ("echo", json!({ "value": [1, 2] })));
    assert_ne!(calls[0].id, calls[1].id);
}

#[tokio::test]
async fn refusals_become_faults_that_say_what_to_do() {
    let world = World::start().await;
    world.model.push(Answer::too_many_requests(7));
    let fault = world.ask(&request("k1")).await.unwrap_err();
    assert_eq!((fault.code, fault.retry_after_ms), (Code::Exhausted, Some(7_000)));
    for (status, code, part) in [
        (500, Code::Unavailable, "status 500"),
        (400, Code::Invalid, "the reason ***"),
        (404, Code::Invalid, "the reason ***"),
        (401, Code::Denied, "check OPENAI_API_KEY"),
        (403, Code::Denied, "check OPENAI_API_KEY"),
    ] {
        world.model.push(Answer::failure(status.try_into().unwrap(), "the reason sk-hush"));
        let fault = world.ask(&request("k1")).await.unwrap_err();
        assert_eq!(fault.code, code, "{status}: {fault}");
        assert!(fault.message.contains(part) && !fault.message.contains("sk-hush"), "{fault}");
    }
    // Nothing of all that was recorded.
    world.model.push(Answer::text("fine"));
    assert!(!world.ask(&request("k1")).await.unwrap().replayed);
}

#[tokio::test]
async fn a_stream_that_breaks_off_or_falls_silent_is_unavailable_and_asked_again() {
    let world = World::start_idle("2").await;
    world.model.push(Answer::text("one two three four").cut_after(3));
    let fault = world.ask(&request("k1")).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "{fault}");
    world.model.push(Answer::text("one two").pause(std::time::Duration::from_secs(3_600)));
    let fault = world.ask(&request("k1")).await.unwrap_err();
    assert!(fault.message.contains("no byte for 2000 ms"), "{fault}");
    world.model.push(Answer::text("one two"));
    let reply = world.ask(&request("k1")).await.unwrap();
    assert_eq!((reply.message.unwrap().content.as_str(), reply.replayed), ("one two", false));
}

#[tokio::test]
async fn a_provider_that_is_not_there_is_unavailable_by_name() {
    let world = World::start().await;
    let gone = {
        let model = ScriptedModel::start().await;
        model.base_url().to_owned()
    };
    assert!(world.service.unwrap().stop().await, "it ends well");
    let _service = crate::serve(&world.nats, &gone);
    let fault = crate::ask(&world.bus, &request("k1")).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains(&gone) && fault.message.contains("connect"), "{fault}");
}

#[tokio::test]
async fn an_unknown_provider_and_a_bad_session_are_refused_before_anything_is_bought() {
    let world = World::start().await;
    let fault =
        world.ask(&CompleteRequest { provider: "acme".into(), ..request("k1") }).await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    assert!(fault.message.contains("configured are openai, anthropic"), "{fault}");
    let fault =
        world.ask(&CompleteRequest { session: "a.b".into(), ..request("k1") }).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(world.model.requests().is_empty());
}
