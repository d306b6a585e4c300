//! Answering requests by the NATS Services API: discoverable, shared by replicas, never silent.

use std::sync::Arc;

use async_nats::service::endpoint::Endpoint as Requests;
use async_nats::service::{self, NATS_SERVICE_ERROR, NATS_SERVICE_ERROR_CODE, Service, ServiceExt};
use async_nats::{Client, HeaderMap, Subject};
use bytes::Bytes;
use futures::StreamExt;
use muster_contracts::{Code, Fault};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::long_request::SIGN_EVERY;
use crate::routes::Answer;
use crate::tasks::Tasks;
use crate::trace::Trace;
use crate::{Bus, headers};

/// Requests that one endpoint answers at the same time; more wait in the subscription.
const CONCURRENCY: usize = 1024;

/// Answers the request with this subject and body.
pub(crate) type Handler = Arc<dyn Fn(&str, &[u8]) -> Answer + Send + Sync>;

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
        .queue_group(bus.service())
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
                bus.client().clone(),
                tasks.group(),
                endpoint.long,
                endpoint.answer.clone(),
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

async fn answer_all(
    mut requests: Requests,
    client: Client,
    replies: Tasks,
    long: bool,
    answer: Handler,
) {
    let slots = Arc::new(Semaphore::new(CONCURRENCY));
    while let Some(request) = requests.next().await {
        // The semaphore is never closed.
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let trace =
            Trace::continued(headers::get(request.message.headers.as_ref(), headers::TRACEPARENT));
        let (answer, client) = (answer.clone(), client.clone());
        replies.spawn(trace.run(async move {
            let work = answer(&request.message.subject, &request.message.payload);
            let signs =
                long && headers::get(request.message.headers.as_ref(), headers::SIGNS).is_some();
            let result = match request.message.reply.clone() {
                Some(inbox) if signs => with_signs(&client, inbox, work).await,
                _ => work.await,
            };
            reply(&request, result).await;
            drop(slot);
        }));
    }
    replies.finish().await;
}

async fn with_signs(client: &Client, inbox: Subject, mut work: Answer) -> Result<Bytes, Fault> {
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

async fn reply(request: &service::Request, result: Result<Bytes, Fault>) {
    let sent = match result {
        Ok(body) => request.respond(Ok(body)).await,
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
