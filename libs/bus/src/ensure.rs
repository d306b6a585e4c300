//! What a service needs on the server: it creates what is missing, and says where something is not what the contract says.

use std::time::Duration;

use async_nats::Client;
use async_nats::jetstream::context::{
    CreateStreamError, CreateStreamErrorKind, GetStreamErrorKind,
};
use async_nats::jetstream::{self, ErrorCode, stream};
use muster_contracts::{Code, Fault};
use tracing::warn;

use crate::Settings;
use crate::desired::{self, CONTRACT, PROGRAM, differences};

/// The oldest server that can do what the bus needs: cron schedules came with 2.14.
const OLDEST_SERVER: (i64, i64) = (2, 14);

/// `quiet`: it was said before.
pub(crate) async fn all(
    jetstream: &jetstream::Context,
    client: &Client,
    settings: &Settings,
    quiet: bool,
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
    if !settings.creates_streams {
        return Ok(());
    }
    let mut others = Vec::new();
    for wanted in desired::of_service(settings) {
        let Some(actual) = ensure(jetstream, &wanted).await? else { continue };
        if quiet {
            continue;
        }
        for difference in differences(&actual, &wanted) {
            let (field, from, to) = (difference.field, difference.from, difference.to);
            warn!(
                stream = wanted.name,
                field,
                is = from,
                contract = to,
                "a stream is not what the contract says: run `muster streams apply`"
            );
        }
        if actual.metadata.get(CONTRACT) != wanted.metadata.get(CONTRACT) {
            others.push(actual);
        }
    }
    if let Some(first) = others.first() {
        warn!(
            streams = others.len(),
            theirs = version(first),
            ours = format!(
                "{} (muster {})",
                muster_contracts::contract_version(),
                env!("CARGO_PKG_VERSION")
            ),
            "the streams were set up by another version of the contract: update this service, or run `muster streams apply` where it is the newer one"
        );
    }
    Ok(())
}

/// The contract and the program that set a stream up.
fn version(config: &stream::Config) -> String {
    let of = |name| config.metadata.get(name).map_or("unknown", String::as_str);
    format!("{} (muster {})", of(CONTRACT), of(PROGRAM))
}

/// The stream as it is; none where it was created just now.
pub(crate) async fn ensure(
    jetstream: &jetstream::Context,
    wanted: &stream::Config,
) -> Result<Option<stream::Config>, Fault> {
    match existing(jetstream, &wanted.name).await? {
        Some(found) => Ok(Some(found)),
        None => match create(jetstream, wanted).await {
            Ok(_created) => Ok(None),
            // Another service was faster, and has it otherwise.
            Err(error)
                if matches!(error.kind(), CreateStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_NAME_EXIST) =>
            {
                existing(jetstream, &wanted.name).await
            }
            Err(error)
                if matches!(error.kind(), CreateStreamErrorKind::JetStream(error)
                    if NO_ROOM.contains(&error.error_code())) =>
            {
                Err(Fault::new(
                    Code::Unavailable,
                    format!(
                        "stream {} could not be created, as it reserves {} MiB and nats-server has less to give: {MORE_ROOM}",
                        wanted.name,
                        wanted.max_bytes.max(0) / MIB
                    ),
                ))
            }
            Err(error) => Err(failed(&wanted.name, "created", &error)),
        },
    }
}

/// Creates a stream.
///
/// A server removes the folder of all streams behind the last of them, a moment after it said that this one is removed. A stream that is
/// created in that moment fails, and does not fail the next time.
pub(crate) async fn create(
    jetstream: &jetstream::Context,
    wanted: &stream::Config,
) -> Result<stream::Stream, CreateStreamError> {
    for _ in 0..RETRIES {
        match Box::pin(jetstream.create_stream(wanted)).await {
            Err(error)
                if matches!(error.kind(), CreateStreamErrorKind::JetStream(error)
                    if error.error_code() == ErrorCode::STREAM_CREATE) =>
            {
                tokio::time::sleep(RETRY_AFTER).await;
            }
            settled => return settled,
        }
    }
    Box::pin(jetstream.create_stream(wanted)).await
}

const RETRIES: u32 = 5;
const RETRY_AFTER: Duration = Duration::from_millis(50);

/// The server's answers where a stream does not fit: on disk, in memory, by the account's limit, on any node of a cluster.
pub(crate) const NO_ROOM: [ErrorCode; 4] = [
    ErrorCode::STORAGE_RESOURCES_EXCEEDED,
    ErrorCode::MEMORY_RESOURCES_EXCEEDED,
    ErrorCode::INSUFFICIENT_RESOURCES,
    ErrorCode::CLUSTER_NO_PEERS,
];

/// What helps there.
const MORE_ROOM: &str = "raise max_file_store (max_memory_store for a stream in memory) in its jetstream block, give it more disk, or lower NATS_STREAM_BYTES_PERCENT";

const MIB: i64 = 1 << 20;

/// The stream with this name.
pub(crate) async fn existing(
    jetstream: &jetstream::Context,
    name: &str,
) -> Result<Option<stream::Config>, Fault> {
    match jetstream.get_stream(name).await {
        Ok(found) => Ok(Some(found.cached_info().config.clone())),
        Err(error)
            if matches!(error.kind(), GetStreamErrorKind::JetStream(error)
                if error.error_code() == ErrorCode::STREAM_NOT_FOUND) =>
        {
            Ok(None)
        }
        Err(error) => Err(failed(name, "looked up", &error)),
    }
}

pub(crate) fn failed(name: &str, what: &str, error: &dyn std::error::Error) -> Fault {
    Fault::new(Code::Unavailable, format!("stream {name} could not be {what}: {error}"))
}
