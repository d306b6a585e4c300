//! What the server should have, as the contract says: streams, and the streams behind buckets and object stores.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Republish, RetentionPolicy, Source, StorageType,
};
use muster_contracts::permissions::{buckets_of, on_demand, stores_of, streams_of};
use muster_contracts::{
    Bucket, BucketSettings, Discard, ObjectStore, Retention, Storage, Stream, StreamSettings,
    contract_version,
};

use crate::Settings;

/// The stream's metadata that says by which contract it was set up.
pub(crate) const CONTRACT: &str = "muster.contract";
/// The stream's metadata that says by which version of the program it was set up.
pub(crate) const PROGRAM: &str = "muster.version";
/// Several agents' journals, timers and replicas each have consumers of their own; the server's default is 1,000.
const MAX_CONSUMERS: i32 = 100_000;

/// What a service needs.
pub(crate) fn of_service(settings: &Settings) -> Vec<Config> {
    let service = settings.service.as_str();
    let streams = streams_of(service).into_iter().filter(|stream| !on_demand(*stream));
    let streams = streams.map(|stream| of_stream(stream, settings));
    let buckets = buckets_of(service).into_iter().map(|bucket| of_bucket(bucket, settings));
    let stores = stores_of(service).into_iter().map(|store| of_store(store, settings));
    streams.chain(buckets).chain(stores).collect()
}

/// Everything, sources before what copies them.
pub(crate) fn all(settings: &Settings) -> Vec<Config> {
    let mut streams = Stream::ALL.to_vec();
    streams.sort_by_key(|stream| !stream.settings().sources.is_empty());
    let streams = streams.into_iter().map(|stream| of_stream(stream, settings));
    let buckets = Bucket::ALL.iter().map(|bucket| of_bucket(*bucket, settings));
    let stores = ObjectStore::ALL.iter().map(|store| of_store(*store, settings));
    streams.chain(buckets).chain(stores).collect()
}

pub(crate) fn of_stream(stream: Stream, settings: &Settings) -> Config {
    let wanted = stream.settings();
    Config {
        name: stream.name().to_owned(),
        subjects: stream.subjects(),
        retention: match wanted.retention {
            Retention::Limits => RetentionPolicy::Limits,
            Retention::WorkQueue => RetentionPolicy::WorkQueue,
        },
        discard: match wanted.discard {
            Discard::Old => DiscardPolicy::Old,
            Discard::New => DiscardPolicy::New,
        },
        max_age: Duration::from_secs(wanted.max_age_s),
        max_messages: limit(wanted.max_messages),
        max_message_size: i32::try_from(limit(wanted.max_message_bytes)).unwrap_or(i32::MAX),
        duplicate_window: Duration::from_secs(wanted.duplicate_window_s),
        allow_direct: wanted.allow_direct,
        allow_message_ttl: wanted.allow_ttl,
        allow_message_schedules: wanted.allow_schedules,
        allow_atomic_publish: wanted.allow_atomic,
        no_ack: wanted.no_ack,
        sources: sources(&wanted),
        republish: wanted.republish.map(|(source, destination)| Republish {
            source: source.to_owned(),
            destination: destination.to_owned(),
            headers_only: false,
        }),
        max_consumers: MAX_CONSUMERS,
        ..kept(wanted.storage, wanted.max_bytes, settings)
    }
}

/// As clients of NATS make a bucket.
fn of_bucket(bucket: Bucket, settings: &Settings) -> Config {
    let name = bucket.name();
    Config {
        name: format!("KV_{name}"),
        subjects: vec![format!("$KV.{name}.>")],
        max_messages_per_subject: 1,
        deny_delete: true,
        ..of_values(&bucket.settings(), settings)
    }
}

/// As clients of NATS make an object store.
fn of_store(store: ObjectStore, settings: &Settings) -> Config {
    let name = store.name();
    Config {
        name: format!("OBJ_{name}"),
        subjects: vec![format!("$O.{name}.C.>"), format!("$O.{name}.M.>")],
        // A replica that is behind would say that an object is not there.
        allow_direct: false,
        ..of_values(&store.settings(), settings)
    }
}

fn of_values(wanted: &BucketSettings, settings: &Settings) -> Config {
    let max_age = Duration::from_secs(wanted.max_age_s);
    let window = Duration::from_secs(120);
    Config {
        max_age,
        duplicate_window: if max_age.is_zero() { window } else { window.min(max_age) },
        discard: DiscardPolicy::New,
        allow_rollup: true,
        allow_direct: true,
        allow_message_ttl: wanted.allow_ttl,
        ..kept(wanted.storage, wanted.max_bytes, settings)
    }
}

fn kept(storage: Storage, max_bytes: u64, settings: &Settings) -> Config {
    Config {
        storage: match storage {
            Storage::File => StorageType::File,
            Storage::Memory => StorageType::Memory,
        },
        max_bytes: limit(max_bytes.saturating_mul(u64::from(settings.bytes_percent)) / 100),
        num_replicas: settings.replicas,
        metadata: HashMap::from([
            (CONTRACT.to_owned(), contract_version()),
            (PROGRAM.to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ]),
        ..Config::default()
    }
}

fn sources(wanted: &StreamSettings) -> Option<Vec<Source>> {
    let sources = wanted.sources.iter().map(|(source, filter)| Source {
        name: source.name().to_owned(),
        filter_subject: Some((*filter).to_owned()),
        ..Source::default()
    });
    (!wanted.sources.is_empty()).then(|| sources.collect())
}

/// The server knows no limit as -1.
fn limit(limit: u64) -> i64 {
    if limit == 0 { -1 } else { i64::try_from(limit).unwrap_or(i64::MAX) }
}

/// A setting of a stream that is not what the contract says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The setting, by the name that NATS gives it.
    pub field: &'static str,
    /// What the server has.
    pub from: String,
    /// What the contract says.
    pub to: String,
}

/// Where a stream is not what it should be. The version of the contract is not a setting.
pub(crate) fn differences(actual: &Config, wanted: &Config) -> Vec<Difference> {
    facts(actual)
        .into_iter()
        .zip(facts(wanted))
        .filter(|((_, from), (_, to))| from != to)
        .map(|((field, from), (_, to))| Difference { field, from, to })
        .collect()
}

/// The settings that the contract decides, each as a person reads it.
fn facts(config: &Config) -> Vec<(&'static str, String)> {
    let most = |number: i64| if number <= 0 { "no limit".to_owned() } else { number.to_string() };
    let seconds = |time: Duration| match time.as_secs() {
        0 => "no limit".to_owned(),
        seconds => format!("{seconds} s"),
    };
    let mut subjects = config.subjects.clone();
    subjects.sort();
    let sources = config.sources.iter().flatten().map(|source| {
        format!("{} {}", source.name, source.filter_subject.as_deref().unwrap_or(">"))
    });
    let republish = config.republish.as_ref();
    vec![
        ("subjects", subjects.join(" ")),
        ("storage", format!("{:?}", config.storage).to_lowercase()),
        ("retention", format!("{:?}", config.retention).to_lowercase()),
        ("discard", format!("{:?}", config.discard).to_lowercase()),
        ("num_replicas", config.num_replicas.to_string()),
        ("max_age", seconds(config.max_age)),
        ("max_msgs", most(config.max_messages)),
        ("max_msgs_per_subject", most(config.max_messages_per_subject)),
        ("max_bytes", most(config.max_bytes)),
        ("max_msg_size", most(config.max_message_size.into())),
        ("max_consumers", most(config.max_consumers.into())),
        ("duplicate_window", seconds(config.duplicate_window)),
        ("allow_direct", config.allow_direct.to_string()),
        ("allow_msg_ttl", config.allow_message_ttl.to_string()),
        ("allow_msg_schedules", config.allow_message_schedules.to_string()),
        ("allow_atomic", config.allow_atomic_publish.to_string()),
        ("no_ack", config.no_ack.to_string()),
        ("sources", sources.collect::<Vec<_>>().join(", ")),
        (
            "republish",
            republish.map_or_else(String::new, |republish| {
                format!("{} -> {}", republish.source, republish.destination)
            }),
        ),
    ]
}
