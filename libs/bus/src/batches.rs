//! Consumers whose messages are handled many at a time, as a database likes them.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use muster_contracts::subject;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::incoming::Incoming;
use crate::line::Line;
use crate::origin::Origin;
use crate::pull::{Pulled, Puller};
use crate::tasks::Tasks;

/// Batches that are handled at the same time: while one tells what it did, the next one does it.
const TURNS: usize = 2;
/// How long a message waits for others to come with it. Most come in company: an execution has several within some milliseconds, and one statement for all of them costs
/// little more than one for each.
const LINGER: Duration = Duration::from_millis(100);
/// The most bytes that wait for their turn.
const MOST_BYTES: usize = 8 << 20;

/// A message of a batch.
struct Item {
    /// Without its headers, which `incoming` has.
    message: jetstream::Message,
    incoming: Incoming,
    slot: OwnedSemaphorePermit,
    /// The stream that it came from.
    origin: Origin,
}

/// What was pulled and waits for its turn.
struct Waiting {
    items: Vec<Item>,
    /// When they go: a moment after the first came, or as soon as there is no room for more.
    due: Instant,
    bytes: usize,
    /// The most items.
    most: usize,
}

/// Pulls until the connection breaks or the service stops. What waits then is still handled.
pub(crate) async fn pull_until_broken(
    line: &Arc<Line>,
    slots: &Arc<Semaphore>,
    tasks: &Tasks,
    shutdown: &CancellationToken,
) -> Result<(), async_nats::Error> {
    let mut link = line.bus().link();
    let generation = link.borrow_and_update().generation;
    line.ensure().await?;
    let mut puller = Puller::open(line, slots.clone()).await?;
    let turns = Arc::new(Semaphore::new(TURNS));
    let mut waiting = Waiting::new((line.concurrency() / TURNS).max(1));
    let ended = loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break puller.stop().await,
            // A new connection: the server has forgotten the pulls.
            () = async { drop(link.wait_for(|link| link.generation != generation).await) } => break Ok(()),
            pulled = puller.next(), if waiting.has_room() => {
                if let Err(error) = waiting.fill(line, tasks, pulled, &mut puller).await {
                    break Err(error);
                }
            }
            turn = waiting.turn(&turns) => {
                tasks.spawn(line.clone().take_all(waiting.take(), tasks.clone(), turn?));
            }
        }
    };
    if !waiting.items.is_empty() {
        let turn = turns.acquire_owned().await?;
        tasks.spawn(line.clone().take_all(waiting.take(), tasks.clone(), turn));
    }
    ended
}

impl Waiting {
    fn new(most: usize) -> Self {
        Self { items: Vec::new(), due: Instant::now(), bytes: 0, most }
    }

    /// The turn of what waits; never comes where nothing waits. Safe to drop.
    async fn turn(&self, turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, AcquireError> {
        if self.items.is_empty() {
            return std::future::pending().await;
        }
        if self.has_room() {
            tokio::time::sleep_until(self.due).await;
        }
        turns.clone().acquire_owned().await
    }

    /// Takes in a message and what came with it.
    async fn fill(
        &mut self,
        line: &Arc<Line>,
        tasks: &Tasks,
        pulled: Result<Pulled, async_nats::Error>,
        puller: &mut Puller,
    ) -> Result<(), async_nats::Error> {
        let mut unwanted = self.add(line, tasks, pulled?);
        while self.has_room()
            && let Some(pulled) = puller.ready()?
        {
            if let Some(message) = unwanted {
                Box::pin(line.acknowledge(&message, line.origin())).await?;
            }
            unwanted = self.add(line, tasks, pulled);
        }
        match unwanted {
            Some(message) => Box::pin(line.acknowledge(&message, line.origin())).await,
            None => Ok(()),
        }
    }

    /// Takes in a message. One that must be opened first goes alone; one that is not for the handler is returned.
    fn add(
        &mut self,
        line: &Arc<Line>,
        tasks: &Tasks,
        (mut message, slot): Pulled,
    ) -> Option<jetstream::Message> {
        let wanted =
            line.patterns().iter().any(|pattern| subject::covers(pattern, &message.subject));
        if !wanted {
            return Some(message);
        }
        match Incoming::take(&mut message) {
            Ok(incoming) if incoming.is_plain() => {
                if self.items.is_empty() {
                    self.due = Instant::now() + LINGER;
                }
                self.bytes += incoming.body.len().max(1);
                self.items.push(Item { message, incoming, slot, origin: line.origin() });
            }
            Ok(incoming) => tasks.spawn(line.clone().take(with_headers(message, &incoming), slot)),
            Err(error) => {
                warn!(consumer = line.durable(), subject = %message.subject, %error, "not a message of a stream");
            }
        }
        None
    }

    const fn has_room(&self) -> bool {
        self.items.len() < self.most && self.bytes < MOST_BYTES
    }

    fn take(&mut self) -> Vec<Item> {
        self.bytes = 0;
        std::mem::take(&mut self.items)
    }
}

impl Line {
    /// Handles the messages together and acknowledges them; where that fails, each goes its own way, so that one cannot hold up the others.
    async fn take_all(self: Arc<Self>, items: Vec<Item>, tasks: Tasks, turn: OwnedSemaphorePermit) {
        let incoming = items.iter().map(|item| item.incoming.clone()).collect();
        let handled = tokio::select! {
            biased;
            handled = self.handle_all(incoming) => handled,
            never = self.give_signs_all(&items) => match never {},
        };
        drop(turn);
        match handled {
            Ok(()) => self.acknowledge_all(items).await,
            Err(fault) => {
                debug!(consumer = self.durable(), messages = items.len(), %fault, "a batch failed, will handle each by itself");
                for Item { message, incoming, slot, .. } in items {
                    tasks.spawn(self.clone().take(with_headers(message, &incoming), slot));
                }
            }
        }
    }

    async fn acknowledge_all(&self, items: Vec<Item>) {
        for Item { message, incoming, slot, origin } in items {
            if let Err(error) = self.acknowledge(&message, origin).await {
                debug!(consumer = self.durable(), sequence = incoming.sequence, %error, "could not be acknowledged, will be delivered again");
            }
            drop(slot);
        }
    }

    /// Tells the stream for ever that somebody works on the messages.
    async fn give_signs_all(&self, items: &[Item]) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(self.sign_every()).await;
            for Item { message, incoming, .. } in items {
                if let Err(error) = message.ack_with(jetstream::AckKind::Progress).await {
                    debug!(consumer = self.durable(), sequence = incoming.sequence, %error, "sign of life could not be sent");
                }
            }
        }
    }
}

fn with_headers(mut message: jetstream::Message, incoming: &Incoming) -> jetstream::Message {
    message.message.headers = incoming.headers.as_deref().cloned();
    message
}
