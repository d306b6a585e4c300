//! The log of what a process has handled: many ids in one message, and few messages.
//!
//! A message is written again with each batch, one subject for it, until it is full: a consumer that handles one event now and then still leaves one message for hundreds of ids to whoever
//! starts later.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use bytes::{Bytes, BytesMut};
use muster_contracts::Fault;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, warn};

use super::Key;
use super::known::{Known, now};
use crate::Bus;
use crate::ordered::Ordered;

/// The most ids that are taken at once.
const MOST: usize = 1024;
/// A message with so many ids is full: 4 KiB.
const FULL: usize = 256 * Key::SIZE;
/// So is one that is so old: its ids would be known for longer with each that is added.
const OLD: Duration = Duration::from_secs(3600);
/// How long a finished id waits for others.
const GATHER: Duration = Duration::from_millis(1);
/// How long one try waits for the acknowledgement.
const ACK_WAIT: Duration = Duration::from_secs(3);
/// How long after a failed try the next one begins.
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// From the how manyth message on the logs are read as a stream.
const FEW: u32 = 4;
/// How long such a reader waits for the next message.
const SILENCE: Duration = Duration::from_secs(2);

struct Entry {
    key: Key,
    written: oneshot::Sender<()>,
}

/// The log of one process for one consumer.
pub(super) struct Log {
    entries: mpsc::Sender<Entry>,
    _writing: AbortOnDropHandle<()>,
}

impl Log {
    /// `prefix`: what the subjects of its messages begin with.
    pub(super) fn start(bus: &Bus, prefix: String, known: Arc<Known>) -> Self {
        let (entries, received) = mpsc::channel(4 * MOST);
        let writing = tokio::spawn(write(bus.clone(), prefix, known, received));
        Self { entries, _writing: AbortOnDropHandle::new(writing) }
    }

    /// Returns when the broker has it.
    pub(super) async fn record(&self, key: Key) {
        let (written, told) = oneshot::channel();
        // Both fail only when the log is dropped, and its owner with it.
        if self.entries.send(Entry { key, written }).await.is_ok() {
            drop(told.await);
        }
    }
}

async fn write(bus: Bus, prefix: String, known: Arc<Known>, mut received: mpsc::Receiver<Entry>) {
    let mut entries = Vec::with_capacity(MOST);
    let mut ids = BytesMut::new();
    let (mut number, mut begun) = (0_u64, Instant::now());
    while received.recv_many(&mut entries, MOST).await > 0 {
        // Handlers that finish soon after share the message: nobody but the broker waits for it.
        tokio::time::sleep(GATHER).await;
        while entries.len() < MOST
            && let Ok(entry) = received.try_recv()
        {
            entries.push(entry);
        }
        if ids.len() >= FULL || begun.elapsed() >= OLD {
            ids.clear();
            number += 1;
        }
        if ids.is_empty() {
            begun = Instant::now();
        }
        entries.iter().for_each(|entry| ids.extend_from_slice(&entry.key.0));
        store(&bus, format!("{prefix}.{number}"), Bytes::copy_from_slice(&ids)).await;
        known.done(entries.iter().map(|entry| entry.key), now());
        for entry in entries.drain(..) {
            // Nobody listens where the message's task was cut off.
            let _told = entry.written.send(());
        }
    }
}

/// Tries until the broker has it: the effects are made, and nobody but this process knows of it.
async fn store(bus: &Bus, subject: String, body: Bytes) {
    loop {
        let message = PublishMessage::build().payload(body.clone());
        let attempt = async { bus.jetstream().send_publish(subject.clone(), message).await?.await };
        match tokio::time::timeout(ACK_WAIT, attempt).await {
            Ok(Ok(_stored)) => return,
            Ok(Err(error)) => warn!(%error, "handled ids could not be recorded, will try again"),
            Err(_elapsed) => warn!("handled ids were not recorded in time, will try again"),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    }
}

/// Reads the logs of all processes from a sequence on to their end, as the stream's leader has them. Returns the last sequence.
pub(super) async fn read(
    bus: &Bus,
    stream: &str,
    pattern: &str,
    after: u64,
    known: &Known,
) -> Result<u64, Fault> {
    let end = bus.last_message(stream, pattern).await?.map_or(0, |message| message.sequence);
    let (mut last, mut count) = (after, 0);
    while last < end {
        // A few are asked for one by one, which takes less than a reader of its own.
        count += 1;
        if count == FEW {
            last = read_many(bus, stream, pattern, (last, end), known).await;
            continue;
        }
        let Some(message) = bus.next_message(stream, pattern, last + 1).await? else { break };
        known.done(Key::all_of(&message.payload), at(message.time.unix_timestamp()));
        last = message.sequence;
    }
    Ok(last)
}

/// The same, behind the first sequence and up to the second one, at most: whatever ends it before, the rest is asked for one by one.
///
/// What comes may be from a replica that is behind. Such a one has older messages of the same logs, and more of them come up to the end: a log only grows.
async fn read_many(
    bus: &Bus,
    stream: &str,
    pattern: &str,
    (after, end): (u64, u64),
    known: &Known,
) -> u64 {
    let mut last = after;
    let reading = async {
        let mut messages = Ordered::open(bus, stream, &[pattern.to_owned()], after + 1).await?;
        while last < end {
            let message = tokio::time::timeout(SILENCE, messages.next()).await??;
            let info = message.info()?;
            known.done(Key::all_of(&message.payload), at(info.published.unix_timestamp()));
            last = info.stream_sequence;
        }
        Ok::<_, async_nats::Error>(())
    };
    if let Err(error) = Box::pin(reading).await {
        debug!(%error, "handled ids are read one by one");
    }
    last
}

fn at(unix_s: i64) -> u64 {
    u64::try_from(unix_s).unwrap_or_default()
}
