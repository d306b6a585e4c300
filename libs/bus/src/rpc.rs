//! Answering requests by the NATS Services API: discoverable, shared by replicas, never silent.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ::metrics::Histogram;
use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE};
use async_nats::{Client, HeaderMap, Message, Subject, SubscribeError, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use muster_contracts::permissions::queue_group;
use muster_contracts::{Code, Fault, Message as _, Request};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::discovery::{Announcement, Tally};
use crate::long_request::SIGN_EVERY;
use crate::payload::{self, Seals};
use crate::routes::Answer;
use crate::tasks::Tasks;
use crate::trace::Trace;
use crate::{Bus, headers, metrics, panics};

/// Requests that one endpoint answers at the same time; more wait in the subscription.
const CONCURRENCY: usize = 1024;

/// The most requests that are taken between two looks at whether to stop.
const AT_ONCE: usize = 32;

/// A request with its opened body.
pub(crate) struct Asked<'a> {
    pub(crate) bus: &'a Bus,
    pub(crate) subject: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) seals: Option<&'a Seals>,
}

/// Answers a request.
pub(crate) type Handler = Arc<dyn Fn(Asked<'_>) -> Answer + Send + Sync>;

/// A request with its handler, erased.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) subjects: Vec<String>,
    /// After which time the first sign of life is given; none: the request is no long one.
    pub(crate) signs: Option<Duration>,
    /// Whether a reply may be larger than a message: then a bus takes it compressed or as a claim.
    pub(crate) large: bool,
    pub(crate) answer: Handler,
}

pub(crate) fn is_large<R: Request>() -> bool {
    payload::is_large(R::Reply::NAME)
}

/// The first sign of life is given at once, so that its requester knows that there is a server. Whoever asks where a stream takes the request waits some
/// seconds for it, so that there most replies come before it, and cost one message instead of two.
pub(crate) fn signs<R: Request>() -> Option<Duration> {
    let first = if R::RECORDED { SIGN_EVERY } else { Duration::ZERO };
    R::LONG.then_some(first)
}

/// Starts every endpoint. Each ends with `shutdown`, after its last reply.
pub(crate) async fn serve(
    bus: &Bus,
    endpoints: Vec<Endpoint>,
    tasks: &Tasks,
    shutdown: &CancellationToken,
) -> Result<(), Fault> {
    if endpoints.is_empty() {
        return Ok(());
    }
    let failed = |error: SubscribeError| {
        Fault::new(
            Code::Unavailable,
            format!("service {} could not be announced: {error}", bus.service()),
        )
    };
    let mut tallies = Vec::new();
    for endpoint in endpoints {
        for subject in &endpoint.subjects {
            let group = queue_group(bus.service());
            let requests =
                bus.client().queue_subscribe(subject.clone(), group).await.map_err(failed)?;
            let tally = Arc::new(Tally::new(&endpoint.name, subject));
            tallies.push(tally.clone());
            let answering = Answering {
                bus: bus.clone(),
                name: endpoint.name.clone(),
                signs: endpoint.signs,
                large: endpoint.large,
                answer: endpoint.answer.clone(),
                duration: metrics::answering(bus.service(), &endpoint.name),
                tally,
            };
            tasks.spawn(answer_all(requests, answering, tasks.group(), shutdown.clone()));
        }
    }
    let announcement = Announcement::new(bus.service(), tallies);
    let questions = announcement.listen(bus).await.map_err(failed)?;
    tasks.spawn(announcement.answer(bus.clone(), questions, shutdown.clone()));
    Ok(())
}

/// How one endpoint answers.
struct Answering {
    bus: Bus,
    name: String,
    signs: Option<Duration>,
    large: bool,
    answer: Handler,
    duration: Histogram,
    tally: Arc<Tally>,
}

/// Answers until `shutdown`, and then whatever the server had routed here until it knew of that.
async fn answer_all(
    mut requests: Subscriber,
    how: Answering,
    replies: Tasks,
    shutdown: CancellationToken,
) {
    let (how, slots) = (Arc::new(how), Arc::new(Semaphore::new(CONCURRENCY)));
    let mut ending = Ending::new(&how.bus, shutdown);
    let mut pace = Pace::default();
    loop {
        let mut next = tokio::select! {
            biased;
            () = ending.is_due() => {
                ending.go_on(&mut requests).await;
                continue;
            }
            request = requests.next() => request,
        };
        if next.is_none() {
            break;
        }
        let mut taken = 0;
        while let Some(request) = next {
            let slot = loop {
                tokio::select! {
                    biased;
                    // The semaphore is never closed.
                    slot = slots.clone().acquire_owned() => match slot {
                        Ok(slot) => break slot,
                        Err(_closed) => return,
                    },
                    // With all places taken, nothing may be routed here any more all the same.
                    () = ending.is_due() => ending.go_on(&mut requests).await,
                }
            };
            how.take(request, slot, &mut pace, &replies).await;
            taken += 1;
            // What came with it needs no look at the other branch.
            let more = (taken < AT_ONCE).then(|| requests.next().now_or_never());
            next = more.flatten().flatten();
        }
    }
    replies.finish().await;
}

/// The end of an endpoint. async-nats forgets a drained subscription at its next look at the socket and not with the server's PONG, so that a request that is routed here within that moment would be
/// answered by nobody. So the server ends the subscription first; the client, when all that was sent before is here.
struct Ending {
    stage: Stage,
    stop: Pin<Box<dyn Future<Output = ()> + Send>>,
    last: Pin<Box<dyn Future<Output = ()> + Send>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Serving,
    /// The server is told that it may route nothing more here.
    Stopping,
    /// Everything that it had routed here has arrived.
    Draining,
}

impl Ending {
    fn new(bus: &Bus, shutdown: CancellationToken) -> Self {
        let bus = bus.clone();
        Self {
            stage: Stage::Serving,
            stop: Box::pin(shutdown.cancelled_owned()),
            last: Box::pin(async move { bus.round_trip().await }),
        }
    }

    /// Returns when the next step can be made; never behind the last one. Safe to drop.
    async fn is_due(&mut self) {
        match self.stage {
            Stage::Serving => self.stop.as_mut().await,
            Stage::Stopping => self.last.as_mut().await,
            Stage::Draining => std::future::pending().await,
        }
    }

    async fn go_on(&mut self, requests: &mut Subscriber) {
        if self.stage == Stage::Serving {
            self.stage = Stage::Stopping;
            note(requests.unsubscribe_after(NEVER).await);
        } else {
            self.stage = Stage::Draining;
            note(requests.drain().await);
        }
    }
}

/// After how many messages a subscription ends. The client keeps it until then, for ever; the server reads no number of more than nine digits, and ends it at once, as without one. Where a server
/// did read it, the endpoint would go on until it is drained.
const NEVER: u64 = 9_999_999_999;

fn note<E: std::fmt::Display>(stopped: Result<(), E>) {
    if let Err(error) = stopped {
        warn!(%error, "endpoint could not be stopped in order");
    }
}

/// Whether the handlers of an endpoint do so little before they wait for something that a task for each would cost more.
#[derive(Default)]
struct Pace {
    /// So many requests more get a task at once.
    apart: u32,
    /// How many got one the last time.
    last: u32,
}

impl Pace {
    /// A handler that works for longer holds up those behind it, and leaves the other processors idle.
    const QUICK: Duration = Duration::from_micros(100);
    const FEWEST: u32 = 16;
    const MOST: u32 = 4096;

    const fn is_quick(&mut self) -> bool {
        let quick = self.apart == 0;
        self.apart = self.apart.saturating_sub(1);
        quick
    }

    /// A handler worked for so long until it was done or waited.
    fn note(&mut self, worked: Duration) {
        self.last = match worked > Self::QUICK {
            // One may have been interrupted; of one after the other that are slow, fewer and fewer are tried.
            true => (self.last * 4).clamp(Self::FEWEST, Self::MOST),
            false => 0,
        };
        self.apart = self.last;
    }
}

type Answered = Result<(HeaderMap, Bytes), Fault>;

/// A request that is being answered.
struct Open {
    request: Message,
    started: Instant,
    trace: Trace,
}

impl Answering {
    /// Answers a request here and now where its handler waits for nothing; else in a task of its own, so that one that takes long holds up no other.
    async fn take(
        self: &Arc<Self>,
        request: Message,
        slot: OwnedSemaphorePermit,
        pace: &mut Pace,
        replies: &Tasks,
    ) {
        let trace = Trace::continued(headers::get(request.headers.as_ref(), headers::TRACEPARENT));
        let open = Open { request, started: Instant::now(), trace };
        let how = self.clone();
        if !pace.is_quick() {
            replies.spawn(trace.run(async move {
                let begin = || start(&how.bus, &open.request, how.answer.clone());
                let begun = panics::caught_now(how.bus.service(), &how.name, begin);
                let work = begun.unwrap_or_else(|fault| std::future::ready(Err(fault)).boxed());
                how.answer(open, work).await;
                drop(slot);
            }));
            return;
        }
        let begun = std::future::poll_fn(|cx| Poll::Ready(self.begin(&open, cx))).await;
        pace.note(open.started.elapsed());
        match begun {
            Begun::Ended(result) if !is_to_pack(&result) => self.end(&open, result).await,
            Begun::Ended(result) => replies.spawn(trace.run(async move {
                how.end(&open, result).await;
                drop(slot);
            })),
            Begun::Waits(work) => replies.spawn(trace.run(async move {
                how.answer(open, work).await;
                drop(slot);
            })),
        }
    }

    /// Lets the handler work until it waits for the first time.
    fn begin(&self, open: &Open, cx: &mut Context<'_>) -> Begun {
        let begin = || {
            let mut work = start(&self.bus, &open.request, self.answer.clone());
            match work.poll_unpin(cx) {
                Poll::Ready(result) => Begun::Ended(result),
                Poll::Pending => Begun::Waits(work),
            }
        };
        let begun =
            open.trace.run_now(|| panics::caught_now(self.bus.service(), &self.name, begin));
        begun.unwrap_or_else(|fault| Begun::Ended(Err(fault)))
    }

    async fn answer(&self, open: Open, work: Answer) {
        let request = &open.request;
        let asked = headers::get(request.headers.as_ref(), headers::SIGNS).is_some();
        let signs = self.signs.filter(|_| asked);
        let work = panics::caught(self.bus.service(), &self.name, work);
        let result = match (request.reply.clone(), signs) {
            (Some(inbox), Some(first)) => {
                Box::pin(with_signs(self.bus.client(), inbox, first, work)).await
            }
            _ => work.await,
        };
        self.end(&open, result).await;
    }

    async fn end(&self, open: &Open, result: Answered) {
        if let Err(fault) = &result {
            self.tally.failed(&fault.message);
        }
        if let Some(inbox) = open.request.reply.clone() {
            self.reply(&open.request, inbox, result).await;
        }
        let took = open.started.elapsed();
        self.duration.record(took);
        self.tally.answered(took);
    }

    async fn reply(&self, request: &Message, inbox: Subject, result: Answered) {
        let result = match result {
            Ok((headers, body)) if body.len() > payload::SMALL => {
                let packed = self.pack(request, headers, body);
                Box::pin(panics::caught(self.bus.service(), &self.name, packed)).await
            }
            result => result,
        };
        let client = self.bus.client();
        let sent = match result {
            Ok((headers, body)) if headers.is_empty() => client.publish(inbox, body).await,
            Ok((headers, body)) => client.publish_with_headers(inbox, headers, body).await,
            Err(fault) => {
                let body = serde_json::to_vec(&fault).unwrap_or_default();
                client.publish_with_headers(inbox, error_headers(&fault), body.into()).await
            }
        };
        if let Err(error) = sent {
            warn!(%error, "reply could not be sent");
        }
    }

    /// A large reply as the requester takes it: as it says in a header, or by its inbox.
    async fn pack(&self, question: &Message, mut headers: HeaderMap, body: Bytes) -> Answered {
        let accepted = headers::get(question.headers.as_ref(), headers::ACCEPT_ENCODING);
        let of_bus = self.large && question.reply.as_deref().is_some_and(payload::is_of_bus);
        let by_inbox = if of_bus { payload::ACCEPTED } else { "" };
        let body = self.bus.pack_reply(body, &mut headers, accepted.unwrap_or(by_inbox)).await?;
        Ok((headers, body))
    }
}

/// How far a handler came that was let work until it waited.
enum Begun {
    Ended(Answered),
    Waits(Answer),
}

/// Whether to write the reply may take longer than a moment.
fn is_to_pack(result: &Answered) -> bool {
    matches!(result, Ok((_, body)) if body.len() > payload::SMALL)
}

/// The error as any client of the Services API knows it.
fn error_headers(fault: &Fault) -> HeaderMap {
    let text: String =
        fault.message.chars().filter(|letter| !letter.is_control()).take(512).collect();
    let mut headers = HeaderMap::new();
    headers.insert(NATS_SERVICE_ERROR, text);
    headers.insert(NATS_SERVICE_ERROR_CODE, fault.code.http_status().to_string());
    headers
}

/// Begins to answer a request; one whose body is not plain JSON is opened first.
fn start(bus: &Bus, message: &Message, answer: Handler) -> Answer {
    if payload::is_plain(message.headers.as_ref()) {
        let (subject, body) = (&message.subject, &message.payload);
        return answer(Asked { bus, subject, body, seals: None });
    }
    let (bus, message) = (bus.clone(), message.clone());
    let answer = async move {
        let headers = message.headers.as_ref();
        let body = bus.open_body(headers, message.payload).await?;
        let seals = bus.seals(headers)?;
        let (subject, seals) = (&message.subject, seals.as_ref());
        answer(Asked { bus: &bus, subject, body: &body, seals }).await
    };
    answer.boxed()
}

async fn with_signs(
    client: &Client,
    inbox: Subject,
    first: Duration,
    work: impl Future<Output = Answered>,
) -> Answered {
    let mut work = std::pin::pin!(work);
    let mut clock = tokio::time::interval_at(tokio::time::Instant::now() + first, SIGN_EVERY);
    loop {
        tokio::select! {
            biased;
            result = &mut work => return result,
            _ = clock.tick() => {
                let mut sign = HeaderMap::new();
                sign.insert(headers::WORKING, "1");
                if let Err(error) = client.publish_with_headers(inbox.clone(), sign, Bytes::new()).await {
                    warn!(%error, "sign of life could not be sent");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_handlers_get_tasks_and_are_tried_again_now_and_then() {
        let (mut pace, slow) = (Pace::default(), Pace::QUICK * 2);
        assert!(pace.is_quick());
        pace.note(slow);
        let apart = |pace: &mut Pace| (0..).take_while(|_| !pace.is_quick()).count();
        assert_eq!(apart(&mut pace), 16);
        pace.note(slow);
        assert_eq!(apart(&mut pace), 64);
        (0..9).for_each(|_| pace.note(slow));
        assert_eq!(apart(&mut pace), 4096);
        pace.note(Duration::ZERO);
        assert!(pace.is_quick(), "a quick one ends that");
    }
}
