//! Claims ids for one process: all that are asked for at one moment in one message.
//!
//! Whoever wants to change the table of claims has read it and every log of handled ids before, and the broker stores the change only where nobody else has changed the table meanwhile. So
//! whoever has claimed an id knows that nobody else has it, and that nobody had handled it. A process that is alone reads nothing: it knows the table that it wrote itself.

use std::sync::Arc;
use std::time::Duration;

use async_nats::{HeaderMap, Request};
use bytes::Bytes;
use muster_contracts::Fault;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use tracing::debug;

use super::known::{Known, now};
use super::table::Table;
use super::{Key, failed, log};
use crate::Bus;
use crate::publish::{IN_FLIGHT, Stored, WRONG_LAST_SEQUENCE};

/// The most that is asked for at once.
const MOST: usize = 1024;
/// How long the broker may take to store a table before it is looked up whether it has.
const STORE_WAIT: Duration = Duration::from_secs(3);
/// Where others write as well, who writes without a pause leaves them time for one write: this long, and up to twice as long again by chance.
const TURN: Duration = Duration::from_micros(500);

enum Ask {
    /// `over`: the owner from whom the id is taken, if it still has it.
    Claim { key: Key, over: Option<Bytes>, answer: oneshot::Sender<Result<Answer, Fault>> },
    /// What is not running any more is withdrawn now.
    Withdraw { written: oneshot::Sender<()> },
}

/// What became of a claim.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Mine,
    Done,
    Held(Bytes),
}

/// The claims of one process for one consumer.
pub(super) struct Ledger {
    asks: mpsc::Sender<Ask>,
    _writing: AbortOnDropHandle<()>,
}

/// Where a consumer keeps its table and its logs.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) stream: String,
    pub(super) table: String,
    /// The pattern of all logs.
    pub(super) logs: String,
}

impl Ledger {
    /// Reads what is handled, and begins to answer.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be read.
    pub(super) async fn open(
        bus: &Bus,
        place: Place,
        owner: Bytes,
        known: Arc<Known>,
    ) -> Result<Self, Fault> {
        let (bus, table) = (bus.clone(), Table::default());
        let mut writer =
            Writer { bus, place, owner, known, table, revision: 0, read: 0, current: false };
        writer.catch_up().await?;
        let (asks, received) = mpsc::channel(4 * MOST);
        let writing = tokio::spawn(writer.run(received));
        Ok(Self { asks, _writing: AbortOnDropHandle::new(writing) })
    }

    /// Claims an id that this process says is running.
    ///
    /// # Errors
    /// UNAVAILABLE where it is not known what the broker has stored.
    pub(super) async fn claim(&self, key: Key, over: Option<Bytes>) -> Result<Answer, Fault> {
        let (answer, answered) = oneshot::channel();
        let asked = self.asks.send(Ask::Claim { key, over, answer }).await;
        match (asked, answered.await) {
            (Ok(()), Ok(answer)) => answer,
            _ => Err(failed("claimed", "the consumer has ended")),
        }
    }

    /// Returns when other processes can see that what has ended is free again, or when that failed.
    pub(super) async fn withdraw(&self) {
        let (written, told) = oneshot::channel();
        if self.asks.send(Ask::Withdraw { written }).await.is_ok() {
            drop(told.await);
        }
    }
}

struct Writer {
    bus: Bus,
    place: Place,
    owner: Bytes,
    known: Arc<Known>,
    /// As the stream has it, if it is `current`; without what is handled since.
    table: Table,
    /// 0 where there is no table.
    revision: u64,
    /// The logs are read up to here.
    read: u64,
    /// Whether nobody is known to have changed the table since.
    current: bool,
}

impl Writer {
    async fn run(mut self, mut received: mpsc::Receiver<Ask>) {
        let mut asks = Vec::with_capacity(MOST);
        while received.recv_many(&mut asks, MOST).await > 0 {
            gather(&mut received, &mut asks).await;
            match self.serve(&asks).await {
                Ok(answers) => tell(asks.drain(..), answers.into_iter().map(Ok)),
                Err(fault) => {
                    // What was written last may be stored or not.
                    self.current = false;
                    debug!(error = %fault, "claims could not be written");
                    tell(asks.drain(..), std::iter::repeat(Err(fault)));
                }
            }
            // With nothing to write there is time enough.
            if !received.is_empty() && self.table.is_shared(&self.owner) {
                tokio::time::sleep(TURN + TURN.mul_f64(2.0 * rand::random::<f64>())).await;
            }
        }
    }

    /// The answers to the claims, in their order.
    async fn serve(&mut self, asks: &[Ask]) -> Result<Vec<Answer>, Fault> {
        // Whoever is gone may have written its log since.
        if asks.iter().any(|ask| matches!(ask, Ask::Claim { over: Some(_), .. })) {
            self.current = false;
        }
        loop {
            if !self.current {
                self.catch_up().await?;
            }
            let (table, answers, changed) = self.decide(asks);
            if !changed {
                return Ok(answers);
            }
            match self.store(&table).await? {
                Some(revision) => {
                    (self.table, self.revision) = (table, revision);
                    return Ok(answers);
                }
                None => self.current = false,
            }
        }
    }

    /// The table as it should be, what to answer once it is so, and whether it is another than now.
    fn decide(&self, asks: &[Ask]) -> (Table, Vec<Answer>, bool) {
        let (mut table, now) = (self.table.clone(), now());
        let mut changed = table.withdraw(&self.owner, |key| self.known.is_running(key));
        if self.revision == 0 {
            // It was never there, somebody has deleted it, or it has reached the bucket's age.
            self.known.running().into_iter().for_each(|key| table.give(&self.owner, key, now));
            changed = true;
        }
        let mut answers = Vec::with_capacity(asks.len());
        for ask in asks {
            let Ask::Claim { key, over, .. } = ask else { continue };
            answers.push(if self.known.is_done(*key) {
                Answer::Done
            } else {
                match table.holder(*key) {
                    Some(holder) if *holder == self.owner => Answer::Mine,
                    Some(holder) if over.as_ref() != Some(holder) => Answer::Held(holder.clone()),
                    holder => {
                        if holder.is_some() {
                            table.take(*key);
                        }
                        table.give(&self.owner, *key, now);
                        changed = true;
                        Answer::Mine
                    }
                }
            });
        }
        // Only to withdraw what is handled anyway is not worth a message.
        let needed = asks.iter().any(|ask| matches!(ask, Ask::Withdraw { .. }))
            || answers.iter().any(|answer| matches!(answer, Answer::Mine));
        (table, answers, changed && needed)
    }

    /// Reads the table, then what was handled until now.
    async fn catch_up(&mut self) -> Result<(), Fault> {
        let stored = self.bus.last_message(&self.place.stream, &self.place.table).await?;
        let revision = stored.as_ref().map_or(0, |message| message.sequence);
        if revision < self.revision {
            // The stream is not the one that it was: its logs are elsewhere too.
            self.read = 0;
        }
        let (stream, logs) = (&self.place.stream, &self.place.logs);
        self.read = log::read(&self.bus, stream, logs, self.read, &self.known).await?;
        self.table = match stored {
            Some(message) => Table::decode(message.payload).ok_or_else(|| {
                failed("claimed", &format!("{} is not a table of claims", self.place.table))
            })?,
            None => Table::default(),
        };
        self.table.tidy(|key| self.known.is_done(key), now());
        self.revision = revision;
        self.current = true;
        Ok(())
    }

    /// The revision of the table; none where another has changed it.
    async fn store(&self, table: &Table) -> Result<Option<u64>, Fault> {
        let mut headers = HeaderMap::new();
        let expected = async_nats::header::NATS_EXPECTED_LAST_SUBJECT_SEQUENCE;
        headers.insert(expected, self.revision.to_string());
        let request =
            Request::new().headers(headers).payload(table.encode()).timeout(Some(STORE_WAIT));
        let reply = self.bus.client().send_request(self.place.table.clone(), request).await;
        let reply = reply.map_err(|error| failed("claimed", &error))?;
        match Stored::read(&reply.payload) {
            Stored { error: None, seq, .. } => Ok(Some(seq)),
            // The second one where another write is just being made.
            Stored { error: Some(error), .. }
                if [WRONG_LAST_SEQUENCE, IN_FLIGHT].contains(&error.err_code) =>
            {
                Ok(None)
            }
            Stored { error: Some(error), .. } => Err(failed("claimed", &error)),
        }
    }
}

/// Takes what others ask at the same moment: whoever is ready to ask does so before this goes on.
async fn gather(received: &mut mpsc::Receiver<Ask>, asks: &mut Vec<Ask>) {
    loop {
        let before = asks.len();
        tokio::task::yield_now().await;
        while asks.len() < MOST
            && let Ok(ask) = received.try_recv()
        {
            asks.push(ask);
        }
        if asks.len() == before {
            return;
        }
    }
}

/// Tells each claim its answer. Nobody listens where the message's task was cut off.
fn tell(asks: impl Iterator<Item = Ask>, mut answers: impl Iterator<Item = Result<Answer, Fault>>) {
    for ask in asks {
        match ask {
            Ask::Claim { answer, .. } => {
                if let Some(result) = answers.next() {
                    let _told = answer.send(result);
                }
            }
            Ask::Withdraw { written } => {
                let _told = written.send(());
            }
        }
    }
}
