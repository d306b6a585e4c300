//! The part of a service: it handles its own dead letters again when it is asked, and writes those that a crash kept from being written.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::Utc;
use futures::FutureExt;
use muster_contracts::dead_letter::v1::{DeadLetter, ReplayRequest, ReplayResult};
use muster_contracts::{Code, Fault, Request, Stream, now, permissions};
use tracing::{info, warn};

use super::bury::Advisory;
use super::not_there;
use crate::consume::{Consume, Consumer, Idempotency};
use crate::incoming::Incoming;
use crate::line::{Again, Line};
use crate::publish::{decode, subject_of};
use crate::routes::{self, Work};
use crate::rpc::{self, Endpoint};
use crate::trace::Trace;
use crate::{Bus, headers};

/// What the broker tells about messages that have run out of deliveries.
const ADVISORIES: &str = "$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>";

/// The consumers of a service, by which their dead letters are handled again. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Desk {
    bus: Bus,
    lines: Arc<[Arc<Line>]>,
    /// The letters that are being replayed.
    busy: Arc<Mutex<HashSet<u64>>>,
    /// A consumer that fetches one message has one name, so one at a time.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

impl Desk {
    pub(crate) fn new(bus: &Bus, lines: &[Arc<Line>]) -> Self {
        Self {
            bus: bus.clone(),
            lines: lines.into(),
            busy: Arc::default(),
            fetching: Arc::default(),
        }
    }

    /// Answers `dead_letter.replay.{service}` for this service.
    pub(crate) fn endpoint(&self) -> Result<Endpoint, Fault> {
        let service = self.bus.service().to_owned();
        let subject = subject_of(&ReplayRequest { service, ..ReplayRequest::default() })?;
        let desk = self.clone();
        let answer = routes::answering(move |request| {
            let desk = desk.clone();
            async move { desk.replay(request).await }
        });
        Ok(Endpoint {
            name: permissions::kebab(ReplayRequest::METHOD),
            subjects: vec![subject],
            signs: rpc::signs::<ReplayRequest>(),
            large: rpc::is_large::<ReplayRequest>(),
            answer,
        })
    }

    /// Reads what the broker gave up.
    pub(crate) fn advisories(&self) -> Consumer {
        let desk = self.clone();
        let handle = move |incoming: Incoming| -> Work {
            let desk = desk.clone();
            async move { desk.lost(&incoming).await }.boxed()
        };
        Consumer {
            name: permissions::ADVISORIES.to_owned(),
            stream: Stream::Dlq,
            patterns: vec![ADVISORIES.to_owned()],
            settings: Consume {
                concurrency: 4,
                idempotency: Idempotency::Handler("a message has one letter, by its id"),
                ..Consume::default()
            },
            handle: Arc::new(handle),
        }
    }

    /// A message that ran out of deliveries becomes a letter; of others' messages they know themselves.
    async fn lost(&self, incoming: &Incoming) -> Result<(), Fault> {
        let advisory: Advisory = serde_json::from_slice(&incoming.body).map_err(|error| {
            Fault::new(Code::Invalid, format!("not an advisory of the broker: {error}"))
        })?;
        let Some(line) = self.line(&advisory.stream, &advisory.consumer) else { return Ok(()) };
        let _one = self.fetching.lock().await;
        let letter = self.bus.bury_lost(line, &advisory).await?;
        warn!(
            consumer = line.durable(),
            sequence = advisory.stream_seq,
            letter,
            "a message ran out of deliveries without an answer, it is a dead letter now"
        );
        Ok(())
    }

    async fn replay(&self, request: ReplayRequest) -> Result<ReplayResult, Fault> {
        let line = self.line(&request.stream, &request.consumer).ok_or_else(|| {
            let ReplayRequest { service, stream, consumer, letter } = &request;
            let text = format!(
                "dead letter {letter} cannot be replayed: {service} has no consumer {consumer:?} of the stream {stream:?} in this version; purge the letter, or run the version that has it"
            );
            Fault::new(Code::NotFound, text)
        })?;
        let _busy = Busy::begin(&self.busy, request.letter)?;
        let letter = self.letter(line, request.letter).await?;
        if letter.subject.is_empty() {
            let text = format!(
                "dead letter {} has no message: it was gone from its stream; purge the letter",
                request.letter
            );
            return Err(Fault::new(Code::NotFound, text));
        }
        let incoming = Incoming::from_letter(&letter);
        let trace = Trace::continued(incoming.header(headers::TRACEPARENT));
        match trace.run(Box::pin(line.again(incoming, request.letter))).await {
            Ok(Again::Handled) => {
                info!(consumer = line.durable(), letter = request.letter, "dead letter handled");
                Ok(ReplayResult { handled: true, ..ReplayResult::default() })
            }
            Ok(Again::Stopped) => {
                let text = format!("{} stops: replay the letter again", self.bus.service());
                Err(Fault::new(Code::Unavailable, text).with_retry_after_ms(2000))
            }
            Err(fault) => self.keep(letter, request.letter, fault).await,
        }
    }

    /// A letter that failed again: a new one takes its place.
    async fn keep(
        &self,
        letter: DeadLetter,
        place: u64,
        fault: Fault,
    ) -> Result<ReplayResult, Fault> {
        warn!(consumer = letter.consumer, letter = place, code = %fault.code, error = %fault, "dead letter failed again");
        let newer = DeadLetter {
            code: fault.code.name().to_owned(),
            reason: fault.message.clone(),
            deliveries: letter.deliveries.saturating_add(1),
            last_at: now(Utc::now()),
            service: self.bus.service().to_owned(),
            replaces: place,
            ..letter
        };
        let letter = self.bus.write(&newer).await?;
        Ok(ReplayResult { handled: false, code: newer.code, reason: newer.reason, letter })
    }

    /// The letter, read from the stream: whoever asks cannot say what is in it.
    async fn letter(&self, line: &Line, sequence: u64) -> Result<DeadLetter, Fault> {
        let own = DeadLetter {
            stream: line.stream().to_owned(),
            consumer: line.durable().to_owned(),
            ..DeadLetter::default()
        };
        let (name, subject) = (format!("{}-letter", line.durable()), subject_of(&own)?);
        let fetched = {
            let _one = self.fetching.lock().await;
            self.bus.fetch(Stream::Dlq, &name, &[subject], sequence).await?
        };
        let message = fetched.ok_or_else(|| not_there(sequence))?;
        let body = self.bus.open_body(message.headers.as_ref(), message.payload.clone()).await?;
        decode(&body)
    }

    fn line(&self, stream: &str, durable: &str) -> Option<&Line> {
        let mut lines = self.lines.iter().map(Arc::as_ref);
        lines.find(|line| line.stream() == stream && line.durable() == durable)
    }
}

/// A letter that is being replayed, until this is dropped.
struct Busy<'a> {
    letters: &'a Mutex<HashSet<u64>>,
    letter: u64,
}

impl<'a> Busy<'a> {
    fn begin(letters: &'a Mutex<HashSet<u64>>, letter: u64) -> Result<Self, Fault> {
        let begun = letters.lock().unwrap_or_else(PoisonError::into_inner).insert(letter);
        if begun {
            return Ok(Self { letters, letter });
        }
        let text = format!("dead letter {letter} is just being replayed");
        Err(Fault::new(Code::Conflict, text))
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.letter);
    }
}
