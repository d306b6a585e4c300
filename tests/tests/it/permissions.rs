//! Each service may do what the contract says of it, and nothing else: tried on a real server, for every subject of the contract.

use std::collections::BTreeSet;
use std::time::Duration;

use muster_contracts::permissions::{
    OPERATOR, consumer_name, inbox_prefix, peers, queue_group, services,
};
use muster_contracts::subject::pattern;
use muster_contracts::{Bucket, CATALOGUE, Entry, Kind, Stream};
use muster_testkit::{NatsServer, eventually};

/// What a service tried: the subject, and the queue group of a subscription.
type Tried = BTreeSet<String>;

fn grants(entry: &Entry, names: &[&str], service: &str) -> bool {
    !entry.planned
        && (names.contains(&service) || (names.contains(&"*") && !peers().contains(service)))
}

/// A subject that fits the template.
fn example(template: &str) -> String {
    let token = |part: &str| if part.starts_with('{') { "x1".to_owned() } else { part.to_owned() };
    template.split('.').map(token).collect::<Vec<_>>().join(".")
}

/// The last thing that a service tries: when the server has refused it, everything before is decided.
const END: &str = "nobody.may.do.this";

/// The subjects that the server refused a client, all of what it tried considered.
async fn refused_to(
    nats: &NatsServer,
    client: &async_nats::Client,
    user: &str,
    what: &str,
) -> Tried {
    let _held = match what {
        "Publish" => {
            client.publish(END, "".into()).await.unwrap();
            None
        }
        _ => Some(client.subscribe(END).await.unwrap()),
    };
    eventually(Duration::from_secs(60), "the server has decided on everything", || async {
        refused(nats, user, what).contains(END)
    })
    .await;
    let mut found = refused(nats, user, what);
    found.remove(END);
    found
}

fn refused(nats: &NatsServer, user: &str, what: &str) -> Tried {
    let start = format!("user:{user}\" - {what} Violation - Subject \"");
    let log = nats.log();
    let lines = log.lines().filter_map(|line| line.split_once(start.as_str()));
    lines.filter_map(|(_, rest)| rest.split('"').next()).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_service_publishes_its_own_subjects_and_no_others() {
    let nats = NatsServer::start().await;
    nats.expect_violations();
    for service in services() {
        let client = nats.client(service).await;
        let mut expected = Tried::new();
        for entry in CATALOGUE {
            for template in [entry.subject, entry.schedule] {
                if template.is_empty() {
                    continue;
                }
                client.publish(example(template), "".into()).await.unwrap();
                // Dead letters: each consumer's own only, which is below.
                let own = CATALOGUE.iter().any(|other| {
                    let same =
                        [other.subject, other.schedule].map(pattern).contains(&pattern(template));
                    same && grants(other, other.producers, service)
                        && other.stream != Some(Stream::Dlq)
                });
                if !own {
                    expected.insert(example(template));
                }
            }
        }
        assert_eq!(
            refused_to(&nats, &client, service, "Publish").await,
            expected,
            "published by {service}"
        );
    }
}

#[tokio::test]
async fn a_service_subscribes_to_what_it_reads_and_answers_only_in_its_group() {
    let nats = NatsServer::start().await;
    nats.expect_violations();
    for service in services() {
        let client = nats.client(service).await;
        let mut expected = Tried::new();
        let mut held = Vec::new();
        for entry in CATALOGUE {
            let subject = pattern(&entry.subject.replace("{service}", service));
            let mine = |other: &&Entry| {
                pattern(&other.subject.replace("{service}", service)) == subject
                    && grants(other, other.consumers, service)
            };
            let reads = CATALOGUE
                .iter()
                .filter(mine)
                .any(|other| !matches!(other.kind, Kind::Request | Kind::Command));
            let answers = CATALOGUE.iter().filter(mine).any(|other| other.kind == Kind::Request);
            held.push(client.subscribe(subject.clone()).await.unwrap());
            if !reads {
                expected.insert(subject.clone());
            }
            if answers {
                let group = queue_group(service);
                held.push(client.queue_subscribe(subject, group).await.unwrap());
            }
        }
        assert_eq!(
            refused_to(&nats, &client, service, "Subscription").await,
            expected,
            "subscribed by {service}"
        );
    }
}

#[tokio::test]
async fn a_request_is_answered_by_nobody_else() {
    let nats = NatsServer::start().await;
    nats.expect_violations();
    for service in services() {
        let client = nats.client(service).await;
        let mut expected = Tried::new();
        let mut held = Vec::new();
        let requests = CATALOGUE.iter().filter(|entry| entry.kind == Kind::Request);
        for entry in requests.filter(|entry| !grants(entry, entry.consumers, service)) {
            let subject = pattern(entry.subject);
            held.push(client.queue_subscribe(subject.clone(), queue_group(service)).await.unwrap());
            expected.insert(subject);
        }
        for other in services().into_iter().chain([OPERATOR]).filter(|other| *other != service) {
            let inboxes = format!("{}.>", inbox_prefix(other));
            held.push(client.subscribe(inboxes.clone()).await.unwrap());
            expected.insert(inboxes);
        }
        assert_eq!(
            refused_to(&nats, &client, service, "Subscription").await,
            expected,
            "subscribed by {service}"
        );
    }
}

#[tokio::test]
async fn a_service_leaves_streams_consumers_and_keys_of_others_alone() {
    let nats = NatsServer::start().await;
    nats.expect_violations();
    for service in services() {
        let client = nats.client(service).await;
        let mut expected = Tried::new();
        for stream in Stream::ALL.iter().map(|stream| stream.name()) {
            for verb in ["UPDATE", "DELETE", "PURGE", "SNAPSHOT", "RESTORE"] {
                expected.insert(format!("$JS.API.STREAM.{verb}.{stream}"));
            }
        }
        for entry in CATALOGUE.iter().filter(|entry| entry.kind != Kind::Request) {
            let Some(stream) = entry.stream.map(Stream::name) else { continue };
            for other in services().into_iter().filter(|other| *other != service) {
                let consumer = consumer_name(other, entry.message);
                expected.insert(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"));
                expected.insert(format!("$JS.API.CONSUMER.DELETE.{stream}.{consumer}"));
                expected.insert(format!(
                    "$JS.API.CONSUMER.CREATE.{stream}.{consumer}.{}",
                    pattern(entry.subject)
                ));
                expected.insert(format!("$JS.ACK.{stream}.{consumer}.1.1.1.1.1"));
                expected.insert(format!("dlq.{stream}.{consumer}"));
            }
        }
        for bucket in Bucket::ALL.iter().filter(|bucket| bucket.settings().writers.len() != 1) {
            for other in services().into_iter().filter(|other| *other != service) {
                expected.insert(format!("$KV.{}.{other}.key", bucket.name()));
            }
        }
        for subject in &expected {
            client.publish(subject.clone(), "".into()).await.unwrap();
        }
        assert_eq!(
            refused_to(&nats, &client, service, "Publish").await,
            expected,
            "published by {service}"
        );
    }
}

#[tokio::test]
async fn a_test_in_which_somebody_tries_what_is_not_granted_fails() {
    let nats = NatsServer::start().await;
    let client = nats.client("vector").await;
    client.publish("workflow.command.start", "{}".into()).await.unwrap();
    eventually(Duration::from_secs(60), "the server has refused it", || async {
        !nats.violations().is_empty()
    })
    .await;
    let found = nats.violations();
    assert!(found.len() == 1 && found[0].contains("workflow.command.start"), "{found:?}");
    let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(nats)));
    let text = *failed.unwrap_err().downcast::<String>().unwrap();
    assert!(text.contains("user:vector") && text.contains("proto/"), "{text}");
}
