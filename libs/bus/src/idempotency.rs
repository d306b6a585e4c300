//! Handlers run once per event id: beyond the broker's own window (24 hours), over replicas and crashes.
//!
//! Before the handler runs, its id is claimed: one message on `$KV.IDEMPOTENCY.<consumer>.<key>`, which the broker stores only where there is none. After the
//! handler and before the acknowledgement the id goes into the log of its owner, together with all others that are finished at that moment. So an id costs the
//! broker one message. Only an id that is claimed already costs more: its owner is asked, and where it is gone, its log is read.

mod log;
mod owner;

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::message::PublishMessage;
use async_nats::{HeaderMap, Request};
use bytes::Bytes;
use muster_contracts::{Code, Fault};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use self::log::Log;
use self::owner::{Known, State};
use crate::{Bucket, Bus, id};

/// How long the broker may take to store a claim before it is looked up whether it has.
const CLAIM_WAIT: Duration = Duration::from_secs(3);
/// How long an owner does not answer until it counts as gone: longer than a reconnection takes.
const GONE_AFTER: Duration = Duration::from_secs(3);
/// How long a claim takes that is just being made.
const IN_FLIGHT: Duration = Duration::from_millis(20);
/// How often a silent owner is asked.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// The broker's answer where a claim is there already; the second one where another is just being made (clusters only).
const TAKEN: [u64; 2] = [10071, 10164];

/// An event id of one consumer: half of its SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key([u8; Self::SIZE]);

impl Key {
    const SIZE: usize = 16;

    fn of(id: &str) -> Self {
        let digest = Sha256::digest(id.as_bytes());
        let mut key = [0; Self::SIZE];
        key.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self(key)
    }

    fn hex(self) -> String {
        id::hex(&self.0, Self::SIZE)
    }
}

/// What one consumer has handled, and what this process of it handles now.
pub(crate) struct Handled {
    bus: Bus,
    /// `$KV.IDEMPOTENCY.<consumer>`.
    prefix: String,
    stream: String,
    /// The inbox on which this process answers for its claims.
    owner: Bytes,
    /// The headers of a claim that must be the first of its id.
    create: HeaderMap,
    known: Arc<Known>,
    log: Log,
    _answering: AbortOnDropHandle<()>,
}

/// Who handles an id.
pub(crate) enum Verdict<'a> {
    /// The caller, now.
    Mine(Claim<'a>),
    /// It was handled.
    Done,
    /// Another task or process, now.
    Elsewhere,
}

/// The right to handle an id. When dropped, another task may take it.
pub(crate) struct Claim<'a> {
    handled: &'a Handled,
    key: Key,
    /// Which of the claims of this id it is.
    revision: u64,
}

/// A claim as it is stored.
struct Stored {
    revision: u64,
    /// Empty where the owner gave it back.
    owner: Bytes,
}

impl Handled {
    pub(crate) async fn open(bus: &Bus, consumer: &str) -> Result<Self, async_nats::Error> {
        let bucket = Bucket::Idempotency.name();
        let prefix = format!("$KV.{bucket}.{consumer}");
        let owner = bus.client().new_inbox();
        let known = Arc::<Known>::default();
        let questions = bus.client().subscribe(owner.clone()).await?;
        let answering = tokio::spawn(owner::answer(bus.clone(), known.clone(), questions));
        Ok(Self {
            log: Log::start(bus, log_prefix(&prefix, &owner), known.clone()),
            bus: bus.clone(),
            stream: format!("KV_{bucket}"),
            owner: owner.into(),
            prefix,
            create: expecting(0),
            known,
            _answering: AbortOnDropHandle::new(answering),
        })
    }

    /// Finds out who handles this id, and claims it where nobody does.
    pub(crate) async fn claim(&self, id: &str) -> Result<Verdict<'_>, Fault> {
        let key = Key::of(id);
        let claim = match self.known.begin(key) {
            State::Unknown => Claim { handled: self, key, revision: 0 },
            State::Running => return Ok(Verdict::Elsewhere),
            State::Done => return Ok(Verdict::Done),
        };
        match self.store(key, self.create.clone(), self.owner.clone()).await {
            Ok(Some(revision)) => Ok(Verdict::Mine(claim.at(revision))),
            Ok(None) | Err(_) => Box::pin(self.resolve(claim)).await,
        }
    }

    /// The revision of the claim; none where another was faster.
    async fn store(
        &self,
        key: Key,
        headers: HeaderMap,
        owner: Bytes,
    ) -> Result<Option<u64>, Fault> {
        let request = Request::new().headers(headers).payload(owner).timeout(Some(CLAIM_WAIT));
        let reply = self
            .bus
            .client()
            .send_request(self.subject(key), request)
            .await
            .map_err(|error| failed("claimed", &error))?;
        match serde_json::from_slice(&reply.payload) {
            Ok(Reply { error: None, seq }) => Ok(Some(seq)),
            Ok(Reply { error: Some(error), .. }) if TAKEN.contains(&error.err_code) => Ok(None),
            Ok(Reply { error: Some(error), .. }) => Err(failed("claimed", &error.description)),
            Err(error) => Err(failed("claimed", &error)),
        }
    }

    /// Decides on an id that is claimed already, or of which it is not known.
    async fn resolve<'a>(&self, claim: Claim<'a>) -> Result<Verdict<'a>, Fault> {
        let key = claim.key;
        let asked = Instant::now();
        loop {
            let Some(stored) = self.stored(key).await? else {
                match self.store(key, self.create.clone(), self.owner.clone()).await? {
                    Some(revision) => return Ok(Verdict::Mine(claim.at(revision))),
                    // A cluster refuses while another claim is on its way, which cannot be read yet.
                    None => {
                        tokio::time::sleep(IN_FLIGHT).await;
                        continue;
                    }
                }
            };
            // Ours: the answer to an earlier try to claim it was lost, or an earlier try to handle it was cut off.
            let (ours, free) = (stored.owner == self.owner, stored.owner.is_empty());
            let state = match ours || free {
                true => Some(State::Unknown),
                false => owner::ask(&self.bus, &stored.owner, key).await,
            };
            match state {
                Some(State::Running) => return Ok(Verdict::Elsewhere),
                Some(State::Done) => return Ok(self.done_by_another(key)),
                Some(State::Unknown) | None => {}
            }
            if !free && self.is_logged(&stored, key).await? {
                return Ok(self.done_by_another(key));
            }
            // It may be connecting anew, with the record of its effect still to write.
            if state.is_none() && asked.elapsed() < GONE_AFTER {
                tokio::time::sleep(ASK_EVERY).await;
                continue;
            }
            if ours {
                return Ok(Verdict::Mine(claim.at(stored.revision)));
            }
            let taken = self.store(key, expecting(stored.revision), self.owner.clone()).await?;
            if let Some(revision) = taken {
                return Ok(Verdict::Mine(claim.at(revision)));
            }
        }
    }

    fn done_by_another<'a>(&self, key: Key) -> Verdict<'a> {
        self.known.done(key);
        Verdict::Done
    }

    /// The claim, as the stream's leader has it: another replica of the stream could be behind, and a claim that is not seen is an effect that is made twice.
    async fn stored(&self, key: Key) -> Result<Option<Stored>, Fault> {
        let message = self.bus.last_message(&self.stream, &self.subject(key)).await?;
        Ok(message.map(|message| Stored { revision: message.sequence, owner: message.payload }))
    }

    async fn is_logged(&self, stored: &Stored, key: Key) -> Result<bool, Fault> {
        let owner = String::from_utf8_lossy(&stored.owner);
        let prefix = log_prefix(&self.prefix, &owner);
        log::contains(&self.bus, &self.stream, &prefix, stored.revision, key).await
    }

    fn subject(&self, key: Key) -> String {
        format!("{}.{}", self.prefix, key.hex())
    }
}

impl Claim<'_> {
    const fn at(mut self, revision: u64) -> Self {
        self.revision = revision;
        self
    }

    /// Records that the id is handled; returns when the broker has it. As long as it has not, the id counts as running, here and for other replicas.
    pub(crate) async fn done(self) {
        self.handled.log.record(self.key).await;
    }

    /// Gives the id back, so that the next try need not find out what became of this one.
    pub(crate) async fn release(self) {
        // Unless another has taken it over meanwhile.
        let message = PublishMessage::build().headers(expecting(self.revision));
        let subject = self.handled.subject(self.key);
        if let Err(error) = self.handled.bus.jetstream().send_publish(subject, message).await {
            debug!(%error, "claim could not be given back, the next try asks for it");
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.handled.known.end(self.key);
    }
}

/// `$KV.IDEMPOTENCY.<consumer>.done.<owner>`: under it an owner's log.
fn log_prefix(prefix: &str, owner: &str) -> String {
    format!("{prefix}.done.{}", owner.rsplit('.').next().unwrap_or(owner))
}

fn expecting(revision: u64) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE, revision.to_string());
    headers
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    seq: u64,
    error: Option<ReplyError>,
}

#[derive(Deserialize)]
struct ReplyError {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

fn failed(what: &str, error: &(impl std::fmt::Display + ?Sized)) -> Fault {
    Fault::new(Code::Unavailable, format!("an event id could not be {what}: {error}"))
        .with_retry_after_ms(500)
}
