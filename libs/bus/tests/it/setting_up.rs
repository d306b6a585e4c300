//! Streams are set up by an operator, created by services where they are missing, and changed by nobody else.

use muster_bus::{Bus, Settings, StreamChange};
use muster_contracts::{Code, Stream, contract_version};
use muster_testkit::NatsServer;

use crate::connect;
use crate::log::Log;

async fn operator(nats: &NatsServer) -> Bus {
    open(Settings { creates_streams: false, ..nats.operator("operator") }).await
}

async fn open(settings: Settings) -> Bus {
    let bus = Bus::open(settings).await.unwrap();
    bus.ready().await;
    bus
}

/// A stream of the contract as somebody else left it.
async fn leave(nats: &NatsServer, change: impl FnOnce(&mut async_nats::jetstream::stream::Config)) {
    let jetstream = async_nats::jetstream::new(nats.client("operator").await);
    let mut config =
        jetstream.get_stream(Stream::Dlq.name()).await.unwrap().cached_info().config.clone();
    change(&mut config);
    jetstream.update_stream(config).await.unwrap();
}

#[tokio::test]
async fn applying_makes_every_stream_of_the_contract_and_a_second_time_changes_nothing() {
    let nats = NatsServer::start().await;
    let streams = operator(&nats).await.streams();
    let plan = streams.plan().await.unwrap();
    assert!(plan.changes.iter().all(|(_, change)| *change == StreamChange::Create));
    assert!(streams.list().await.unwrap().is_empty(), "a plan changes nothing");
    streams.apply(&plan).await.unwrap();
    let again = streams.plan().await.unwrap();
    assert!(again.is_empty(), "{:?}", again.changes);
    for stream in Stream::ALL {
        let info = streams.info(stream.name()).await.unwrap().unwrap();
        assert_eq!(info.config["max_age"], stream.settings().max_age_s * 1_000_000_000);
        assert_eq!(
            info.config["duplicate_window"],
            stream.settings().duplicate_window_s * 1_000_000_000
        );
    }
    assert!(streams.info("NOTHING").await.unwrap().is_none());
}

#[tokio::test]
async fn a_setting_that_differs_is_shown_and_put_right_and_what_is_not_the_contracts_stays() {
    let nats = NatsServer::start().await;
    let streams = operator(&nats).await.streams();
    streams.apply(&streams.plan().await.unwrap()).await.unwrap();
    leave(&nats, |config| {
        config.max_age = std::time::Duration::from_secs(3600);
        config.description = Some("ours".into());
    })
    .await;
    let plan = streams.plan().await.unwrap();
    let changed: Vec<_> =
        plan.changes.iter().filter(|(_, change)| *change != StreamChange::None).collect();
    let [(name, StreamChange::Update(fields))] = changed.as_slice() else { panic!("{changed:?}") };
    assert_eq!((name.as_str(), fields.len()), ("DLQ", 1));
    assert_eq!((fields[0].field, fields[0].from.as_str()), ("max_age", "3600 s"));
    streams.apply(&plan).await.unwrap();
    assert!(streams.plan().await.unwrap().is_empty());
    let info = streams.info("DLQ").await.unwrap().unwrap();
    assert_eq!(info.config["description"], "ours");
}

#[tokio::test]
async fn room_is_measured_before_anything_is_made() {
    let nats = NatsServer::start_with_store("max_file_store: 4GB").await;
    let streams = operator(&nats).await.streams();
    let plan = streams.plan().await.unwrap();
    let fault = streams.apply(&plan).await.unwrap_err();
    assert_eq!(fault.code, Code::Exhausted);
    for word in ["4095 MiB", "disk", "max_file_store", "NATS_STREAM_BYTES_PERCENT"] {
        assert!(fault.message.contains(word), "no {word:?} in {fault}");
    }
    assert!(streams.list().await.unwrap().is_empty());
    let some = Settings { bytes_percent: 10, creates_streams: false, ..nats.operator("operator") };
    let streams = open(some).await.streams();
    streams.apply(&streams.plan().await.unwrap()).await.unwrap();
    assert!(streams.plan().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_service_changes_no_stream_and_says_what_differs_and_that_the_contract_is_another() {
    let nats = NatsServer::start().await;
    drop(connect(&nats, "gateway").await);
    leave(&nats, |config| {
        config.max_age = std::time::Duration::from_secs(3600);
        config.metadata.insert("muster.contract".into(), "0123456789ab".into());
        config.metadata.insert("muster.version".into(), "9.9.9".into());
    })
    .await;
    let (log, _logging) = Log::capture();
    let bus = connect(&nats, "tool").await;
    let differs = log.lines("is not what the contract says");
    assert_eq!(differs.len(), 1, "{differs:?}");
    for word in ["WARN", "DLQ", "max_age", "3600 s", "2592000 s", "muster streams apply"] {
        assert!(differs[0].contains(word), "no {word:?} in {differs:?}");
    }
    let other = log.lines("another version of the contract");
    assert_eq!(other.len(), 1, "{other:?}");
    for word in ["WARN", "0123456789ab (muster 9.9.9)", &contract_version()] {
        assert!(other[0].contains(word), "no {word:?} in {other:?}");
    }
    drop(bus);
    let streams = operator(&nats).await.streams();
    assert_eq!(
        streams.info("DLQ").await.unwrap().unwrap().config["max_age"],
        3_600_000_000_000_u64
    );
}

#[tokio::test]
async fn a_stream_that_the_server_has_no_room_for_is_named_with_what_helps() {
    // Room for those of the start, and not for one of 1 GiB that comes with its first message.
    let nats = NatsServer::start_with_store("max_file_store: 1000MB").await;
    let agent = open(nats.settings("agent")).await;
    let fault = agent.provide(Stream::AgogFeaturesQa).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    for word in ["agog_features_qa", "1024 MiB", "max_file_store", "NATS_STREAM_BYTES_PERCENT"] {
        assert!(fault.message.contains(word), "no {word:?} in {fault}");
    }
}
