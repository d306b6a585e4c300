//! Messages that nobody could handle: kept with their reason, never lost, and handled again when the cause is mended.
//!
//! | who | does |
//! |---|---|
//! | the service that gives a message up | writes the letter (`bury`), also for what the broker gave up after crashes |
//! | the same service, when it is asked (`dead_letter.replay.{service}`) | reads the letter from the stream and runs its handler (`desk`) |
//! | whoever asks: the gateway | lists, shows, replays and purges |
//!
//! Invariant: a letter is removed by who asked, after the handler has ended well. A crash before that leaves it; a second replay then changes nothing, as any redelivery.

mod bury;
mod desk;
mod filter;

use std::time::Duration;

use async_nats::jetstream::stream::{LastRawMessageErrorKind, RawMessageError};
use chrono::{DateTime, Utc};
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use muster_contracts::dead_letter::v1::{DeadLetter, ReplayRequest};
use muster_contracts::{Addressed, Code, Fault, Stream, now, permissions, subject};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;
use tokio::time::error::Elapsed;

pub(crate) use self::desk::Desk;
pub use self::filter::Filter;
use crate::incoming::{Incoming, Repeatable};
use crate::journal::unreadable;
use crate::publish::check;
use crate::replay::Start;
use crate::trace::Trace;
use crate::{Bus, Recorded, headers};

/// How long a replay is waited for while its service gives signs of life: longer than any handler works.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Replays of many letters that run at the same time.
const AT_ONCE: usize = 8;
/// Letters that are looked for at once to be replayed or purged.
const PORTION: usize = 64;
/// Errors that a batch tells.
const ERRORS: usize = 10;

/// The dead letters of the platform.
#[derive(Clone)]
pub struct DeadLetters {
    bus: Bus,
}

/// A dead letter with its place in the stream of dead letters.
#[derive(Clone, Debug, PartialEq)]
pub struct Letter {
    /// Its place: by it a letter is shown, replayed and purged.
    pub sequence: u64,
    /// When it was written.
    pub time: DateTime<Utc>,
    /// What it says.
    pub content: DeadLetter,
}

/// A part of the stream of dead letters: from the first sequence to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first sequence.
    pub first: u64,
    /// The last one. Letters that are written later have higher ones.
    pub last: u64,
}

impl Range {
    /// Everything that is there now.
    pub const ALL: Self = Self { first: 1, last: u64::MAX };
}

/// Some letters, oldest first.
#[derive(Clone, Debug, PartialEq)]
pub struct Page {
    /// The letters.
    pub letters: Vec<Letter>,
    /// What was not looked at; none at the end.
    pub next: Option<Range>,
}

/// How a replay ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Replayed {
    /// The message is handled, and its letter removed.
    Handled,
    /// The handler gave it up again.
    Failed {
        /// The sequence of the letter that took the place of the replayed one.
        sequence: u64,
        /// The fault's code, by its name.
        code: String,
        /// Why.
        reason: String,
    },
}

/// How fast and how much is replayed.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Replays that begin within a second; at least 1.
    pub per_second: u32,
    /// Letters at most.
    pub limit: usize,
    /// How long; what has begun goes on behind it.
    pub time: Duration,
}

/// How the replay of several letters went.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Letters whose message is handled now.
    pub handled: usize,
    /// Letters that stay.
    pub failed: usize,
    /// Letters whose handler still works.
    pub running: usize,
    /// The first ten that failed: the sequence of the letter that is there now, and why.
    pub errors: Vec<(u64, String)>,
    /// What was not looked at; none at the end.
    pub next: Option<Range>,
}

impl Bus {
    /// The dead letters.
    ///
    /// ```no_run
    /// # use muster_bus::{Bus, Replayed};
    /// # use muster_contracts::Fault;
    /// # async fn example(bus: Bus) -> Result<(), Fault> {
    /// let letters = bus.dead_letters();
    /// for (sequence, letter) in letters.list(10).await? {
    ///     println!("{}: {}", letter.subject, letter.reason);
    ///     if letters.replay(sequence).await? == Replayed::Handled {
    ///         println!("handled now");
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn dead_letters(&self) -> DeadLetters {
        DeadLetters { bus: self.clone() }
    }
}

impl DeadLetters {
    /// The oldest `limit` dead letters with their sequences.
    ///
    /// # Errors
    /// UNAVAILABLE where the stream cannot be read.
    pub async fn list(&self, limit: usize) -> Result<Vec<(u64, DeadLetter)>, Fault> {
        let page = self.find(&Filter::default(), Range::ALL, limit).await?;
        Ok(page.letters.into_iter().map(|letter| (letter.sequence, letter.content)).collect())
    }

    /// The letters of a range that fit, oldest first, at most `limit`.
    ///
    /// # Errors
    /// INVALID where the filter names what no letter can have: an unknown stream, code or message type, a consumer that cannot be one, an end before its beginning; UNAVAILABLE where the stream cannot be read.
    pub async fn find(&self, filter: &Filter, range: Range, limit: usize) -> Result<Page, Fault> {
        let last = range.last.min(self.bus.end_of(Stream::Dlq).await?.sequence);
        let mut page = Page { letters: Vec::new(), next: None };
        let start = Start::Sequence(range.first);
        let mut found = Box::pin(self.bus.replay(Stream::Dlq, start, vec![filter.pattern()?]));
        while let Some(recorded) = found.next().await {
            let recorded = recorded?;
            if recorded.sequence > last {
                break;
            }
            if page.letters.len() == limit {
                page.next = Some(Range { first: recorded.sequence, last });
                break;
            }
            let letter = Letter::read(&recorded);
            if !filter.fits(&letter) {
                continue;
            }
            // The place of an older one; a crash may have left both.
            page.letters.retain(|other| other.sequence != letter.content.replaces);
            page.letters.push(letter);
        }
        Ok(page)
    }

    /// The letter with this sequence.
    ///
    /// # Errors
    /// NOT_FOUND where there is none; UNAVAILABLE where the stream cannot be read.
    pub async fn show(&self, sequence: u64) -> Result<Letter, Fault> {
        let name = Stream::Dlq.name();
        let read = async {
            let stream = self.bus.jetstream().get_stream_no_info(name).await;
            let stream = stream.map_err(|error| unreadable(name, &error))?;
            match stream.get_raw_message(sequence.max(1)).await {
                Ok(message) => Ok(message),
                Err(error) => {
                    let fault = unreadable(name, &error);
                    Err(if is_gone(Some(error)) { not_there(sequence) } else { fault })
                }
            }
        };
        let message = self.bus.unless_down(read).await?;
        // The stream keeps the broker's advisories too.
        if !subject::covers(&subject::pattern(DeadLetter::SUBJECT), &message.subject) {
            return Err(not_there(sequence));
        }
        let nanos = i64::try_from(message.time.unix_timestamp_nanos()).unwrap_or_default();
        let incoming = Incoming {
            subject: message.subject.to_string(),
            headers: Some(message.headers.into()),
            body: message.payload,
            sequence,
            time: DateTime::from_timestamp_nanos(nanos),
            attempt: 1,
            seals: None,
            repeatable: Repeatable::default(),
        };
        Ok(Letter::read(&self.bus.recorded(incoming).await))
    }

    /// The message of a letter as its readers got it, its sealed fields still sealed: what was compressed or lay in the object store is opened.
    pub async fn original(&self, letter: &DeadLetter) -> Recorded {
        self.bus.recorded(Incoming::from_letter(letter)).await
    }

    /// Has the message handled again, under its original id and by the consumer that gave it up, and by no other. Returns when the handler has ended; a caller that goes away changes nothing.
    ///
    /// # Errors
    /// NOT_FOUND where there is no such letter, or its consumer is no more; CONFLICT where it is being replayed; UNAVAILABLE where its service does not run.
    pub async fn replay(&self, sequence: u64) -> Result<Replayed, Fault> {
        ended(sequence, self.begin(sequence).await)
    }

    /// Replays the letters of a range that fit, oldest first.
    ///
    /// # Errors
    /// As [`DeadLetters::find`]; what becomes of each letter is in the result.
    pub async fn replay_all(
        &self,
        filter: &Filter,
        range: Range,
        pace: Pace,
    ) -> Result<Batch, Fault> {
        let end = Instant::now() + pace.time;
        let range =
            Range { last: range.last.min(self.bus.end_of(Stream::Dlq).await?.sequence), ..range };
        let mut clock = tokio::time::interval(Duration::from_secs(1) / pace.per_second.max(1));
        let mut batch = Batch { next: Some(range), ..Batch::default() };
        let mut begun = FuturesUnordered::new();
        let mut left = pace.limit;
        'pages: while let Some(range) = batch.next.filter(|_| left > 0) {
            let page = self.find(filter, range, PORTION.min(left)).await?;
            left -= page.letters.len();
            batch.next = page.next;
            for Letter { sequence, .. } in page.letters {
                if begun.len() == AT_ONCE {
                    batch.note(begun.next().await);
                }
                let in_time = tokio::time::timeout_at(end, clock.tick()).await;
                if in_time.is_err() || Instant::now() >= end {
                    batch.next = Some(Range { first: sequence, ..range });
                    break 'pages;
                }
                let replay = tokio::time::timeout_at(end, self.begin(sequence));
                begun.push(replay.map(move |result| (sequence, result)));
            }
        }
        while !begun.is_empty() {
            batch.note(begun.next().await);
        }
        Ok(batch)
    }

    /// Removes the letter with this sequence. Its message is not handled any more.
    ///
    /// # Errors
    /// NOT_FOUND where there is none; UNAVAILABLE where the stream cannot be changed.
    pub async fn purge(&self, sequence: u64) -> Result<(), Fault> {
        self.show(sequence).await?;
        self.remove(sequence).await
    }

    /// Removes the letters of a range that fit, and says how many they were.
    ///
    /// # Errors
    /// As [`DeadLetters::find`].
    pub async fn purge_all(&self, filter: &Filter, range: Range) -> Result<usize, Fault> {
        let (mut next, mut count) = (Some(range), 0);
        while let Some(range) = next {
            let page = self.find(filter, range, PORTION).await?;
            for letter in &page.letters {
                self.remove(letter.sequence).await?;
            }
            count += page.letters.len();
            next = page.next;
        }
        Ok(count)
    }

    /// On its own: the letter is removed at the end, whether or not the caller still waits.
    fn begin(&self, sequence: u64) -> JoinHandle<Result<Replayed, Fault>> {
        let letters = self.clone();
        let work = async move { letters.replay_and_remove(sequence).await };
        match Trace::current() {
            Some(trace) => tokio::spawn(trace.run(work)),
            None => tokio::spawn(work),
        }
    }

    async fn replay_and_remove(&self, sequence: u64) -> Result<Replayed, Fault> {
        let letter = self.show(sequence).await?.content;
        let request = ReplayRequest {
            service: service_of(&letter)?,
            stream: letter.stream,
            consumer: letter.consumer,
            letter: sequence,
        };
        let result = Box::pin(self.bus.request_within(&request, LONGEST)).await?;
        if result.letter != sequence {
            self.remove(sequence).await?;
        }
        if letter.replaces != 0 {
            self.remove(letter.replaces).await?;
        }
        Ok(if result.handled {
            Replayed::Handled
        } else {
            Replayed::Failed { sequence: result.letter, code: result.code, reason: result.reason }
        })
    }

    /// Removes a message of the stream; one that is gone already is no error.
    async fn remove(&self, sequence: u64) -> Result<(), Fault> {
        let name = Stream::Dlq.name();
        let removal = async {
            let stream = self.bus.jetstream().get_stream_no_info(name).await;
            let stream = stream.map_err(|error| unreadable(name, &error))?;
            match stream.delete_message(sequence).await {
                Ok(_) => Ok(()),
                // The broker's answer does not tell why.
                Err(_) if is_gone(stream.get_raw_message(sequence).await.err()) => Ok(()),
                Err(error) => {
                    let text = format!("dead letter {sequence} could not be removed: {error}");
                    Err(Fault::new(Code::Unavailable, text).with_retry_after_ms(500))
                }
            }
        };
        self.bus.unless_down(removal).await
    }
}

impl Letter {
    /// What cannot be read is a letter too: it would hide all others, and nobody could remove it.
    fn read(recorded: &Recorded) -> Self {
        let whole = |letter: DeadLetter| check(&letter).map(|()| letter);
        let content = recorded.decode().and_then(whole).unwrap_or_else(|fault| {
            let mut content = DeadLetter {
                code: fault.code.name().to_owned(),
                reason: format!("the letter itself cannot be read: {}", fault.message),
                last_at: now(recorded.time),
                ..DeadLetter::default()
            };
            content.take_from_subject(&recorded.subject);
            content
        });
        Self { sequence: recorded.sequence, time: recorded.time, content }
    }

    /// The message's type, its full name; empty where it has none.
    #[must_use]
    pub fn message_type(&self) -> &str {
        self.header(headers::CE_TYPE)
    }

    /// The execution that the message belongs to; empty where it belongs to none.
    #[must_use]
    pub fn execution_id(&self) -> &str {
        self.header(headers::EXECUTION)
    }

    fn header(&self, name: &str) -> &str {
        self.content.headers.get(name).map_or("", String::as_str)
    }
}

impl Batch {
    fn note(&mut self, ended_replay: Option<(u64, Result<Joined, Elapsed>)>) {
        let Some((sequence, result)) = ended_replay else { return };
        let (sequence, text) = match result.map(|joined| ended(sequence, joined)) {
            Err(_still_running) => return self.running += 1,
            Ok(Ok(Replayed::Handled)) => return self.handled += 1,
            Ok(Ok(Replayed::Failed { sequence, code, reason })) => {
                (sequence, format!("{code}: {reason}"))
            }
            Ok(Err(fault)) => (sequence, format!("{}: {}", fault.code, fault.message)),
        };
        self.failed += 1;
        if self.errors.len() < ERRORS {
            self.errors.push((sequence, text));
        }
    }
}

type Joined = Result<Result<Replayed, Fault>, JoinError>;

fn ended(sequence: u64, joined: Joined) -> Result<Replayed, Fault> {
    joined.unwrap_or_else(|error| {
        Err(Fault::new(Code::Internal, format!("the replay of dead letter {sequence}: {error}")))
    })
}

/// The service whose consumer wrote the letter.
fn service_of(letter: &DeadLetter) -> Result<String, Fault> {
    if !letter.service.is_empty() {
        return Ok(letter.service.clone());
    }
    let begins = |service: &&str| letter.consumer.starts_with(&format!("{service}-"));
    let longest = permissions::services().into_iter().filter(begins).max_by_key(|name| name.len());
    longest.map(str::to_owned).ok_or_else(|| {
        let text = format!("the consumer {:?} is not one of a service", letter.consumer);
        Fault::new(Code::NotFound, text)
    })
}

fn is_gone(error: Option<RawMessageError>) -> bool {
    error.is_some_and(|error| error.kind() == LastRawMessageErrorKind::NoMessageFound)
}

fn not_there(sequence: u64) -> Fault {
    let text =
        format!("there is no dead letter {sequence}: it was replayed or purged, or never was");
    Fault::new(Code::NotFound, text)
}
