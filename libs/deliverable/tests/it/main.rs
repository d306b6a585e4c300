//! Deliverables on a real server, as the services that share them.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::time::Duration;

use muster_bus::{Bus, MessageId};
use muster_contracts::{Code, Stream};
use muster_deliverable::{Address, Deliverables, Draft, Listing, MAX_CONTENT, Published};
use muster_testkit::{NatsServer, eventually};

async fn open(nats: &NatsServer, service: &str) -> Deliverables {
    let bus = Bus::open(nats.settings(service)).await.unwrap();
    bus.ready().await;
    Deliverables::new(&bus)
}

fn draft(address: &str, content: &str, execution_id: &str) -> Draft {
    Draft {
        address: Address::parse(address).unwrap(),
        content: content.to_owned(),
        execution_id: execution_id.to_owned(),
        task: String::new(),
        timestamp: None,
    }
}

async fn put(deliverables: &Deliverables, address: &str, content: &str) -> Published {
    deliverables.publish(draft(address, content, "e1"), None).await.unwrap()
}

fn listing(team: &str) -> Listing {
    Listing { team: team.to_owned(), limit: 2, ..Listing::default() }
}

/// The addresses of all pages.
async fn all(deliverables: &Deliverables, mut listing: Listing) -> Vec<String> {
    let mut found = Vec::new();
    loop {
        let page = deliverables.list(&listing).await.unwrap();
        assert!(page.entries.len() <= listing.limit);
        found.extend(page.entries.iter().map(|entry| entry.address.to_string()));
        match page.next {
            Some(next) => listing.after = next,
            None => return found,
        }
    }
}

#[tokio::test]
async fn what_one_service_publishes_another_fetches_by_version() {
    let nats = NatsServer::start().await;
    let (gateway, agent) = (open(&nats, "gateway").await, open(&nats, "agent").await);
    let first = put(&gateway, "deliverables/ann/report/x", "first version").await;
    let again = put(&gateway, "deliverables/ann/report/x", "first version").await;
    assert_eq!((again.sequence, again.duplicate), (first.sequence, true));
    let second = put(&gateway, "deliverables/ann/report/x", "second version").await;

    let newest = Address::parse("deliverables/ann/report/x").unwrap();
    let found = agent.fetch(&newest).await.unwrap().unwrap();
    assert_eq!(found.address, second.address);
    assert_eq!(found.deliverable.content, "second version");
    let old = agent.fetch(&first.address).await.unwrap().unwrap();
    assert_eq!(old.deliverable.content, "first version");
    assert_eq!(old.notice().await.unwrap()["summary"], "first version");
    let sizes = agent.tokens(&[newest.clone(), first.address.clone()]).await.unwrap();
    assert_eq!(sizes[&newest], second.tokens);
    assert_eq!(sizes[&first.address], first.tokens);
    let nothing = Address::parse("deliverables/ann/report/y").unwrap();
    assert!(agent.fetch(&nothing).await.unwrap().is_none());
    assert!(agent.fetch(&newest.at(Some(99))).await.unwrap().is_none());
}

#[tokio::test]
async fn an_id_is_for_one_content() {
    let nats = NatsServer::start().await;
    let gateway = open(&nats, "gateway").await;
    let id = MessageId::derived(["mine"]);
    let address = "deliverables/ann/report/x";
    gateway.publish(draft(address, "one", ""), Some(id.clone())).await.unwrap();
    gateway.publish(draft(address, "one", ""), Some(id.clone())).await.unwrap();
    let fault = gateway.publish(draft(address, "two", ""), Some(id)).await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict);
}

#[tokio::test]
async fn what_is_too_long_is_refused_and_what_is_just_not_travels_whole() {
    let nats = NatsServer::start().await;
    let gateway = open(&nats, "gateway").await;
    let address = "deliverables/ann/report/x";
    let long = "word ".repeat(MAX_CONTENT / 5);
    let fault = gateway.publish(draft(address, &format!("{long}!"), ""), None).await.unwrap_err();
    assert!(fault.message.contains("10000001 bytes"), "{fault}");
    let stored = put(&gateway, address, &long).await;
    let found = gateway.fetch(&stored.address).await.unwrap().unwrap();
    assert!(found.deliverable.content == long, "{} bytes", found.deliverable.content.len());
    let listed = gateway.list(&listing("")).await.unwrap();
    assert_eq!(listed.entries[0].tokens, Some(stored.tokens));
}

#[tokio::test]
async fn lists_are_filtered_and_paged_and_tell_sizes_without_contents() {
    let nats = NatsServer::start().await;
    let (gateway, agent) = (open(&nats, "gateway").await, open(&nats, "agent").await);
    for (address, execution) in [
        ("deliverables/ann/report/x", "e1"),
        ("deliverables/ann/report/x", "e2"),
        ("deliverables/ann/draft/x", "e1"),
        ("deliverables/bob/report/y", "e1"),
        ("deliverables/bob/report/z", "e2"),
    ] {
        agent.publish(draft(address, "Some words.", execution), None).await.unwrap();
    }
    let newest = all(&gateway, listing("")).await;
    assert_eq!(newest.len(), 4, "{newest:?}");
    assert_eq!(newest[0], "deliverables/ann/report/x@2");
    let versions = all(&gateway, Listing { versions: true, ..listing("") }).await;
    assert_eq!(versions.len(), 5, "{versions:?}");
    let ann = all(&gateway, Listing { agent: "ann".into(), ..listing("") }).await;
    assert_eq!(ann, ["deliverables/ann/report/x@2", "deliverables/ann/draft/x@3"]);
    let reports = Listing { kind: "report".into(), feature: "y".into(), ..listing("") };
    assert_eq!(all(&gateway, reports).await, ["deliverables/bob/report/y@4"]);
    let second = Listing { execution_id: "e2".into(), ..listing("") };
    let second = all(&gateway, second).await;
    assert_eq!(second, ["deliverables/ann/report/x@2", "deliverables/bob/report/z@5"]);
    let page = gateway.list(&listing("")).await.unwrap();
    assert_eq!(page.entries[0].tokens, Some(3));
    assert_eq!(page.entries[0].sha256.as_ref().unwrap().len(), 64);
}

#[tokio::test]
async fn each_member_of_the_team_publishes_into_a_stream_of_its_own() {
    let nats = NatsServer::start().await;
    let agent = open(&nats, "agent").await;
    let gateway = open(&nats, "gateway").await;
    let nobody = Address::parse("deliverables/agog/roy/backend/x").unwrap();
    assert!(gateway.fetch(&nobody).await.unwrap().is_none(), "there is no stream yet");
    assert!(all(&gateway, listing("agog")).await.is_empty());
    let team = [
        ("cynthia", "agog_features_research"),
        ("sylvia", "agog_features_critique"),
        ("roy", "agog_features_backend"),
        ("jen", "agog_features_frontend"),
        ("billy", "agog_features_qa"),
        ("priya", "agog_features_statistics"),
    ];
    let operator = Bus::open(nats.operator("operator")).await.unwrap();
    operator.ready().await;
    for (count, (member, stream)) in team.iter().enumerate() {
        let address = format!("deliverables/agog/{member}/report/csv-export");
        let stored = put(&agent, &address, "A report. It has words.").await;
        assert_eq!(stored.sequence, 1, "the first in its stream");
        let infos = operator.streams().list().await.unwrap();
        let of = |name: &str| infos.iter().find(|info| info.name() == name).map(|i| i.messages);
        assert_eq!(of(stream), Some(1), "{member}");
        let team_streams = infos.iter().filter(|info| info.name().starts_with("agog_"));
        assert_eq!(team_streams.map(|info| info.messages).sum::<u64>(), count as u64 + 1);
        assert_eq!(of(Stream::Deliverables.name()), Some(0));
        let found = gateway.fetch(&Address::parse(&address).unwrap()).await.unwrap().unwrap();
        assert_eq!(found.address, stored.address);
    }
    assert_eq!(all(&gateway, listing("agog")).await.len(), 6);
    let roy = Listing { agent: "roy".into(), ..listing("agog") };
    assert_eq!(all(&gateway, roy).await, ["deliverables/agog/roy/report/csv-export@1"]);
}

#[tokio::test]
async fn the_10001st_deliverable_of_a_member_evicts_the_first() {
    let nats = NatsServer::start().await;
    let agent = open(&nats, "agent").await;
    let first = put(&agent, "deliverables/agog/priya/report/first", "The first.").await;
    let client = nats.client("operator").await;
    for number in 0..10_000 {
        let subject = format!("agog.deliverables.priya.report.f{number}");
        client.publish(subject, "{}".into()).await.unwrap();
    }
    client.flush().await.unwrap();
    let operator = Bus::open(nats.operator("operator")).await.unwrap();
    operator.ready().await;
    let deadline = Duration::from_secs(60);
    eventually(deadline, "the stream has 10,000 messages, and the first is gone", || async {
        let info = operator.streams().info("agog_features_statistics").await.unwrap().unwrap();
        let full = (info.messages, info.first_sequence, info.last_sequence);
        if full == (10_000, 2, 10_001) { Ok(()) } else { Err(format!("{full:?}")) }
    })
    .await;
    assert!(agent.fetch(&first.address).await.unwrap().is_none());
}
