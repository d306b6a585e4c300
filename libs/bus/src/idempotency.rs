//! Handlers run once per event id: beyond the broker's own window (24 hours), over replicas and crashes.
//!
//! Before a handler runs, its id is claimed, together with all others that wait at that moment: one message, the table of what runs now, which the broker stores only where nobody else has
//! changed it. After the handler and before the acknowledgement the id goes into the log of its process, again together with others. So hundreds of ids cost the broker two messages. Every
//! process knows the ids of a day; what others have handled it reads before it changes a table that they have changed. Only an id that somebody holds already costs more: its owner is asked.

mod known;
mod ledger;
mod log;
mod owner;
mod table;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use muster_contracts::{Code, Fault};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use self::known::{Known, State};
use self::ledger::{Answer, Ledger, Place};
use self::log::Log;
use crate::{Bucket, Bus};

/// How long an owner does not answer until it counts as gone: longer than a reconnection takes.
const GONE_AFTER: Duration = Duration::from_secs(3);
/// How often a silent owner is asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

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

    /// The keys that stand one behind the other in these bytes.
    fn all_of(bytes: &[u8]) -> impl Iterator<Item = Self> {
        let (keys, _rest) = bytes.as_chunks();
        keys.iter().copied().map(Self)
    }
}

/// What one consumer has handled, and what this process of it handles now.
pub(crate) struct Handled {
    bus: Bus,
    known: Arc<Known>,
    ledger: Ledger,
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
}

impl Handled {
    pub(crate) async fn open(bus: &Bus, consumer: &str) -> Result<Self, async_nats::Error> {
        let bucket = Bucket::Idempotency.name();
        let prefix = format!("$KV.{bucket}.{consumer}");
        let owner = bus.client().new_inbox();
        let known = Arc::<Known>::default();
        let questions = bus.client().subscribe(owner.clone()).await?;
        let answering = tokio::spawn(owner::answer(bus.clone(), known.clone(), questions));
        let name = owner.rsplit('.').next().unwrap_or(&owner);
        let log = Log::start(bus, format!("{prefix}.done.{name}"), known.clone());
        let place = Place {
            stream: format!("KV_{bucket}"),
            table: format!("{prefix}.claims"),
            logs: format!("{prefix}.done.>"),
        };
        let ledger = Ledger::open(bus, place, Bytes::from(owner), known.clone()).await?;
        let _answering = AbortOnDropHandle::new(answering);
        Ok(Self { bus: bus.clone(), known, ledger, log, _answering })
    }

    /// Finds out who handles this id, and claims it where nobody does.
    pub(crate) async fn claim(&self, id: &str) -> Result<Verdict<'_>, Fault> {
        let key = Key::of(id);
        let claim = match self.known.begin(key) {
            State::Unknown => Claim { handled: self, key },
            State::Running => return Ok(Verdict::Elsewhere),
            State::Done => return Ok(Verdict::Done),
        };
        match self.ledger.claim(key, None).await? {
            Answer::Mine => Ok(Verdict::Mine(claim)),
            Answer::Done => Ok(Verdict::Done),
            Answer::Held(owner) => Box::pin(self.resolve(claim, owner)).await,
        }
    }

    /// Decides on an id that another process has claimed.
    async fn resolve<'a>(&self, claim: Claim<'a>, mut owner: Bytes) -> Result<Verdict<'a>, Fault> {
        let (key, asked) = (claim.key, Instant::now());
        loop {
            let over = match owner::ask(&self.bus, &owner, key).await {
                Some(State::Running) => return Ok(Verdict::Elsewhere),
                Some(State::Done) => {
                    self.known.done([key], known::now());
                    return Ok(Verdict::Done);
                }
                Some(State::Unknown) => Some(owner),
                // It may be connecting anew, with the record of its effect still to write.
                None if asked.elapsed() < GONE_AFTER => {
                    tokio::time::sleep(ASK_EVERY).await;
                    None
                }
                None => Some(owner),
            };
            owner = match self.ledger.claim(key, over).await? {
                Answer::Mine => return Ok(Verdict::Mine(claim)),
                Answer::Done => return Ok(Verdict::Done),
                Answer::Held(owner) => owner,
            };
        }
    }
}

impl Claim<'_> {
    /// Records that the id is handled; returns when the broker has it. As long as it has not, the id counts as running, here and for other replicas.
    pub(crate) async fn done(self) {
        self.handled.log.record(self.key).await;
    }

    /// Gives the id back; returns when other replicas can see it, so that the next try need not find out what became of this one.
    pub(crate) async fn release(self) {
        let handled = self.handled;
        drop(self);
        handled.ledger.withdraw().await;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.handled.known.end(self.key);
    }
}

fn failed(what: &str, error: &(impl std::fmt::Display + ?Sized)) -> Fault {
    Fault::new(Code::Unavailable, format!("an event id could not be {what}: {error}"))
        .with_retry_after_ms(500)
}
