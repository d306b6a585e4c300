//! Answering requests by the NATS Services API: discoverable, shared by replicas, never silent.

use std::sync::Arc;
use std::time::Instant;

use ::metrics::Histogram;
use async_nats::service::endpoint::Endpoint as Requests;
use async_nats::service::{self, NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE, Service, ServiceExt};
use async_nats::{Client, HeaderMap, Message, Subject};
use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use muster_contracts::permissions::queue_group;
use muster_contracts::{Code, Fault};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::warn;

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
    pub(crate) long: bool,
    pub(crate) answer: Handler,
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
    let failed = |error: async_nats::Error| {
        Fault::new(
            Code::Unavailable,
            format!("service {} could not be announced: {error}", bus.service()),
        )
    };
    let service = bus
        .client()
        .service_builder()
        .queue_group(queue_group(bus.service()))
        .start(bus.service(), env!("CARGO_PKG_VERSION"))
        .await
        .map_err(failed)?;
    for endpoint in endpoints {
        for subject in &endpoint.subjects {
            let requests = service
                .endpoint_builder()
                .name(&endpoint.name)
                .add(subject)
                .await
                .map_err(failed)?;
            tasks.spawn(answer_all(
                requests,
                bus.clone(),
                tasks.group(),
                Answering {
                    long: endpoint.long,
                    answer: endpoint.answer.clone(),
                    duration: metrics::answering(bus.service(), &endpoint.name),
                },
            ));
        }
    }
    tasks.spawn(stop_with(service, shutdown.clone()));
    Ok(())
}

/// Stopping the service unsubscribes its endpoints, and each then ends after the requests that it still has.
async fn stop_with(service: Service, shutdown: CancellationToken) {
    shutdown.cancelled().await;
    if let Err(error) = service.stop().await {
        warn!(%error, "service could not be stopped in order");
    }
}

/// How one endpoint answers.
struct Answering {
    long: bool,
    answer: Handler,
    duration: Histogram,
}

async fn answer_all(mut requests: Requests, bus: Bus, replies: Tasks, how: Answering) {
    let slots = Arc::new(Semaphore::new(CONCURRENCY));
    while let Some(request) = requests.next().await {
        // The semaphore is never closed.
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let trace =
            Trace::continued(headers::get(request.message.headers.as_ref(), headers::TRACEPARENT));
        let (answer, bus, duration) = (how.answer.clone(), bus.clone(), how.duration.clone());
        let long = how.long;
        replies.spawn(trace.run(async move {
            let started = Instant::now();
            let work = start(&bus, &request.message, answer);
            let signs =
                long && headers::get(request.message.headers.as_ref(), headers::SIGNS).is_some();
            let result = match request.message.reply.clone() {
                Some(inbox) if signs => Box::pin(with_signs(bus.client(), inbox, work)).await,
                _ => work.await,
            };
            reply(&bus, &request, result).await;
            duration.record(started.elapsed());
            drop(slot);
        }));
    }
    replies.finish().await;
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
    mut work: Answer,
) -> Result<(HeaderMap, Bytes), Fault> {
    let mut clock = tokio::time::interval(SIGN_EVERY);
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

async fn reply(bus: &Bus, request: &service::Request, result: Result<(HeaderMap, Bytes), Fault>) {
    let result = match result {
        Ok((headers, body)) if body.len() > payload::SMALL => {
            Box::pin(pack(bus, &request.message, headers, body)).await
        }
        result => result,
    };
    let sent = match result {
        Ok((headers, body)) if headers.is_empty() => request.respond(Ok(body)).await,
        Ok((headers, body)) => request.respond_with_headers(Ok(body), headers).await,
        Err(fault) => {
            let body = serde_json::to_vec(&fault).unwrap_or_default();
            let text: String =
                fault.message.chars().filter(|letter| !letter.is_control()).take(512).collect();
            let mut error = HeaderMap::new();
            error.insert(NATS_SERVICE_ERROR, text);
            error.insert(NATS_SERVICE_ERROR_CODE, fault.code.http_status().to_string());
            request.respond_with_headers(Ok(body.into()), error).await
        }
    };
    if let Err(error) = sent {
        warn!(%error, "reply could not be sent");
    }
}
