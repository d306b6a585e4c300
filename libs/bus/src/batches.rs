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
/// little more than one for each. The others are asked for when that time is over: a broker that hands over what it has reads and sends it at once, one that tells of each
/// message as it comes does so again and again.
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
    bytes: usize,
    /// The most items.
    most: usize,
    /// Whether no more are waited for.
    is_complete: bool,
}

/// What is asked of the stream next.
struct Pace {
    /// None: the next message, whenever it comes. Else, what there is then.
    at: Option<Instant>,
    /// Messages that the last question asked for, and that came.
    asked: usize,
    came: usize,
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
    let mut pace = Pace { at: None, asked: 0, came: 0 };
    let ended = loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break puller.stop().await,
            // A new connection: the server has forgotten the pulls.
            () = async { drop(link.wait_for(|link| link.generation != generation).await) } => break Ok(()),
            answer = puller.answer(), if puller.is_open() && waiting.has_room() => {
                let came = match answer {
                    Ok(Some(pulled)) => waiting.fill(line, tasks, pulled, &mut puller).await,
                    Ok(None) => Ok(0),
                    Err(error) => Err(error),
                };
                match came {
                    Ok(came) => pace.came += came,
                    Err(error) => break Err(error),
                }
                if !puller.is_open() {
                    pace.next(&mut waiting);
                }
            }
            turn = waiting.turn(&turns) => {
                tasks.spawn(line.clone().take_all(waiting.take(), tasks.clone(), turn?));
            }
            granted = pace.slots(slots, waiting.room()), if !puller.is_open() && waiting.has_room() => {
                let granted = granted?;
                (pace.asked, pace.came) = (granted.num_permits(), 0);
                if let Err(error) = puller.ask_for(granted, pace.at.is_none()).await {
                    break Err(error);
                }
            }
        }
    };
    if !waiting.items.is_empty() {
        tasks.spawn(line.clone().take_last(waiting.take(), tasks.clone(), turns));
    }
    ended
}

impl Pace {
    /// What was asked for has come, or there is no more.
    fn next(&mut self, waiting: &mut Waiting) {
        let now = Instant::now();
        let was_patient = self.at.is_none();
        // Where nothing came, what waits for its turn still does.
        if self.came > 0 || !was_patient {
            waiting.is_complete = !was_patient;
        }
        self.at = match self.came {
            0 => None,
            came if came == self.asked && !was_patient => Some(now),
            _ => Some(now + LINGER),
        };
    }

    /// Slots for what is asked next, when it is time. Safe to drop.
    async fn slots(
        &self,
        slots: &Arc<Semaphore>,
        room: usize,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        let Some(at) = self.at else { return slots.clone().acquire_owned().await };
        tokio::time::sleep_until(at).await;
        let mut granted = slots.clone().acquire_owned().await?;
        let more = slots.available_permits().min(room.saturating_sub(1));
        if let Ok(more) = u32::try_from(more)
            && let Ok(more) = slots.clone().try_acquire_many_owned(more)
        {
            granted.merge(more);
        }
        Ok(granted)
    }
}

impl Waiting {
    const fn new(most: usize) -> Self {
        Self { items: Vec::new(), bytes: 0, most, is_complete: false }
    }

    /// The turn of what waits; never comes where nothing waits, or more is still to come. Safe to drop.
    async fn turn(&self, turns: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, AcquireError> {
        if self.items.is_empty() || (self.has_room() && !self.is_complete) {
            return std::future::pending().await;
        }
        turns.clone().acquire_owned().await
    }

    /// Takes in a message and what came with it; how many that were.
    async fn fill(
        &mut self,
        line: &Arc<Line>,
        tasks: &Tasks,
        pulled: Pulled,
        puller: &mut Puller,
    ) -> Result<usize, async_nats::Error> {
        let (mut came, mut next) = (0, Some(pulled));
        while let Some(pulled) = next {
            came += 1;
            if let Some(unwanted) = self.add(line, tasks, pulled) {
                line.acknowledge(&unwanted, line.origin()).await?;
            }
            next = if self.has_room() { puller.ready()? } else { None };
        }
        Ok(came)
    }

    /// Takes in a message. One that must be opened first goes alone; one that is not for the handler is returned.
    fn add(
        &mut self,
        line: &Arc<Line>,
        tasks: &Tasks,
        (mut message, slot): Pulled,
    ) -> Option<jetstream::Message> {
        if !is_wanted(line.patterns(), &message.subject) {
            return Some(message);
        }
        match Incoming::take(&mut message) {
            Ok(incoming) if incoming.is_plain() => {
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

    const fn room(&self) -> usize {
        self.most.saturating_sub(self.items.len())
    }

    fn take(&mut self) -> Vec<Item> {
        self.bytes = 0;
        self.is_complete = false;
        std::mem::take(&mut self.items)
    }
}

impl Line {
    /// Handles the last messages when it is their turn. Where the service has to end before, they go back.
    async fn take_last(self: Arc<Self>, items: Vec<Item>, tasks: Tasks, turns: Arc<Semaphore>) {
        tokio::select! {
            biased;
            // The semaphore is never closed.
            Ok(turn) = turns.acquire_owned() => self.take_all(items, tasks, turn).await,
            () = self.is_cut() => self.take_each(items, &tasks),
        }
    }

    /// Handles each message by itself.
    fn take_each(self: &Arc<Self>, items: Vec<Item>, tasks: &Tasks) {
        for Item { message, incoming, slot, .. } in items {
            tasks.spawn(self.clone().take(with_headers(message, &incoming), slot));
        }
    }

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
                self.take_each(items, &tasks);
            }
        }
    }

    async fn acknowledge_all(&self, items: Vec<Item>) {
        for Item { message, incoming, origin, .. } in &items {
            if let Err(error) = self.acknowledge(message, *origin).await {
                debug!(consumer = self.durable(), sequence = incoming.sequence, %error, "could not be acknowledged, will be delivered again");
            }
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

/// Most patterns are subjects, and a look at their tokens takes longer than one at the whole.
fn is_wanted(patterns: &[String], subject: &str) -> bool {
    patterns.iter().any(|pattern| pattern == subject)
        || patterns.iter().any(|pattern| subject::covers(pattern, subject))
}

fn with_headers(mut message: jetstream::Message, incoming: &Incoming) -> jetstream::Message {
    message.message.headers = incoming.headers.as_deref().cloned();
    message
}
