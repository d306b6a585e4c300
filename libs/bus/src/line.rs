//! What happens to one message of a consumer: claimed, handled, recorded, acknowledged; or tried again; or kept as a dead letter.

mod ending;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::{self, AckKind, stream};
use muster_contracts::{Fault, Stream};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::confirming::InHand;
use crate::consume::{Consumer, Idempotency};
use crate::idempotency::{Claim, Handled, Verdict};
use crate::incoming::{Incoming, Repeatable};
use crate::metrics::{ConsumerMetrics, Lag};
use crate::origin::{LastOrigin, Origin, Spot};
use crate::postponed::Postponed;
use crate::routes::durable_name;
use crate::trace::Trace;
use crate::{Bus, headers, panics};

/// How many messages at once may have a body that was compressed or lay in the object store, however many are handled at the same time: each may be 10 MiB large.
const MOST_OPENED: usize = 128;
/// How often a message on its last try looks whether whoever handles its id has finished.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the end of a consumer waits until its last acknowledgements are known to have arrived.
const CONFIRM_WAIT: Duration = Duration::from_secs(2);
/// How far back a consumer begins that somebody deleted: within it the ids of handled messages are known.
const KNOWN_FOR: Duration = Duration::from_secs(23 * 3600);

/// What every message of one consumer shares.
pub(crate) struct Line {
    bus: Bus,
    durable: String,
    consumer: Consumer,
    handled: OnceCell<Handled>,
    /// Whether the consumer was there before: a second time it does not begin at the beginning.
    was_there: AtomicBool,
    /// Cancelled when what still runs has to be given back.
    cut: CancellationToken,
    metrics: ConsumerMetrics,
    postponed: Postponed,
    /// Where acknowledgements are confirmed.
    in_hand: InHand,
    origin: LastOrigin,
    /// For messages whose bodies are larger than they travel.
    opened: Semaphore,
}

/// What became of a message.
enum Fate {
    Done,
    /// Another task or process has it, or nobody knows.
    Elsewhere,
    /// The process stops before its handler ended.
    GivenBack,
}

/// What became of the message of a dead letter.
pub(crate) enum Again {
    Handled,
    /// The process stops before the handler ended.
    Stopped,
}

impl Line {
    pub(crate) fn new(bus: Bus, consumer: Consumer) -> Self {
        let durable = durable_name(bus.service(), &consumer.name);
        let metrics = ConsumerMetrics::new(bus.service(), consumer.stream.name(), &durable);
        Self {
            metrics,
            bus,
            durable,
            consumer,
            handled: OnceCell::new(),
            was_there: AtomicBool::new(false),
            cut: CancellationToken::new(),
            postponed: Postponed::default(),
            in_hand: InHand::default(),
            origin: LastOrigin::default(),
            opened: Semaphore::new(MOST_OPENED),
        }
    }

    pub(crate) const fn bus(&self) -> &Bus {
        &self.bus
    }

    pub(crate) fn durable(&self) -> &str {
        &self.durable
    }

    pub(crate) const fn stream(&self) -> &'static str {
        self.consumer.stream.name()
    }

    pub(crate) const fn of_stream(&self) -> Stream {
        self.consumer.stream
    }

    pub(crate) fn patterns(&self) -> &[String] {
        &self.consumer.patterns
    }

    pub(crate) const fn concurrency(&self) -> usize {
        self.consumer.settings.concurrency
    }

    fn most_deliveries(&self) -> u32 {
        self.consumer.settings.max_deliver + self.consumer.settings.postpone
    }

    pub(crate) fn drain_limit(&self) -> Duration {
        self.bus.inner.settings.drain_timeout
    }

    /// Ends the handlers that still run; their messages go to another replica at once.
    pub(crate) fn give_back(&self) {
        self.cut.cancel();
    }

    /// Creates the consumer, or gives it the settings of this version.
    pub(crate) async fn ensure(&self) -> Result<(), async_nats::Error> {
        let generation = self.bus.link().borrow().generation;
        let stream = self.bus.jetstream().get_stream(self.stream()).await?;
        let created = stream.cached_info().created.unix_timestamp_nanos();
        self.origin.set(Origin { created, generation });
        let deliver_policy = self.deliver_policy(&stream).await?;
        let mut config = pull::Config {
            durable_name: Some(self.durable.clone()),
            deliver_policy,
            ack_policy: AckPolicy::Explicit,
            ack_wait: self.bus.inner.settings.ack_wait,
            // One more than ours: the last try is for us to record the dead letter.
            max_deliver: i64::from(self.most_deliveries()) + 1,
            max_ack_pending: 65_536,
            ..Default::default()
        };
        // A single pattern is a part of the request's subject, where a permission can say it.
        match self.consumer.patterns.as_slice() {
            [pattern] => config.filter_subject.clone_from(pattern),
            patterns => config.filter_subjects = patterns.to_vec(),
        }
        stream.create_consumer(config).await?;
        self.was_there.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Where the consumer begins. It cannot be changed once it is there.
    async fn deliver_policy<I>(
        &self,
        stream: &stream::Stream<I>,
    ) -> Result<DeliverPolicy, async_nats::Error> {
        use async_nats::jetstream::context::ConsumerInfoErrorKind as Kind;
        match stream.consumer_info(&self.durable).await {
            Ok(info) => Ok(info.config.deliver_policy),
            Err(error) if error.kind() != Kind::NotFound => Err(error.into()),
            Err(_absent) if self.was_there.load(Ordering::Relaxed) => {
                warn!(consumer = self.durable, "the consumer was deleted, will create it again");
                Ok(DeliverPolicy::ByStartTime {
                    start_time: (SystemTime::now() - KNOWN_FOR).into(),
                })
            }
            Err(_absent) => Ok(DeliverPolicy::All),
        }
    }

    /// Returns when the server has read every acknowledgement that was sent before: it answers in the order in which it is told.
    pub(crate) async fn confirm(&self) {
        if !self.bus.link().borrow().up {
            return;
        }
        let Ok(stream) = self.bus.jetstream().get_stream_no_info(self.stream()).await else {
            return;
        };
        let asked = stream.consumer_info(&self.durable);
        if !matches!(tokio::time::timeout(CONFIRM_WAIT, asked).await, Ok(Ok(_))) {
            debug!(consumer = self.durable, "the last acknowledgements are not confirmed");
        }
    }

    /// Looks for ever how many messages wait.
    pub(crate) async fn watch_lag(&self) -> Infallible {
        let mut lag = Lag::default();
        loop {
            tokio::time::sleep(self.bus.inner.settings.lag_every).await;
            let Ok(stream) = self.bus.jetstream().get_stream_no_info(self.stream()).await else {
                continue;
            };
            match stream.consumer_info(&self.durable).await {
                Ok(info) => lag.sample(&self.metrics, &self.durable, &info),
                Err(error) => debug!(consumer = self.durable, %error, "lag is not known"),
            }
        }
    }

    /// Tells the stream plainly that the message is done with.
    async fn done(&self, message: &jetstream::Message) -> Result<(), async_nats::Error> {
        self.metrics.done.increment(1);
        let Some(reply) = &message.reply else { return Ok(()) };
        Ok(self.bus.client().publish(reply.clone(), ending::DONE).await?)
    }

    /// How often a message in work needs a sign of life.
    pub(crate) fn sign_every(&self) -> Duration {
        self.bus.inner.settings.ack_wait / 3
    }

    /// Handles one message and tells the stream what became of it. The slot is free again when the handler has ended; where acknowledgements are confirmed, when that is known to the stream.
    pub(crate) fn take(
        self: Arc<Self>,
        message: jetstream::Message,
        slot: OwnedSemaphorePermit,
    ) -> impl Future<Output = ()> + Send {
        // Now, and not when the task runs: the stream may be another one by then.
        let origin = self.origin.get();
        self.take_from(origin, message, slot)
    }

    async fn take_from(
        self: Arc<Self>,
        origin: Origin,
        mut message: jetstream::Message,
        slot: OwnedSemaphorePermit,
    ) {
        let taken =
            Spot::of(&message, origin).map_err(|error| error.to_string()).and_then(|spot| {
                let incoming = Incoming::take(&mut message).map_err(|fault| fault.to_string())?;
                Ok((spot, incoming))
            });
        let (spot, mut incoming) = match taken {
            Ok(taken) => taken,
            Err(error) => {
                warn!(consumer = self.durable, subject = %message.subject, %error, "not a message of a stream");
                return;
            }
        };
        let attempt = incoming.attempt;
        let headers = incoming.headers.clone();
        let trace = Trace::continued(incoming.header(headers::TRACEPARENT));
        let (slot, _slot_until_confirmed) =
            if self.confirms() { (None, Some(slot)) } else { (Some(slot), None) };
        if self.confirms() {
            incoming.repeatable = Repeatable::asked();
        }
        let repeatable = incoming.repeatable.clone();
        let mut held = None;
        let work = async {
            match self.hold(spot.place, attempt).await {
                Ok(place) => {
                    held = place;
                    self.handle(incoming, slot).await
                }
                Err(fate) => Ok(fate),
            }
        };
        let fate = tokio::select! {
            biased;
            fate = trace.run(work) => fate,
            never = self.give_signs(&message) => match never {},
        };
        if attempt > 1 {
            self.metrics.redeliveries.increment(1);
        }
        if self.consumer.settings.postpone > 0 && attempt > 1 && matches!(fate, Ok(Fate::Done)) {
            self.postponed.forget(spot.place);
        }
        let settled = match fate {
            Ok(Fate::Done) if repeatable.is_said() && self.outlives_its_messages() => {
                self.done(&message).await
            }
            Ok(fate) => self.settle(&message, spot, attempt, fate).await,
            Err(fault) => {
                message.message.headers = headers.map(Arc::unwrap_or_clone);
                // On the heap, as all that is rare: every task would have room for it.
                Box::pin(trace.run(self.failed(&message, spot, attempt, &fault))).await
            }
        };
        if let Err(error) = settled {
            debug!(consumer = self.durable, sequence = spot.place.0, %error, "could not be acknowledged, will be delivered again");
        }
        // Until its end is known.
        drop(held);
    }

    /// Handles the message of this dead letter once, however many replicas are asked at the same time.
    pub(crate) async fn again(&self, incoming: Incoming, letter: u64) -> Result<Again, Fault> {
        let claim = if self.records() {
            None
        } else {
            match self.claim(&format!("dead-letter-{letter}"), true).await {
                Ok(claim) => Some(claim),
                Err(Fate::Done) => return Ok(Again::Handled),
                Err(Fate::Elsewhere | Fate::GivenBack) => return Ok(Again::Stopped),
            }
        };
        let fate = loop {
            match self.handle(incoming.clone(), None).await {
                Ok(Fate::Elsewhere) => tokio::time::sleep(LOOK_EVERY).await,
                fate => break fate,
            }
        };
        match (claim, &fate) {
            (Some(claim), Ok(Fate::Done)) => claim.done().await,
            (Some(claim), _) => claim.release().await,
            (None, _) => {}
        }
        fate.map(|fate| if matches!(fate, Fate::Done) { Again::Handled } else { Again::Stopped })
    }

    fn records(&self) -> bool {
        self.consumer.settings.idempotency == Idempotency::Bus
    }

    /// Runs the handler, unless the message's id is handled or just being handled.
    async fn handle(
        &self,
        incoming: Incoming,
        slot: Option<OwnedSemaphorePermit>,
    ) -> Result<Fate, Fault> {
        if !self.records() {
            return self.work(incoming).await;
        }
        let last = incoming.attempt >= self.consumer.settings.max_deliver;
        let claim = match self.claim(&incoming.id(), last).await {
            Ok(claim) => claim,
            Err(fate) => return Ok(fate),
        };
        let fate = self.work(incoming).await;
        drop(slot);
        match fate {
            Ok(Fate::Done) => claim.done().await,
            _ => claim.release().await,
        }
        fate
    }

    /// The right to handle this id, or what became of it. `last`: there is no later chance, so whoever has it is waited for.
    async fn claim(&self, id: &str, last: bool) -> Result<Claim<'_>, Fate> {
        loop {
            let verdict = match self.handled().await {
                Ok(handled) => handled.claim(id).await,
                Err(fault) => Err(fault),
            };
            match verdict {
                Ok(Verdict::Mine(claim)) => return Ok(claim),
                Ok(Verdict::Done) => return Err(Fate::Done),
                // It would not be delivered again.
                Ok(Verdict::Elsewhere) if last => {}
                Ok(Verdict::Elsewhere) => return Err(Fate::Elsewhere),
                // The broker's trouble must not make a dead letter of the message.
                Err(error) => {
                    debug!(consumer = self.durable, %error, "id could not be claimed, will try again");
                    if !last {
                        return Err(Fate::Elsewhere);
                    }
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = self.cut.cancelled() => return Err(Fate::GivenBack),
            }
        }
    }

    /// The handler, cut off where the process stops before it ended.
    async fn work(&self, incoming: Incoming) -> Result<Fate, Fault> {
        tokio::select! {
            biased;
            result = self.open_and_handle(incoming) => result.map(|()| Fate::Done),
            () = self.cut.cancelled() => Ok(Fate::GivenBack),
        }
    }

    async fn open_and_handle(&self, incoming: Incoming) -> Result<(), Fault> {
        let (incoming, _opened) = if incoming.is_plain() {
            (incoming, None)
        } else {
            // The semaphore is never closed.
            let opened = self.opened.acquire().await.ok();
            (Box::pin(incoming.open(&self.bus)).await?, opened)
        };
        let started = Instant::now();
        // Whatever panics in it, the message is tried again at once.
        let work = async { (self.consumer.handle)(incoming).await };
        let result = panics::caught(self.bus.service(), &self.consumer.name, work).await;
        self.metrics.duration.record(started.elapsed());
        result
    }

    async fn handled(&self) -> Result<&Handled, Fault> {
        if let Some(handled) = self.handled.get() {
            return Ok(handled);
        }
        Box::pin(self.handled.get_or_try_init(|| Handled::open(&self.bus, &self.durable)))
            .await
            .map_err(|error| crate::publish::unavailable(error.as_ref()))
    }

    /// Tells the stream for ever that somebody works on the message.
    async fn give_signs(&self, message: &jetstream::Message) -> Infallible {
        let every = self.sign_every();
        loop {
            tokio::time::sleep(every).await;
            if let Err(error) = message.ack_with(AckKind::Progress).await {
                debug!(consumer = self.durable, %error, "sign of life could not be sent");
            }
        }
    }
}
