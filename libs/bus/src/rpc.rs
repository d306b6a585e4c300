//! Answering requests by the NATS Services API: discoverable, shared by replicas, never silent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::metrics::Histogram;
use async_nats::service::{NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE};
use async_nats::{Client, HeaderMap, Message, Subject, SubscribeError, Subscriber};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use muster_contracts::permissions::queue_group;
use muster_contracts::{Code, Fault, Request};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::discovery::{Announcement, Tally};
use crate::long_request::SIGN_EVERY;
use crate::payload::{self, Seals};
use crate::routes::Answer;
use crate::tasks::Tasks;
use crate::trace::Trace;
use crate::{Bus, headers, metrics};

/// Requests that one endpoint answers at the same time; more wait in the subscription.
const CONCURRENCY: usize = 1024;

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
    pub(crate) answer: Handler,
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
                signs: endpoint.signs,
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
    signs: Option<Duration>,
    answer: Handler,
    duration: Histogram,
    tally: Arc<Tally>,
}

/// Answers until `shutdown`, and then what had arrived. async-nats forgets a drained subscription at its next look at the socket, not with the server's
/// PONG: a request that the broker routes here within that moment is answered by nobody, and its requester waits until its deadline.
async fn answer_all(
    mut requests: Subscriber,
    how: Answering,
    replies: Tasks,
    shutdown: CancellationToken,
) {
    let (how, slots) = (Arc::new(how), Arc::new(Semaphore::new(CONCURRENCY)));
    let mut stop = std::pin::pin!(shutdown.cancelled());
    let mut draining = false;
    loop {
        let request = tokio::select! {
            biased;
            () = &mut stop, if !draining => {
                draining = true;
                if let Err(error) = requests.drain().await {
                    warn!(%error, "endpoint could not be stopped in order");
                }
                continue;
            }
            request = requests.next() => request,
        };
        let Some(request) = request else { break };
        // The semaphore is never closed.
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let trace = Trace::continued(headers::get(request.headers.as_ref(), headers::TRACEPARENT));
        let how = how.clone();
        replies.spawn(trace.run(async move {
            how.answer(&request).await;
            drop(slot);
        }));
    }
    replies.finish().await;
}

impl Answering {
    async fn answer(&self, request: &Message) {
        let started = Instant::now();
        let work = start(&self.bus, request, self.answer.clone());
        let asked = headers::get(request.headers.as_ref(), headers::SIGNS).is_some();
        let signs = self.signs.filter(|_| asked);
        let result = match (request.reply.clone(), signs) {
            (Some(inbox), Some(first)) => {
                Box::pin(with_signs(self.bus.client(), inbox, first, work)).await
            }
            _ => work.await,
        };
        if let Err(fault) = &result {
            self.tally.failed(&fault.message);
        }
        if let Some(inbox) = request.reply.clone() {
            self.reply(request, inbox, result).await;
        }
        self.duration.record(started.elapsed());
        self.tally.answered(started.elapsed());
    }

    async fn reply(
        &self,
        request: &Message,
        inbox: Subject,
        result: Result<(HeaderMap, Bytes), Fault>,
    ) {
        let result = match result {
            Ok((headers, body)) if body.len() > payload::SMALL => {
                Box::pin(pack(&self.bus, request, headers, body)).await
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
    mut work: Answer,
) -> Result<(HeaderMap, Bytes), Fault> {
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

/// A large reply as the requester takes it.
async fn pack(
    bus: &Bus,
    question: &Message,
    mut headers: HeaderMap,
    body: Bytes,
) -> Result<(HeaderMap, Bytes), Fault> {
    let accepted = headers::get(question.headers.as_ref(), headers::ACCEPT_ENCODING);
    let body = bus.pack_reply(body, &mut headers, accepted.unwrap_or_default()).await?;
    Ok((headers, body))
}
