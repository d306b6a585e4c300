//! Messages change: additions are read by everybody, and what is incompatible is another message beside the first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use muster_bus::{Delivery, Routes};
use muster_contracts::deliverable::v1::Deliverable;
use muster_contracts::{
    Addressed, Durable, Event, Fault, Kind, Message, Stream, SubjectError, subject,
};
use muster_testkit::{NatsServer, eventually};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::rows::hear;
use crate::{connect, id, operator, serve};

const PATIENCE: Duration = Duration::from_secs(60);

/// What the generator would make of an incompatible `Deliverable` in `muster.deliverable.v2`: its content is a list of parts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct DeliverableV2 {
    agent: String,
    content: Vec<String>,
}

impl Message for DeliverableV2 {
    const NAME: &'static str = "muster.deliverable.v2.Deliverable";
    const SEALED: &'static [&'static str] = &[];
    fn missing(&self) -> Option<String> {
        None
    }
    fn execution_id(&self) -> &str {
        ""
    }
}

impl Addressed for DeliverableV2 {
    const SUBJECT: &'static str = "deliverables.v2.{agent}.report.login";
    const ALIAS: &'static str = "";
    fn subject(&self) -> Result<String, SubjectError> {
        Ok(format!("deliverables.v2.{}.report.login", subject::token("agent", &self.agent)?))
    }
    fn take_from_subject(&mut self, _subject: &str) {}
}

impl Durable for DeliverableV2 {
    const STREAMS: &'static [Stream] = &[Stream::Deliverables];
    const KIND: Kind = Kind::Event;
    const VERSION: u32 = 2;
}

impl Event for DeliverableV2 {}

/// What handlers saw, by the version that they read.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<BTreeMap<&'static str, BTreeSet<String>>>>);

impl Seen {
    fn note(&self, version: &'static str, what: String) {
        self.0.lock().unwrap().entry(version).or_default().insert(what);
    }

    /// Waits until handlers saw exactly this, in any order.
    async fn is(&self, expected: &[(&'static str, &[&str])]) {
        let expected: BTreeMap<_, BTreeSet<_>> = expected
            .iter()
            .map(|(version, seen)| (*version, seen.iter().map(|text| (*text).to_owned()).collect()))
            .collect();
        eventually(PATIENCE, "each reader has what is for it", || async {
            let seen = self.0.lock().unwrap().clone();
            if seen == expected { Ok(()) } else { Err(seen) }
        })
        .await;
    }
}

async fn first(seen: Seen, event: Delivery<Deliverable>) -> Result<(), Fault> {
    seen.note(
        "v1",
        format!("{}/{}: {}, {} tokens", event.agent, event.feature, event.content, event.tokens),
    );
    Ok(())
}

async fn second(seen: Seen, event: Delivery<DeliverableV2>) -> Result<(), Fault> {
    seen.note("v2", format!("{}: {}", event.agent, event.content.join(" + ")));
    Ok(())
}

#[tokio::test]
async fn a_reader_of_today_understands_additions_and_absences() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "operator").await;
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(first));
    let publisher = operator(&nats).await;
    let bodies = [
        // A later release added fields, one of them a message.
        json!({"agent": "roy", "type": "report", "feature": "login", "content": "x", "tokens": 7, "licence": "MIT", "reviewer": {"name": "jen"}}),
        // An earlier one, or another language, knows less; tokens of the subject are the subject's.
        json!({"content": "y"}),
    ];
    for (number, body) in bodies.iter().enumerate() {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", format!("m{number}"));
        headers.insert("Muster-Schema", "muster.deliverable.v1.Deliverable/v1");
        let subject = "deliverables.roy.report.login";
        publisher.publish_with_headers(subject, headers, body.to_string().into()).await.unwrap();
    }
    publisher.flush().await.unwrap();
    seen.is(&[("v1", &["roy/login: x, 7 tokens", "roy/login: y, 0 tokens"])]).await;
}

#[tokio::test]
async fn an_incompatible_version_runs_beside_the_first() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "operator").await;
    let seen = Seen::default();
    let _serving = serve(&bus, Routes::new(seen.clone()).on(first).on(second));
    let old = Deliverable {
        agent: "roy".into(),
        r#type: "report".into(),
        feature: "login".into(),
        content: "x".into(),
        ..Default::default()
    };
    let new = DeliverableV2 { agent: "roy".into(), content: vec!["x".into(), "y".into()] };
    let mut heard = hear(&nats, "deliverables.>").await;
    bus.publish(&old, &id("one")).await.unwrap();
    bus.publish(&new, &id("two")).await.unwrap();
    for schema in ["muster.deliverable.v1.Deliverable/v1", "muster.deliverable.v2.Deliverable/v2"] {
        let message = tokio::time::timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
        assert_eq!(message.headers.unwrap().get("Muster-Schema").unwrap().as_str(), schema);
    }
    // Each reader has its own version, and only that.
    seen.is(&[("v1", &["roy/login: x, 0 tokens"]), ("v2", &["roy: x + y"])]).await;
}
