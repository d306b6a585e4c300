//! Durable consumers: bounded, idempotent, retried by the fault's code, and never a silent loss.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use muster_contracts::{Durable, Fault, Stream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use crate::incoming::{Incoming, Repeatable};
use crate::line::Line;
use crate::pull::Puller;
use crate::routes::{Work, complete};
use crate::scheduler;
use crate::tasks::Tasks;

/// The most messages that are taken between two looks at whether to stop and whether to ask for more.
const AT_ONCE: usize = 32;

/// How a consumer works.
///
/// ```no_run
/// # use muster_bus::{Consume, Idempotency};
/// let settings = Consume {
///     concurrency: 8,
///     max_deliver: 5,
///     idempotency: Idempotency::Handler("it writes by key"),
///     ..Consume::default()
/// };
/// # drop(settings);
/// ```
#[derive(Clone, Debug)]
pub struct Consume {
    /// Messages handled at the same time by one process.
    pub concurrency: usize,
    /// Tries until a message becomes a dead letter.
    pub max_deliver: u32,
    /// Deliveries that may end with EXHAUSTED («not now») and not count as tries; they come again when the fault says, each time later.
    pub postpone: u32,
    /// Who makes sure that a second delivery changes nothing.
    pub idempotency: Idempotency,
    /// Whether the stream must confirm each acknowledgement (JetStream's «double ack») before the message's place is free for the next one. Default: no.
    ///
    /// A plain acknowledgement that is lost with its connection brings the message again, and runs its handler again where no recorded id keeps it from that. A confirmed one is told again until
    /// the stream has it: over lost connections without an end, and for 30 s of silence with a connection. Meanwhile another delivery of the message to this process does not run its handler. One
    /// that cannot be confirmed, as a service ends, is in the log and in `muster_bus_unconfirmed_acks_total`. It costs a round trip for each message, and no second delivery is kept from
    /// another replica, nor where the process ends before it acknowledges: that only a recorded id can do.
    pub confirm_acks: bool,
}

/// Who makes sure that a second delivery changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idempotency {
    /// The bus: it records the ids of handled messages for 24 hours.
    Bus,
    /// The handler itself, for this reason.
    Handler(&'static str),
}

impl Default for Consume {
    fn default() -> Self {
        Self {
            concurrency: 32,
            max_deliver: 16,
            postpone: 0,
            idempotency: Idempotency::Bus,
            confirm_acks: false,
        }
    }
}

/// A consumer of every message that fits some patterns.
#[derive(Clone, Debug)]
pub struct Feed {
    /// The consumer's name within the service.
    pub name: &'static str,
    /// The stream.
    pub stream: Stream,
    /// Subjects of the stream.
    pub patterns: Vec<String>,
    /// How it works.
    pub settings: Consume,
}

/// An event or a command as it came.
#[derive(Clone, Debug)]
pub struct Delivery<M> {
    /// The message.
    pub message: M,
    /// Its id: the same for every delivery.
    pub id: String,
    /// Its place in the stream.
    pub sequence: u64,
    /// When the stream stored it.
    pub time: DateTime<Utc>,
    /// Which delivery this is, from 1.
    pub attempt: u32,
    repeatable: Repeatable,
}

impl<M> Delivery<M> {
    /// Says that this message may be handled again and nothing would be done twice, as a handler knows that has only computed something: it is acknowledged plainly then, also where
    /// acknowledgements are confirmed ([`Consume::confirm_acks`]), which spares the round trip.
    pub fn may_come_again(&self) {
        self.repeatable.say();
    }
}

impl<M> Deref for Delivery<M> {
    type Target = M;
    fn deref(&self) -> &M {
        &self.message
    }
}

impl<M: Durable> Delivery<M> {
    pub(crate) fn parse(incoming: &Incoming) -> Result<Self, Fault> {
        scheduler::check::<M>(incoming)?;
        Ok(Self {
            message: complete(&incoming.subject, incoming.decode()?)?,
            id: incoming.id(),
            sequence: incoming.sequence,
            time: incoming.time,
            attempt: incoming.attempt,
            repeatable: incoming.repeatable.clone(),
        })
    }
}

/// A consumer with its handler, erased.
pub(crate) struct Consumer {
    pub(crate) name: String,
    pub(crate) stream: Stream,
    pub(crate) patterns: Vec<String>,
    pub(crate) settings: Consume,
    pub(crate) handle: Arc<dyn Fn(Incoming) -> Work + Send + Sync>,
}

/// Consumes until `shutdown`, and returns when the last message is handled or given back.
pub(crate) async fn run(line: Arc<Line>, tasks: Tasks, shutdown: CancellationToken) {
    let slots = Arc::new(Semaphore::new(line.concurrency()));
    let watching = tokio::spawn({
        let line = line.clone();
        async move { match line.watch_lag().await {} }
    });
    let _watching = AbortOnDropHandle::new(watching);
    while !shutdown.is_cancelled() {
        if let Err(error) = pull_until_broken(&line, &slots, &tasks, &shutdown).await {
            debug!(consumer = line.durable(), %error, "pull broke, will open it again");
            // Reopening without a pause floods the servers during an election.
            tokio::time::sleep(Duration::from_millis(200 + rand::random::<u64>() % 100)).await;
        }
    }
    let limit = line.drain_limit();
    if tokio::time::timeout(limit, tasks.finish()).await.is_err() {
        line.give_back();
        tasks.finish().await;
    }
    line.confirm().await;
}

async fn pull_until_broken(
    line: &Arc<Line>,
    slots: &Arc<Semaphore>,
    tasks: &Tasks,
    shutdown: &CancellationToken,
) -> Result<(), async_nats::Error> {
    let mut link = line.bus().link();
    let generation = link.borrow_and_update().generation;
    line.ensure().await?;
    let mut puller = Puller::open(line, slots.clone()).await?;
    loop {
        let (message, slot) = tokio::select! {
            biased;
            () = shutdown.cancelled() => return puller.stop().await,
            // A new connection: the server has forgotten the pulls.
            () = async { drop(link.wait_for(|link| link.generation != generation).await) } => return Ok(()),
            pulled = puller.next() => pulled?,
        };
        tasks.spawn(line.clone().take(message, slot));
        // What came with it needs no look at the other branches.
        for _ in 0..AT_ONCE {
            let Some((message, slot)) = puller.ready()? else { break };
            tasks.spawn(line.clone().take(message, slot));
        }
    }
}
