//! The streams of the whole platform, as an operator sees and sets them up.

use async_nats::jetstream::context::CreateStreamErrorKind;
use async_nats::jetstream::stream::{Config, StorageType};
use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use muster_contracts::{Code, Fault};
use serde::Serialize;
use serde_json::Value;

use crate::desired::{self, CONTRACT, Difference, PROGRAM, differences};
use crate::ensure::{NO_ROOM, create, existing, failed};
use crate::{Bus, Settings};

/// A stream that exists for a moment only, to learn how much room the server has.
const PROBE: &str = "MUSTER_PROBE";
/// Room is measured to this many bytes.
const GRAIN: i64 = 1 << 20;
/// The largest room that is looked for: more than any server has.
const MOST_ROOM: i64 = 1 << 50;

/// The streams of the platform, buckets (`KV_…`) and object stores (`OBJ_…`) included. Only an operator may change them.
#[derive(Clone)]
pub struct Streams {
    bus: Bus,
}

/// What has to be done with a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamChange {
    /// It is not there.
    Create,
    /// These settings are not what the contract says.
    Update(Vec<Difference>),
    /// Nothing.
    None,
}

/// What has to be done.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Each stream of the contract, in the order in which it has to be done.
    pub changes: Vec<(String, StreamChange)>,
    wanted: Vec<Config>,
    /// Bytes that the server would have to reserve for each.
    needs: Vec<(StorageType, i64)>,
}

impl Plan {
    /// How many streams are not as they should be.
    #[must_use]
    pub fn len(&self) -> usize {
        self.changes.iter().filter(|(_, change)| *change != StreamChange::None).count()
    }

    /// The part of it that is about these streams.
    #[must_use]
    pub fn only(self, names: &[String]) -> Self {
        let Self { changes, wanted, needs } = self;
        let all = changes.into_iter().zip(wanted).zip(needs);
        let kept = all.filter(|(((name, _), _), _)| names.contains(name));
        let (changes, needs): (Vec<_>, Vec<_>) = kept.unzip();
        let (changes, wanted) = changes.into_iter().unzip();
        Self { changes, wanted, needs }
    }

    /// Bytes that the server would have to reserve on this storage.
    fn room(&self, storage: StorageType) -> i64 {
        let needs = self.needs.iter().filter(|(kind, _)| *kind == storage);
        needs.fold(0, |sum: i64, (_, bytes)| sum.saturating_add(*bytes))
    }

    /// Whether everything is as it should be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A stream as the server has it.
#[derive(Clone, Debug, Serialize)]
pub struct StreamInfo {
    /// Its settings, by the names that NATS gives them; times in nanoseconds.
    pub config: Value,
    /// How many messages it has.
    pub messages: u64,
    /// How many bytes they take.
    pub bytes: u64,
    /// The sequence of the oldest.
    pub first_sequence: u64,
    /// The sequence of the newest.
    pub last_sequence: u64,
    /// How many consumers read it.
    pub consumers: usize,
    /// When it was created.
    pub created: DateTime<Utc>,
}

impl StreamInfo {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.config.get("name").and_then(Value::as_str).unwrap_or_default()
    }
}

impl Bus {
    /// The streams of the platform.
    #[must_use]
    pub fn streams(&self) -> Streams {
        Streams { bus: self.clone() }
    }
}

impl Bus {
    /// The version of the server; empty before the first connection.
    #[must_use]
    pub fn server_version(&self) -> String {
        self.client().server_info().version
    }
}

impl Streams {
    /// Whether the server can reserve so many bytes of disk, and then its clock: a stream is made for a moment. None: it cannot.
    ///
    /// # Errors
    /// UNAVAILABLE where the server cannot be asked.
    pub async fn probe(&self, bytes: u64) -> Result<Option<DateTime<Utc>>, Fault> {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        self.bus.unless_down(self.reserve(StorageType::File, bytes)).await
    }

    /// What has to be done so that every stream is as the contract says. Changes nothing.
    ///
    /// # Errors
    /// UNAVAILABLE where the server cannot be asked.
    pub async fn plan(&self) -> Result<Plan, Fault> {
        self.bus.unless_down(self.compare()).await
    }

    /// Does what is planned, all or nothing as far as room is concerned: it is measured first.
    ///
    /// # Errors
    /// EXHAUSTED where the server has too little room, with the figures; CONFLICT where a setting cannot be changed on a stream that is there; UNAVAILABLE where the server cannot be asked.
    pub async fn apply(&self, plan: &Plan) -> Result<(), Fault> {
        for storage in [StorageType::File, StorageType::Memory] {
            self.check_room(storage, plan.room(storage)).await?;
        }
        let jetstream = self.bus.jetstream();
        for ((name, change), wanted) in plan.changes.iter().zip(&plan.wanted) {
            match change {
                StreamChange::None => {}
                StreamChange::Create => {
                    create(jetstream, wanted)
                        .await
                        .map_err(|error| failed(name, "created", &error))?;
                }
                StreamChange::Update(_) => {
                    jetstream.update_stream(wanted).await.map_err(|error| {
                        let text = format!(
                            "stream {name} could not be changed: {error}. What NATS cannot change needs a new stream: move its messages (`nats stream backup`, `restore`), delete it and apply again"
                        );
                        Fault::new(Code::Conflict, text)
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Every stream on the server, by name.
    ///
    /// # Errors
    /// UNAVAILABLE where the server cannot be asked.
    pub async fn list(&self) -> Result<Vec<StreamInfo>, Fault> {
        let operation = async {
            let found = self.bus.jetstream().streams().try_collect::<Vec<_>>().await;
            let mut infos = found
                .map_err(|error| {
                    Fault::new(Code::Unavailable, format!("streams could not be listed: {error}"))
                })?
                .iter()
                .map(info)
                .collect::<Result<Vec<_>, _>>()?;
            infos.sort_by(|a, b| a.name().cmp(b.name()));
            Ok(infos)
        };
        self.bus.unless_down(operation).await
    }

    /// One stream; none where there is none with this name.
    ///
    /// # Errors
    /// UNAVAILABLE where the server cannot be asked.
    pub async fn info(&self, name: &str) -> Result<Option<StreamInfo>, Fault> {
        let all = self.list().await?;
        Ok(all.into_iter().find(|stream| stream.name() == name))
    }

    async fn compare(&self) -> Result<Plan, Fault> {
        let (mut changes, mut wanted, mut needs) = (Vec::new(), Vec::new(), Vec::new());
        for config in desired::all(&self.bus.inner.settings) {
            let actual = existing(self.bus.jetstream(), &config.name).await?;
            let has = actual.as_ref().map_or(0, reserved);
            needs.push((config.storage, reserved(&config).saturating_sub(has).max(0)));
            changes.push((config.name.clone(), change(actual.as_ref(), &config)));
            wanted.push(
                actual.map_or_else(|| config.clone(), |actual| keep_the_rest(actual, &config)),
            );
        }
        Ok(Plan { changes, wanted, needs })
    }

    /// Asks the server for the whole room at once, by a stream that is removed again.
    async fn check_room(&self, storage: StorageType, bytes: i64) -> Result<(), Fault> {
        if bytes == 0 || self.has_room(storage, bytes).await? {
            return Ok(());
        }
        let (mut fits, mut fits_not) = (0, bytes.min(MOST_ROOM));
        while fits_not - fits > GRAIN {
            let middle = fits + (fits_not - fits) / 2;
            if self.has_room(storage, middle).await? { fits = middle } else { fits_not = middle }
        }
        let (what, limit) = match storage {
            StorageType::File => ("disk", "max_file_store"),
            StorageType::Memory => ("memory", "max_memory_store"),
        };
        let settings: &Settings = &self.bus.inner.settings;
        Err(Fault::new(
            Code::Exhausted,
            format!(
                "the streams need {} MiB of {what}, but the server has {} MiB left: raise {limit} in nats-server's jetstream block, or lower NATS_STREAM_BYTES_PERCENT (it is {})",
                bytes / GRAIN,
                fits / GRAIN,
                settings.bytes_percent
            ),
        ))
    }

    async fn has_room(&self, storage: StorageType, bytes: i64) -> Result<bool, Fault> {
        Ok(self.reserve(storage, bytes).await?.is_some())
    }

    /// Reserves room for a moment, and tells when that was by the server's clock.
    async fn reserve(
        &self,
        storage: StorageType,
        bytes: i64,
    ) -> Result<Option<DateTime<Utc>>, Fault> {
        let jetstream = self.bus.jetstream();
        let probe = Config {
            name: PROBE.to_owned(),
            subjects: vec![PROBE.to_owned()],
            storage,
            max_bytes: bytes,
            num_replicas: self.bus.inner.settings.replicas,
            ..Config::default()
        };
        match create(jetstream, &probe).await {
            Ok(probe) => {
                let created = created(probe.cached_info());
                jetstream
                    .delete_stream(PROBE)
                    .await
                    .map_err(|error| failed(PROBE, "removed", &error))?;
                Ok(Some(created))
            }
            Err(error)
                if matches!(error.kind(), CreateStreamErrorKind::JetStream(error)
                    if NO_ROOM.contains(&error.error_code())) =>
            {
                Ok(None)
            }
            Err(error) => Err(failed(PROBE, "created", &error)),
        }
    }
}

/// The server reserves `max_bytes` when it creates a stream.
fn reserved(config: &Config) -> i64 {
    config.max_bytes.max(0)
}

fn change(actual: Option<&Config>, wanted: &Config) -> StreamChange {
    let Some(actual) = actual else { return StreamChange::Create };
    let mut found = differences(actual, wanted);
    for field in [CONTRACT, PROGRAM] {
        let of = |config: &Config| config.metadata.get(field).cloned().unwrap_or_default();
        if of(actual) != of(wanted) {
            found.push(Difference { field, from: of(actual), to: of(wanted) });
        }
    }
    if found.is_empty() { StreamChange::None } else { StreamChange::Update(found) }
}

/// What the contract does not decide stays as an operator has set it.
fn keep_the_rest(actual: Config, wanted: &Config) -> Config {
    let mut metadata = actual.metadata;
    metadata.extend(wanted.metadata.clone());
    Config {
        metadata,
        description: actual.description,
        placement: actual.placement,
        compression: actual.compression,
        consumer_limits: actual.consumer_limits,
        first_sequence: actual.first_sequence,
        ..wanted.clone()
    }
}

fn info(found: &async_nats::jetstream::stream::Info) -> Result<StreamInfo, Fault> {
    let config = serde_json::to_value(&found.config)
        .map_err(|error| Fault::new(Code::Internal, error.to_string()))?;
    Ok(StreamInfo {
        config,
        messages: found.state.messages,
        bytes: found.state.bytes,
        first_sequence: found.state.first_sequence,
        last_sequence: found.state.last_sequence,
        consumers: found.state.consumer_count,
        created: created(found),
    })
}

fn created(found: &async_nats::jetstream::stream::Info) -> DateTime<Utc> {
    let nanoseconds = i64::try_from(found.created.unix_timestamp_nanos()).unwrap_or_default();
    DateTime::from_timestamp_nanos(nanoseconds)
}
