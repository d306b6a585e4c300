//! One inbox for the replies of all long requests of a connection: a subscription for each of them would cost the servers more than the request does.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_nats::{Client, Message, SubscribeError, Subscriber};
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

type Waiting = Mutex<HashMap<u64, mpsc::UnboundedSender<Message>>>;

/// The inbox.
pub(crate) struct LongInbox {
    prefix: String,
    next: AtomicU64,
    waiting: Arc<Waiting>,
    sorting: JoinHandle<()>,
}

/// What comes for one request; nothing more once this is dropped.
pub(crate) struct Replies {
    id: u64,
    waiting: Arc<Waiting>,
    received: mpsc::UnboundedReceiver<Message>,
}

impl LongInbox {
    pub(crate) async fn open(client: &Client) -> Result<Self, SubscribeError> {
        let prefix = client.new_inbox();
        let messages = client.subscribe(format!("{prefix}.*")).await?;
        let waiting = Arc::<Waiting>::default();
        let sorting = tokio::spawn(sort(messages, waiting.clone()));
        Ok(Self { prefix, next: AtomicU64::new(0), waiting, sorting })
    }

    /// The subject for the replies of one request, and what will come there.
    pub(crate) fn begin(&self) -> (String, Replies) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, received) = mpsc::unbounded_channel();
        lock(&self.waiting).insert(id, sender);
        (format!("{}.{id}", self.prefix), Replies { id, waiting: self.waiting.clone(), received })
    }
}

impl Drop for LongInbox {
    fn drop(&mut self) {
        // Its subscription would keep the connection open.
        self.sorting.abort();
    }
}

impl Replies {
    /// The next message; none where the connection is closed for good.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        self.received.recv().await
    }
}

impl Drop for Replies {
    fn drop(&mut self) {
        lock(&self.waiting).remove(&self.id);
    }
}

/// Hands every message to whoever waits for it; who has given up gets none.
async fn sort(mut messages: Subscriber, waiting: Arc<Waiting>) {
    while let Some(message) = messages.next().await {
        let id = message.subject.rsplit('.').next().and_then(|id| id.parse::<u64>().ok());
        let sender = id.and_then(|id| lock(&waiting).get(&id).cloned());
        if let Some(sender) = sender {
            // Dropped in this moment: nobody waits any more.
            drop(sender.send(message));
        }
    }
    lock(&waiting).clear();
}

fn lock(waiting: &Waiting) -> MutexGuard<'_, HashMap<u64, mpsc::UnboundedSender<Message>>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
