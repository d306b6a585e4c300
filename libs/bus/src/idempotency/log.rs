//! The log of what a process has handled: many ids in one message.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use bytes::{Bytes, BytesMut};
use muster_contracts::Fault;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use tracing::warn;

use super::Key;
use super::owner::Known;
use crate::Bus;

/// The most ids of one message: 16 KiB.
const MOST: usize = 1024;
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
    let mut number = 0_u64;
    while received.recv_many(&mut entries, MOST).await > 0 {
        // Handlers that finish soon after share the message: nobody but the broker waits for it.
        tokio::time::sleep(GATHER).await;
        while entries.len() < MOST
            && let Ok(entry) = received.try_recv()
        {
            entries.push(entry);
        }
        let mut body = BytesMut::with_capacity(entries.len() * Key::SIZE);
        entries.iter().for_each(|entry| body.extend_from_slice(&entry.key.0));
        number += 1;
        store(&bus, format!("{prefix}.{number}"), body.freeze()).await;
        for Entry { key, written } in entries.drain(..) {
            known.done(key);
            // Nobody listens where the message's task was cut off.
            let _told = written.send(());
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

/// Whether a log has this id behind a sequence, as the stream's leader knows it.
pub(super) async fn contains(
    bus: &Bus,
    stream: &str,
    prefix: &str,
    behind: u64,
    key: Key,
) -> Result<bool, Fault> {
    let pattern = format!("{prefix}.*");
    let mut from = behind + 1;
    while let Some(message) = bus.next_message(stream, &pattern, from).await? {
        if message.payload.chunks(Key::SIZE).any(|id| id == key.0) {
            return Ok(true);
        }
        from = message.sequence + 1;
    }
    Ok(false)
}
