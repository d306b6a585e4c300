//! Names for models: fallbacks, retries, cooldowns, weights, the total time, and who may be asked at all.

use std::io::Write as _;
use std::time::Duration;

use axum::http::StatusCode;
use muster_bus::{Bus, MessageId};
use muster_contracts::Code;
use muster_contracts::llm::v1::CompleteRequest;
use muster_contracts::model::v1::{
    GetModelRequest, ListModelsRequest, ModelDefinition, ModelTarget, PutModelRequest,
};
use muster_runtime::testing::Running;
use muster_testkit::{Answer, Breakage, NatsServer, ScriptedModel, eventually};
use tempfile::NamedTempFile;

use crate::{DEADLINE, ask, connect, ready, request, serve_with, tool};

/// Two providers, `first` and `second`, and the names of a models file.
struct Two {
    nats: NatsServer,
    bus: Bus,
    first: ScriptedModel,
    second: ScriptedModel,
    file: NamedTempFile,
    _service: Running,
}

impl Two {
    async fn start(aliases: &str) -> Self {
        let (nats, first, second) =
            (NatsServer::start().await, ScriptedModel::start().await, ScriptedModel::start().await);
        let mut file = NamedTempFile::new().unwrap();
        let (one, two) = (first.base_url(), second.root_url());
        let providers = format!(
            "providers:\n  first: {{dialect: openai, base_url: '{one}', default_model: m}}\n  second: {{dialect: anthropic, base_url: '{two}', models: [m2]}}\n"
        );
        file.write_all(format!("{providers}aliases:\n{aliases}").as_bytes()).unwrap();
        let service = serve_with(&nats, &settings(&file));
        let bus = connect(&nats).await;
        Self { nats, bus, first, second, file, _service: service }
    }

    /// Asks for the name, without a record and without a session.
    async fn ask(&self, model: &str, key: &str) -> Result<String, muster_contracts::Fault> {
        let asked = CompleteRequest {
            model: model.into(),
            unrecorded: true,
            session: String::new(),
            ..request(key)
        };
        let reply = ask(&self.bus, &asked).await?;
        Ok(format!("{}/{}", reply.provider, reply.model))
    }

    fn asked(&self) -> (usize, usize) {
        (self.first.requests().len(), self.second.requests().len())
    }
}

fn settings(file: &NamedTempFile) -> [(&'static str, &str); 2] {
    [("MUSTER_MODELS_FILE", file.path().to_str().unwrap()), ("MUSTER_MODEL_IDLE_SECONDS", "60")]
}

const FAST: &str = "  fast: {retries: 0, targets: [{provider: first, model: m1}, {provider: second, model: m2}]}\n";

#[tokio::test]
async fn a_target_that_fails_is_followed_by_the_next_and_asked_last_for_a_while() {
    let two = Two::start(FAST).await;
    two.first.push(Answer::failure(StatusCode::BAD_GATEWAY, "down"));
    two.second.push(Answer::text("one")).push(Answer::text("two"));
    assert_eq!(two.ask("fast", "k1").await.unwrap(), "second/m2");
    assert_eq!(two.ask("fast", "k2").await.unwrap(), "second/m2");
    assert_eq!(two.asked(), (1, 2));
    // It is asked again where the other one fails too.
    two.second.push(Answer::too_many_requests(60));
    two.first.push(Answer::text("three"));
    assert_eq!(two.ask("fast", "k3").await.unwrap(), "first/m1");
    two.first.push(Answer::failure(StatusCode::UNAUTHORIZED, "bad key"));
    two.second.push(Answer::too_many_requests(9));
    let fault = two.ask("fast", "k4").await.unwrap_err();
    assert_eq!((fault.code, fault.retry_after_ms), (Code::Exhausted, Some(9_000)), "{fault}");
    assert!(fault.message.contains("first/m1: first refuses the key"), "{fault}");
}

#[tokio::test]
async fn a_request_that_is_wrong_goes_no_further() {
    let two = Two::start(FAST).await;
    two.first.push(Answer::failure(StatusCode::BAD_REQUEST, "too long"));
    let fault = two.ask("fast", "k1").await.unwrap_err();
    assert_eq!((fault.code, two.asked()), (Code::Invalid, (1, 0)), "{fault}");
}

#[tokio::test]
async fn a_target_is_asked_again_when_its_provider_says() {
    let aliases = "  patient: {retries: 2, targets: [{provider: first, model: m1}, {provider: second, model: m2}]}\n";
    let two = Two::start(aliases).await;
    two.first
        .push(Answer::too_many_requests(0))
        .push(Answer::text("one two").cut_after(2))
        .push(Answer::text("one two"));
    assert_eq!(two.ask("patient", "k1").await.unwrap(), "first/m1");
    // A minute is too long to wait for where another one may answer at once.
    two.first.push(Answer::too_many_requests(60));
    two.second.push(Answer::text("fine"));
    assert_eq!(two.ask("patient", "k2").await.unwrap(), "second/m2");
    assert_eq!(two.asked(), (4, 1));
}

#[tokio::test]
async fn nobody_else_goes_on_with_a_reply_that_somebody_has_seen_the_beginning_of() {
    let two = Two::start(FAST).await;
    two.first.push(Answer::text("one two three").break_after(3, Breakage::Cut));
    let seen = CompleteRequest { model: "fast".into(), ..request("k1") };
    let fault = ask(&two.bus, &seen).await.unwrap_err();
    assert_eq!((fault.code, two.asked()), (Code::Unavailable, (1, 0)), "{fault}");
    // Who comes again gets a whole reply, whose tokens begin anew.
    two.first.push(Answer::text("whole"));
    let reply = ask(&two.bus, &seen).await.unwrap();
    assert_eq!(reply.message.unwrap().content, "whole");
    // Without a viewer the next target goes on at once.
    two.first.push(Answer::text("one two three").break_after(3, Breakage::Cut));
    two.second.push(Answer::text("fine"));
    assert_eq!(two.ask("fast", "k2").await.unwrap(), "second/m2");
}

#[tokio::test]
async fn targets_of_a_group_share_by_weight_and_a_repeated_request_goes_the_same_way() {
    let aliases = "  shared: {targets: [{provider: first, model: m1, group: 1, weight: 1}, {provider: second, model: m2, group: 1, weight: 3}]}\n";
    let two = Two::start(aliases).await;
    two.first.respond_with(|_| Answer::text("a"));
    two.second.respond_with(|_| Answer::text("b"));
    for key in 0..40 {
        let key = format!("k{key}");
        let went = two.ask("shared", &key).await.unwrap();
        assert_eq!(two.ask("shared", &key).await.unwrap(), went);
    }
    let (first, second) = two.asked();
    assert!(first > 0 && second > first, "{first} {second}");
}

#[tokio::test]
async fn a_request_has_one_time_for_all_its_tries() {
    let aliases =
        "  hasty: {timeout_seconds: 2, retries: 5, targets: [{provider: first, model: m1}]}\n";
    let two = Two::start(aliases).await;
    two.first.push(Answer::text("never").break_after(1, Breakage::Silence));
    let fault = two.ask("hasty", "k1").await.unwrap_err();
    assert_eq!(fault.code, Code::Deadline, "{fault}");
    assert!(fault.message.contains("no reply came within 2 s"), "{fault}");
    eventually(DEADLINE, "its connection is closed", || {
        std::future::ready(two.first.hang_ups() == 1)
    })
    .await;
}

#[tokio::test]
async fn a_model_that_nobody_has_is_refused_with_what_there_is() {
    let two = Two::start(FAST).await;
    two.second.push(Answer::text("x")).push(Answer::text("x"));
    assert_eq!(two.ask("m2", "k1").await.unwrap(), "second/m2");
    assert_eq!(two.ask("second/m9", "k2").await.unwrap(), "second/m9");
    let fault = two.ask("gpt-9", "k3").await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    for part in ["\"gpt-9\"", "first, second", "first/gpt-9", "names for models are fast"] {
        assert!(fault.message.contains(part), "{fault}");
    }
    let nats = NatsServer::start().await;
    let _service = serve_with(&nats, &[]);
    let bus = connect(&nats).await;
    let named = CompleteRequest { model: "gpt-4o".into(), ..request("k1") };
    let fault = ask(&bus, &named).await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    assert!(fault.message.contains("OPENAI_API_KEY"), "{fault}");
    let empty = CompleteRequest { model: String::new(), ..request("k2") };
    assert_eq!(ask(&bus, &empty).await.unwrap().provider, "offline");
}

#[tokio::test]
async fn a_registered_name_is_known_to_every_replica_at_once_and_after_a_restart() {
    let two = Two::start(FAST).await;
    let _replica = serve_with(&two.nats, &settings(&two.file));
    ready(&two.bus).await;
    let gateway = Bus::open(two.nats.settings("gateway")).await.unwrap();
    let target = |provider: &str, model: &str| ModelTarget {
        provider: provider.into(),
        model: model.into(),
        ..Default::default()
    };
    let put = |name: &str, target: ModelTarget| PutModelRequest {
        definition: Some(ModelDefinition {
            name: name.into(),
            targets: vec![target],
            ..Default::default()
        }),
    };
    let good = put("house.1", target("second", "m7"));
    let stored = gateway.request_within(&good, DEADLINE).await.unwrap();
    assert_eq!((stored.digest.len(), stored.preset), (64, false));
    // One of the same name as a preset stands in its place.
    gateway.request_within(&put("fast", target("second", "m8")), DEADLINE).await.unwrap();
    two.first.respond_with(|_| Answer::text("old"));
    two.second.respond_with(|_| Answer::text("new"));
    // Either replica answers; each must have heard of both names.
    for (name, expected) in [("house.1", "second/m7"), ("fast", "second/m8")] {
        eventually(DEADLINE, "both replicas know the name", || async {
            for key in 0..10 {
                if two.ask(name, &key.to_string()).await.ok().as_deref() != Some(expected) {
                    return false;
                }
            }
            true
        })
        .await;
    }
    let get = GetModelRequest { name: "house.1".into() };
    assert_eq!(gateway.request_within(&get, DEADLINE).await.unwrap(), stored);
    let list = gateway.request_within(&ListModelsRequest {}, DEADLINE).await.unwrap();
    let names: Vec<_> = list.models.iter().map(|model| model.name.as_str()).collect();
    assert_eq!(names, ["fast", "house.1"]);
    let providers: Vec<_> = list.providers.iter().map(|found| found.name.as_str()).collect();
    assert_eq!(providers, ["first", "second", "offline"]);
    let unknown = GetModelRequest { name: "house1".into() };
    let fault = gateway.request_within(&unknown, DEADLINE).await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    assert!(fault.message.ends_with("\"house1\": is \"house.1\" meant?"), "{fault}");
    let fault = two.ask("house1", "k").await.unwrap_err();
    assert!(fault.message.ends_with("; is \"house.1\" meant?"), "{fault}");
    let bad = put("bad", target("acme", ""));
    let fault = gateway.request_within(&bad, DEADLINE).await.unwrap_err();
    assert!(fault.code == Code::Invalid && fault.message.contains("acme"), "{fault}");
    let third = serve_with(&two.nats, &settings(&two.file));
    assert_eq!(two.ask("house.1", "k").await.unwrap(), "second/m7");
    assert!(third.stop().await, "it ends well");
}

#[tokio::test]
async fn a_cancelled_task_closes_the_connection_to_its_provider() {
    use muster_contracts::workflow::v1::CallCancelled;
    let two = Two::start(FAST).await;
    two.first.push(Answer::text("never").pause(Duration::from_secs(600)));
    let asked = CompleteRequest {
        model: "fast".into(),
        task: "t1".into(),
        tools: vec![tool("search")],
        ..request("k1")
    };
    let asking = tokio::spawn({
        let bus = two.bus.clone();
        async move { ask(&bus, &asked).await }
    });
    eventually(DEADLINE, "the provider is asked", || std::future::ready(two.asked().0 == 1)).await;
    let engine = Bus::open(two.nats.settings("orchestration")).await.unwrap();
    let cancelled =
        CallCancelled { execution_id: "e1".into(), task: "t1".into(), ..Default::default() };
    engine.publish(&cancelled, &MessageId::random()).await.unwrap();
    let fault = asking.await.unwrap().unwrap_err();
    assert_eq!(fault.code, Code::Conflict, "{fault}");
    eventually(DEADLINE, "its connection is closed", || {
        std::future::ready(two.first.hang_ups() == 1)
    })
    .await;
    assert_eq!(two.asked(), (1, 0));
}
