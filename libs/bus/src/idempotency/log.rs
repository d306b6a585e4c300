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
use tracing::warn;

use super::Key;
use super::known::{Known, now};
use crate::Bus;

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
    let mut last = after;
    while let Some(message) = bus.next_message(stream, pattern, last + 1).await? {
        let at = u64::try_from(message.time.unix_timestamp()).unwrap_or_default();
        known.done(Key::all_of(&message.payload), at);
        last = message.sequence;
    }
    Ok(last)
}
