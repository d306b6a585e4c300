//! Streams, buckets and the object store, as the contract says.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::{self, kv, object_store, stream};
use muster_contracts::{Bucket, Code, Discard, Fault, Retention, Storage, Stream, StreamSettings};

use crate::{Settings, artifacts};

/// The oldest server that can do what the bus needs: cron schedules came with 2.14.
const OLDEST_SERVER: (i64, i64) = (2, 14);

pub(crate) async fn all(
    jetstream: &jetstream::Context,
    client: &Client,
    settings: &Settings,
) -> Result<(), Fault> {
    if !client.is_server_compatible(OLDEST_SERVER.0, OLDEST_SERVER.1, 0) {
        let version = client.server_info().version;
        return Err(Fault::new(
            Code::Unavailable,
            format!(
                "nats-server is {version}, but must be {}.{} or newer",
                OLDEST_SERVER.0, OLDEST_SERVER.1
            ),
        ));
    }
    for stream in Stream::ALL {
        let config = stream_config(*stream, settings.replicas);
        jetstream
            .create_or_update_stream(config)
            .await
            .map_err(|error| failed("stream", stream.name(), &error))?;
    }
    for bucket in Bucket::ALL {
        ensure_bucket(jetstream, *bucket, settings.replicas).await?;
    }
    ensure_object_store(jetstream, settings.replicas).await
}

fn stream_config(stream: Stream, replicas: usize) -> stream::Config {
    let settings = stream.settings();
    stream::Config {
        name: stream.name().to_owned(),
        subjects: stream.subjects(),
        storage: storage(settings.storage),
        retention: match settings.retention {
            Retention::Limits => stream::RetentionPolicy::Limits,
            Retention::WorkQueue => stream::RetentionPolicy::WorkQueue,
        },
        discard: match settings.discard {
            Discard::Old => stream::DiscardPolicy::Old,
            Discard::New => stream::DiscardPolicy::New,
        },
        num_replicas: replicas,
        max_age: Duration::from_secs(settings.max_age_s),
        max_messages: limit(settings.max_messages),
        max_bytes: limit(settings.max_bytes),
        max_message_size: if settings.max_message_bytes == 0 {
            -1
        } else {
            i32::try_from(settings.max_message_bytes).unwrap_or(i32::MAX)
        },
        duplicate_window: Duration::from_secs(settings.duplicate_window_s),
        allow_direct: settings.allow_direct,
        allow_message_ttl: settings.allow_ttl,
        allow_message_schedules: settings.allow_schedules,
        allow_atomic_publish: settings.allow_atomic,
        no_ack: settings.no_ack,
        sources: sources(&settings),
        republish: settings.republish.map(|(source, destination)| stream::Republish {
            source: source.to_owned(),
            destination: destination.to_owned(),
            headers_only: false,
        }),
        max_consumers: 100_000,
        ..Default::default()
    }
}

fn sources(settings: &StreamSettings) -> Option<Vec<stream::Source>> {
    let sources = settings.sources.iter().map(|(source, filter)| stream::Source {
        name: source.name().to_owned(),
        filter_subject: Some((*filter).to_owned()),
        ..Default::default()
    });
    (!settings.sources.is_empty()).then(|| sources.collect())
}

const fn storage(storage: Storage) -> stream::StorageType {
    match storage {
        Storage::File => stream::StorageType::File,
        Storage::Memory => stream::StorageType::Memory,
    }
}

/// The server knows no limit as -1.
fn limit(limit: u64) -> i64 {
    if limit == 0 { -1 } else { i64::try_from(limit).unwrap_or(i64::MAX) }
}

async fn ensure_bucket(
    jetstream: &jetstream::Context,
    bucket: Bucket,
    replicas: usize,
) -> Result<(), Fault> {
    let settings = bucket.settings();
    let config = kv::Config {
        bucket: bucket.name().to_owned(),
        history: 1,
        max_age: Duration::from_secs(settings.max_age_s),
        max_bytes: limit(settings.max_bytes),
        storage: storage(settings.storage),
        num_replicas: replicas,
        ..Default::default()
    };
    if jetstream.get_key_value(bucket.name()).await.is_err() {
        jetstream
            .create_key_value(config)
            .await
            .map_err(|error| failed("bucket", bucket.name(), &error))?;
    }
    Ok(())
}

async fn ensure_object_store(jetstream: &jetstream::Context, replicas: usize) -> Result<(), Fault> {
    if jetstream.get_object_store(artifacts::STORE).await.is_err() {
        let config = object_store::Config {
            bucket: artifacts::STORE.to_owned(),
            max_age: artifacts::MAX_AGE,
            num_replicas: replicas,
            storage: stream::StorageType::File,
            ..Default::default()
        };
        jetstream
            .create_object_store(config)
            .await
            .map_err(|error| failed("object store", artifacts::STORE, &error))?;
    }
    Ok(())
}

fn failed(kind: &str, name: &str, error: &dyn std::error::Error) -> Fault {
    Fault::new(Code::Unavailable, format!("{kind} {name} could not be created: {error}"))
}
