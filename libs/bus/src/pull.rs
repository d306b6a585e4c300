//! Pulling: exactly as many messages as can be handled now, on one subscription.
//!
//! A message that waited in a buffer without a sign of life would be delivered again, so every requested message has its slot before it is asked for.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::{self, AckKind};
use async_nats::{StatusCode, Subscriber};
use futures::{FutureExt, StreamExt};
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Bus;
use crate::line::Line;

/// How long the server keeps a pull open.
const EXPIRES: Duration = Duration::from_secs(30);
/// How often the server says that a pull is still open.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// The most bytes of what a stream has that are asked for at once: a server hangs up on a client that lets 64 MiB wait. One message has some 10 MiB at most.
const MOST_AT_ONCE: usize = 16 << 20;
/// A server that is silent for so long has forgotten the pull.
const SILENCE: Duration = Duration::from_secs(12);

/// The open pulls of one consumer.
pub(crate) struct Puller {
    bus: Bus,
    subject: String,
    /// Each pull has a subject of its own below it: what the server says of one that has ended must not end the next.
    inbox: String,
    pulls: u64,
    replies: Subscriber,
    slots: Arc<Semaphore>,
    size: usize,
    /// A slot for each message that is asked for and has not come.
    reserved: Option<OwnedSemaphorePermit>,
}

/// A message with its slot.
pub(crate) type Pulled = (jetstream::Message, OwnedSemaphorePermit);

impl Puller {
    /// `slots` are all free or held by tasks of the line.
    pub(crate) async fn open(
        line: &Line,
        slots: Arc<Semaphore>,
    ) -> Result<Self, async_nats::Error> {
        let bus = line.bus().clone();
        let inbox = bus.client().new_inbox();
        let replies = bus.client().subscribe(format!("{inbox}.*")).await?;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", line.stream(), line.durable());
        let (size, reserved) = (line.concurrency(), None);
        Ok(Self { bus, subject, inbox, pulls: 0, replies, slots, size, reserved })
    }

    /// The next message. Safe to drop: nothing is lost when another branch of a select wins.
    pub(crate) async fn next(&mut self) -> Result<Pulled, async_nats::Error> {
        loop {
            let open = self.open_slots();
            let free = self.slots.available_permits();
            if open == 0 {
                let first = self.slots.clone().acquire_owned().await?;
                self.ask(first).await?;
            } else if free > 0 && free >= self.size / 2 {
                let first = self.slots.clone().try_acquire_owned()?;
                self.ask(first).await?;
            }
            let message = tokio::time::timeout(SILENCE, self.replies.next())
                .await?
                .ok_or("the subscription has ended")?;
            if let Some(pulled) = self.sort(message)? {
                return Ok(pulled);
            }
        }
    }

    /// Asks for as many messages as there are slots: for those that the stream has now, or, `patiently`, for the next ones.
    pub(crate) async fn ask_for(
        &mut self,
        slots: OwnedSemaphorePermit,
        patiently: bool,
    ) -> Result<(), async_nats::Error> {
        let pull = if patiently {
            patient(slots.num_permits())
        } else {
            json!({ "batch": slots.num_permits(), "no_wait": true, "max_bytes": MOST_AT_ONCE })
        };
        self.ask_as(&pull, slots).await
    }

    /// Whether there may be an answer to what was asked for.
    pub(crate) fn is_open(&self) -> bool {
        self.open_slots() > 0
    }

    /// The next message of what was asked for; none where that has ended. Safe to drop.
    pub(crate) async fn answer(&mut self) -> Result<Option<Pulled>, async_nats::Error> {
        while self.is_open() {
            let message = tokio::time::timeout(SILENCE, self.replies.next())
                .await?
                .ok_or("the subscription has ended")?;
            if let Some(pulled) = self.sort(message)? {
                return Ok(Some(pulled));
            }
        }
        Ok(None)
    }

    /// A message that is here already; [`Puller::next`] asks for more and looks whether the server is alive.
    pub(crate) fn ready(&mut self) -> Result<Option<Pulled>, async_nats::Error> {
        while let Some(Some(message)) = self.replies.next().now_or_never() {
            if let Some(pulled) = self.sort(message)? {
                return Ok(Some(pulled));
            }
        }
        Ok(None)
    }

    /// A message of the stream, or what the server says of the pull.
    fn sort(&mut self, message: async_nats::Message) -> Result<Option<Pulled>, async_nats::Error> {
        match message.status.unwrap_or(StatusCode::OK) {
            StatusCode::OK => {
                let slot = self.take_slots(1).ok_or("a message came that nobody asked for")?;
                let context = self.bus.jetstream().clone();
                Ok(Some((jetstream::Message { message, context }, slot)))
            }
            StatusCode::IDLE_HEARTBEAT => Ok(None),
            // There is none now, and that was the question; or as many came as were asked for. Of one that has had its last message the server says so behind it, and the next may be open by then.
            StatusCode::NOT_FOUND => self.close(&message.subject),
            StatusCode::REQUEST_TERMINATED if is_full(message.description.as_deref()) => {
                self.close(&message.subject)
            }
            StatusCode::TIMEOUT => {
                let pending =
                    crate::headers::get(message.headers.as_ref(), "Nats-Pending-Messages");
                let pending = pending.and_then(|pending| pending.parse().ok());
                drop(self.take_slots(pending.unwrap_or_else(|| self.open_slots())));
                Ok(None)
            }
            status => {
                let why = message.description.unwrap_or_default();
                Err(format!("the pull ended with {status} {why}").into())
            }
        }
    }

    /// The pull with this subject has ended.
    fn close(&mut self, pull: &str) -> Result<Option<Pulled>, async_nats::Error> {
        if pull == self.last_pull() {
            drop(self.take_slots(self.open_slots()));
        }
        Ok(None)
    }

    fn last_pull(&self) -> String {
        format!("{}.{}", self.inbox, self.pulls)
    }

    /// Ends the pulls. What was delivered meanwhile goes back, so that another replica has it at once.
    pub(crate) async fn stop(mut self) -> Result<(), async_nats::Error> {
        self.replies.drain().await?;
        while let Ok(Some(message)) =
            tokio::time::timeout(Duration::from_secs(1), self.replies.next()).await
        {
            if message.status.is_none() {
                let message = jetstream::Message { message, context: self.bus.jetstream().clone() };
                message.ack_with(AckKind::Nak(None)).await?;
            }
        }
        Ok(())
    }

    /// Asks for as many messages as there are free slots.
    async fn ask(&mut self, first: OwnedSemaphorePermit) -> Result<(), async_nats::Error> {
        let mut slots = first;
        if let Ok(more) = u32::try_from(self.slots.available_permits())
            && let Ok(more) = self.slots.clone().try_acquire_many_owned(more)
        {
            slots.merge(more);
        }
        self.ask_as(&patient(slots.num_permits()), slots).await
    }

    async fn ask_as(
        &mut self,
        pull: &serde_json::Value,
        slots: OwnedSemaphorePermit,
    ) -> Result<(), async_nats::Error> {
        match &mut self.reserved {
            Some(reserved) => reserved.merge(slots),
            none => *none = Some(slots),
        }
        self.pulls += 1;
        let pull = serde_json::to_vec(pull)?.into();
        self.bus.client().publish_with_reply(self.subject.clone(), self.last_pull(), pull).await?;
        Ok(())
    }

    fn open_slots(&self) -> usize {
        self.reserved.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
    }

    fn take_slots(&mut self, count: usize) -> Option<OwnedSemaphorePermit> {
        let reserved = self.reserved.as_mut()?;
        reserved.split(count.min(reserved.num_permits())).filter(|slots| slots.num_permits() > 0)
    }
}

/// A pull that waits for messages.
fn patient(batch: usize) -> serde_json::Value {
    let (expires, heartbeat) = (EXPIRES.as_nanos() as u64, HEARTBEAT.as_nanos() as u64);
    json!({ "batch": batch, "expires": expires, "idle_heartbeat": heartbeat })
}

/// Whether a pull has ended because it has had its messages, where it said `max_bytes`, or the next one would be more bytes.
fn is_full(why: Option<&str>) -> bool {
    why.is_some_and(|why| {
        why.eq_ignore_ascii_case("Message Size Exceeds MaxBytes")
            || why.eq_ignore_ascii_case("Batch Completed")
    })
}
