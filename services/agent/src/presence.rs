//! How agents are: idle, running or error. One truth for all replicas: the open runs of each agent are one value in the bucket WORK, changed by compare-and-set, with signs of life of the processes that have them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use muster_bus::{Bucket, Bus, Kv, KvError, MessageId};
use muster_contracts::agent::v1::AgentStatus;
use muster_contracts::{Code, Fault, now};
use tokio::sync::{Mutex, mpsc};
use tokio::time::{MissedTickBehavior, interval};
use tracing::debug;

use crate::domain::presence::{News, OpenRuns, Told};
use crate::work::key;

/// How long a sign of life holds: a process that has crashed runs nothing from then on.
const LIFE: Duration = Duration::from_secs(15);
/// How often a process with open runs gives one.
const BEAT: Duration = Duration::from_secs(5);
/// Notes that wait to be written down; whoever has one more waits. Enough for the ends of all runs that a process can have.
const NOTES: usize = 8_192;
/// How often a change is decided again where another process was faster; then it waits for the next beat.
const TRIES: u32 = 16;

/// Who runs. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Presence {
    bus: Bus,
    runs: Kv<OpenRuns>,
    process: Arc<str>,
    notes: mpsc::Sender<Note>,
    /// What this process has to write down; held by whoever writes.
    desk: Arc<Mutex<Desk>>,
}

/// One run in this process.
pub(crate) struct Visit {
    presence: Presence,
    agent: String,
    run: String,
    begun: AtomicBool,
    failed: AtomicBool,
}

enum Note {
    Begun { agent: String, run: String },
    Over { agent: String, run: String, failed: bool },
}

struct Desk {
    notes: mpsc::Receiver<Note>,
    /// What is to be told of each agent that has open runs here, or of which something is not written down yet.
    agents: BTreeMap<String, News>,
}

impl Presence {
    pub(crate) fn new(bus: &Bus) -> Self {
        let (sender, notes) = mpsc::channel(NOTES);
        Self {
            bus: bus.clone(),
            runs: bus.kv(Bucket::Work),
            process: MessageId::random().as_str().into(),
            notes: sender,
            desk: Arc::new(Mutex::new(Desk { notes, agents: BTreeMap::new() })),
        }
    }

    /// A run of the agent that may begin or go on here.
    pub(crate) fn visit(&self, agent: &str, execution_id: &str, task: &str) -> Visit {
        Visit {
            presence: self.clone(),
            agent: agent.to_owned(),
            run: name(execution_id, task),
            begun: AtomicBool::new(false),
            failed: AtomicBool::new(false),
        }
    }

    /// A run that may be open nowhere is over.
    pub(crate) async fn over(&self, agent: &str, execution_id: &str, task: &str) {
        let run = name(execution_id, task);
        self.note(Note::Over { agent: agent.to_owned(), run, failed: false }).await;
    }

    /// Whether a run of the agent is open in any process.
    pub(crate) async fn is_running(&self, agent: &str) -> Result<bool, Fault> {
        let found = self.runs.get(&place(agent)).await?;
        Ok(found.is_some_and(|found| found.value.is_running(Utc::now())))
    }

    /// Writes down what happens, and gives signs of life. Beside the runs: none of them waits for it.
    pub(crate) async fn keep(self) {
        let mut desk = self.desk.lock().await;
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let Desk { notes, agents } = &mut *desk;
            let mut agents_with_news = Vec::new();
            tokio::select! {
                note = notes.recv() => {
                    let mut next = note;
                    // What comes together is written down together.
                    while let Some(note) = next {
                        agents_with_news.push(take(agents, note));
                        next = notes.try_recv().ok();
                    }
                }
                _ = beat.tick() => agents_with_news.extend(agents.keys().cloned()),
            }
            agents_with_news.sort();
            agents_with_news.dedup();
            for agent in agents_with_news {
                self.write(agents, &agent).await;
            }
        }
    }

    /// No run is open here any more. To be called when nothing is, and nobody keeps.
    pub(crate) async fn leave(&self) {
        let mut desk = self.desk.lock().await;
        let Desk { notes, agents } = &mut *desk;
        while let Ok(note) = notes.try_recv() {
            take(agents, note);
        }
        let known: Vec<String> = agents.keys().cloned().collect();
        for agent in known {
            if let Some(news) = agents.get_mut(&agent) {
                news.over.append(&mut news.open);
            }
            self.write(agents, &agent).await;
        }
    }

    /// What cannot be written down now is with the next beat: a status is no reason to fail a run.
    async fn write(&self, agents: &mut BTreeMap<String, News>, agent: &str) {
        let Some(news) = agents.get_mut(agent) else { return };
        if let Err(error) = self.change(agent, news).await {
            debug!(agent, %error, "status was not written down");
            return;
        }
        *news = News { open: std::mem::take(&mut news.open), ..News::default() };
        if news.open.is_empty() {
            agents.remove(agent);
        }
    }

    async fn change(&self, agent: &str, news: &News) -> Result<(), Fault> {
        let place = place(agent);
        for _ in 0..TRIES {
            // Before it is looked who else runs it: whoever begins behind that tells it later than this.
            let at = Utc::now();
            let found = self.runs.get(&place).await?;
            let revision = found.as_ref().map(|found| found.revision);
            let before = found.map(|found| found.value).unwrap_or_default();
            let mut runs = before.clone();
            let told = runs.hear(&self.process, at + LIFE, news);
            let written = match revision {
                _ if runs == before => Ok(0),
                Some(revision) => self.runs.update(&place, &runs, revision).await,
                None => self.runs.create(&place, &runs).await,
            };
            match written {
                Ok(_) => return self.tell(agent, at, &told).await,
                Err(KvError::Conflict) => {}
                Err(KvError::Fault(fault)) => return Err(fault),
            }
        }
        Err(Fault::new(Code::Unavailable, "others were faster each time"))
    }

    async fn tell(&self, agent: &str, mut at: DateTime<Utc>, told: &[Told]) -> Result<(), Fault> {
        for told in told {
            let status = match told {
                Told::Running => "running",
                Told::Idle => "idle",
                Told::Error => "error",
            };
            let event = AgentStatus {
                agent_id: agent.to_owned(),
                status: status.to_owned(),
                timestamp: now(at),
                ..AgentStatus::default()
            };
            at += TimeDelta::microseconds(1);
            self.bus.publish(&event, &MessageId::random()).await?;
        }
        Ok(())
    }

    async fn note(&self, note: Note) {
        // Nobody writes down any more where the service stops.
        drop(self.notes.send(note).await);
    }
}

impl Visit {
    /// The run begins or goes on. Programs on the bus say themselves how they are: for them it is not called.
    pub(crate) async fn begin(&self) {
        if !self.begun.swap(true, Ordering::Relaxed) {
            let (agent, run) = (self.agent.clone(), self.run.clone());
            self.presence.note(Note::Begun { agent, run }).await;
        }
    }

    /// The run has failed.
    pub(crate) fn failed(&self) {
        self.failed.store(true, Ordering::Relaxed);
    }

    /// The run is over or stands still.
    pub(crate) async fn end(self) {
        if self.begun.swap(false, Ordering::Relaxed) {
            self.presence.note(self.over()).await;
        }
    }

    fn over(&self) -> Note {
        let failed = self.failed.load(Ordering::Relaxed);
        Note::Over { agent: self.agent.clone(), run: self.run.clone(), failed }
    }
}

impl Drop for Visit {
    /// A run that panicked, or could not be cancelled, is here no more.
    fn drop(&mut self) {
        if *self.begun.get_mut() {
            // Room is made for more notes than there can be runs.
            drop(self.presence.notes.try_send(self.over()));
        }
    }
}

/// Adds a note to the news of its agent, which it names.
fn take(agents: &mut BTreeMap<String, News>, note: Note) -> String {
    match note {
        Note::Begun { agent, run } => {
            let news = agents.entry(agent.clone()).or_default();
            news.over.remove(&run);
            news.open.insert(run);
            news.begun = true;
            agent
        }
        Note::Over { agent, run, failed } => {
            let news = agents.entry(agent.clone()).or_default();
            news.open.remove(&run);
            news.over.insert(run);
            news.failed |= failed;
            agent
        }
    }
}

/// A short name for a run.
fn name(execution_id: &str, task: &str) -> String {
    MessageId::derived([execution_id, task]).as_str().chars().take(16).collect()
}

fn place(agent: &str) -> String {
    format!("running/{}", key(agent))
}
