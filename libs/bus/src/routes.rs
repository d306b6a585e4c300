//! The routes of a service: a table of contents of what it answers and reads.

use std::future::Future;
use std::sync::Arc;

use async_nats::HeaderMap;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use muster_contracts::{Code, Durable, Fault, HasCode, Request, permissions, subject};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::consume::{self, Consume, Consumer, Delivery, Feed};
use crate::dead_letters::Desk;
use crate::incoming::Incoming;
use crate::line::Line;
use crate::payload;
use crate::rpc::{self, Asked, Endpoint};
use crate::tasks::Tasks;
use crate::trace::Trace;
use crate::{Bus, Recorded, damage};

pub(crate) type Work = BoxFuture<'static, Result<(), Fault>>;
/// The headers and the body of the reply.
pub(crate) type Answer = BoxFuture<'static, Result<(HeaderMap, Bytes), Fault>>;

/// What a service answers and reads. Subject, kind and reply type follow from the type of the handler's argument.
///
/// ```no_run
/// # use muster_bus::{Bus, Delivery, Routes};
/// # use muster_contracts::{Fault, tool::v1::ToolExecutionRequested};
/// # use muster_contracts::workflow::v1::{ExecutionState, GetExecutionRequest};
/// # use tokio_util::sync::CancellationToken;
/// # #[derive(Clone)] struct App;
/// # async fn example(bus: Bus, stop: CancellationToken) -> Result<(), Fault> {
/// async fn state(_: App, asked: GetExecutionRequest) -> Result<ExecutionState, Fault> {
///     Ok(ExecutionState { execution_id: asked.execution_id, ..Default::default() })
/// }
/// async fn requested(_: App, command: Delivery<ToolExecutionRequested>) -> Result<(), Fault> {
///     println!("{}", command.tool);
///     Ok(())
/// }
/// Routes::new(App).rpc(state).on(requested).serve(&bus, stop).await?;
/// # Ok(()) }
/// ```
pub struct Routes<A> {
    app: A,
    endpoints: Vec<Endpoint>,
    consumers: Vec<Consumer>,
}

impl<A: Clone + Send + Sync + 'static> Routes<A> {
    /// No routes yet; `app` is what every handler gets.
    pub const fn new(app: A) -> Self {
        Self { app, endpoints: Vec::new(), consumers: Vec::new() }
    }

    /// Answers a request, on every subject of its template.
    #[must_use]
    pub fn rpc<R, H, F, E>(self, handler: H) -> Self
    where
        R: Request,
        H: Fn(A, R) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<R::Reply, E>> + Send + 'static,
        E: HasCode,
    {
        self.endpoint::<R, H, F, E>(vec![subject::pattern(R::SUBJECT)], handler)
    }

    /// Answers a request only on the subjects of these addresses: others may serve the rest of the template.
    ///
    /// # Errors
    /// INVALID where a field of an address cannot be a token of a subject.
    pub fn rpc_for<R, H, F, E>(self, addresses: &[R], handler: H) -> Result<Self, Fault>
    where
        R: Request,
        H: Fn(A, R) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<R::Reply, E>> + Send + 'static,
        E: HasCode,
    {
        let subjects =
            addresses.iter().map(crate::publish::subject_of).collect::<Result<Vec<_>, _>>()?;
        Ok(self.endpoint::<R, H, F, E>(subjects, handler))
    }

    /// Handles an event or a command, each once.
    #[must_use]
    pub fn on<M, H, F, E>(self, handler: H) -> Self
    where
        M: Durable,
        H: Fn(A, Delivery<M>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: HasCode,
    {
        self.on_with(Consume::default(), handler)
    }

    /// Handles an event or a command with these settings.
    #[must_use]
    pub fn on_with<M, H, F, E>(mut self, settings: Consume, handler: H) -> Self
    where
        M: Durable,
        H: Fn(A, Delivery<M>) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: HasCode,
    {
        const {
            assert!(
                M::STREAMS.len() == 1,
                "a message of several streams needs a feed for each of them"
            );
        }
        let app = self.app.clone();
        let handle = move |incoming: Incoming| -> Work {
            match Delivery::<M>::parse(&incoming) {
                Ok(delivery) => guarded(M::NAME, handler(app.clone(), delivery).boxed()).boxed(),
                Err(fault) => std::future::ready(Err(fault)).boxed(),
            }
        };
        self.consumers.push(Consumer {
            name: permissions::consumer_suffix(M::NAME),
            stream: M::STREAM,
            patterns: subject::patterns::<M>(),
            settings,
            handle: Arc::new(handle),
        });
        self
    }

    /// Handles every message of some patterns, undecoded.
    #[must_use]
    pub fn feed<H, F, E>(mut self, feed: Feed, handler: H) -> Self
    where
        H: Fn(A, Recorded) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: HasCode,
    {
        let app = self.app.clone();
        let handle = move |incoming: Incoming| -> Work {
            guarded("feed", handler(app.clone(), Recorded::from(incoming)).boxed()).boxed()
        };
        self.consumers.push(Consumer {
            name: feed.name.to_owned(),
            stream: feed.stream,
            patterns: feed.patterns,
            settings: feed.settings,
            handle: Arc::new(handle),
        });
        self
    }

    /// Serves until `shutdown`; then finishes what is in flight and sends every reply.
    ///
    /// # Errors
    /// UNAVAILABLE where the connection is closed.
    pub async fn serve(self, bus: &Bus, shutdown: CancellationToken) -> Result<(), Fault> {
        tokio::select! {
            () = bus.ready() => {}
            () = shutdown.cancelled() => return Ok(()),
        }
        let tasks = Tasks::default();
        let guard = tasks.guard();
        let mut lines: Vec<Arc<Line>> = self
            .consumers
            .into_iter()
            .map(|consumer| Arc::new(Line::new(bus.clone(), consumer)))
            .collect();
        let mut endpoints = self.endpoints;
        if !lines.is_empty() {
            let desk = Desk::new(bus, &lines);
            endpoints.push(desk.endpoint()?);
            lines.push(Arc::new(Line::new(bus.clone(), desk.advisories())));
        }
        for line in lines {
            tasks.spawn(consume::run(line, tasks.group(), shutdown.clone()));
        }
        rpc::serve(bus, endpoints, &tasks, &shutdown).await?;
        info!(service = bus.service(), "serving");
        shutdown.cancelled().await;
        tasks.finish().await;
        bus.flush().await;
        drop(guard);
        Ok(())
    }

    fn endpoint<R, H, F, E>(mut self, subjects: Vec<String>, handler: H) -> Self
    where
        R: Request,
        H: Fn(A, R) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Result<R::Reply, E>> + Send + 'static,
        E: HasCode,
    {
        let app = self.app.clone();
        let answer = answering(move |request| handler(app.clone(), request));
        let (name, signs, large) = (kebab(R::METHOD), rpc::signs::<R>(), rpc::is_large::<R>());
        self.endpoints.push(Endpoint { name, subjects, signs, large, answer });
        self
    }
}

/// A handler of requests, erased.
pub(crate) fn answering<R, H, F, E>(handler: H) -> rpc::Handler
where
    R: Request,
    H: Fn(R) -> F + Send + Sync + 'static,
    F: Future<Output = Result<R::Reply, E>> + Send + 'static,
    E: HasCode,
{
    Arc::new(move |asked: Asked<'_>| -> Answer {
        let request = payload::unseal(asked.body, asked.seals);
        let request = match request.and_then(|request: R| complete(asked.subject, request)) {
            Ok(request) => request,
            Err(fault) => return std::future::ready(Err(fault)).boxed(),
        };
        let work = handler(request).boxed();
        let keys = asked.bus.seal_keys().clone();
        async move {
            let reply = guarded(R::METHOD, work).await?;
            let mut headers = HeaderMap::new();
            let body = payload::write(&reply, "", &keys, &mut headers)?;
            Ok((headers, body))
        }
        .boxed()
    })
}

/// Fills the fields of a message from its subject, and checks the required ones.
pub(crate) fn complete<M: muster_contracts::Addressed>(
    subject: &str,
    mut message: M,
) -> Result<M, Fault> {
    message.take_from_subject(subject);
    match message.missing() {
        Some(field) => Err(Fault::new(Code::Invalid, format!("{} needs `{field}`", M::NAME))),
        None => Ok(message),
    }
}

/// Runs a handler so that what is internal stays inside.
async fn guarded<T, F, E>(what: &'static str, handler: F) -> Result<T, Fault>
where
    F: Future<Output = Result<T, E>>,
    E: HasCode,
{
    handler.await.map_err(|error| fault_of(what, &error))
}

fn fault_of<E: HasCode>(what: &str, error: &E) -> Fault {
    if error.code() == Code::Internal && !damage::is(error) {
        error!(
            handler = what,
            trace_id = Trace::current_id(),
            error = chain(error),
            "handler failed"
        );
        return Fault::new(Code::Internal, "internal error");
    }
    Fault {
        code: error.code(),
        message: error.to_string(),
        retry_after_ms: error.retry_after_ms(),
        details: error.details(),
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// The name of a durable consumer.
pub(crate) fn durable_name(service: &str, name: &str) -> String {
    format!("{service}-{name}")
}
