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
/// A server that is silent for so long has forgotten the pull.
const SILENCE: Duration = Duration::from_secs(12);

/// The open pulls of one consumer.
pub(crate) struct Puller {
    bus: Bus,
    subject: String,
    inbox: String,
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
        let replies = bus.client().subscribe(inbox.clone()).await?;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{}.{}", line.stream(), line.durable());
        let (size, reserved) = (line.concurrency(), None);
        Ok(Self { bus, subject, inbox, replies, slots, size, reserved })
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
        let (expires, heartbeat) = (EXPIRES.as_nanos() as u64, HEARTBEAT.as_nanos() as u64);
        let pull = json!({ "batch": slots.num_permits(), "expires": expires, "idle_heartbeat": heartbeat });
        match &mut self.reserved {
            Some(reserved) => reserved.merge(slots),
            none => *none = Some(slots),
        }
        let (pull, inbox) = (serde_json::to_vec(&pull)?.into(), self.inbox.clone());
        self.bus.client().publish_with_reply(self.subject.clone(), inbox, pull).await?;
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
