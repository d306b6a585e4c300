//! Executions: read the journal, decide, append, publish. The only place that changes one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use muster_bus::{AppendError, Bus, Journal, MessageId};
use muster_contracts::workflow::v1::{ExecutionState, JournalEntry, StartExecution};
use muster_contracts::{Json, now};
use muster_workflow::{Execution, Fact, Input, step};
use tokio::sync::Mutex;
use tracing::debug;

use crate::definitions::Definitions;
use crate::domain::state::state;
use crate::{Error, effects};

/// How often an append may lose against other replicas before the input waits for its redelivery.
const TRIES: u32 = 16;
/// How long an execution that nothing happens to stays in memory.
const IDLE: Duration = Duration::from_secs(60);

/// The executions of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Executions {
    bus: Bus,
    definitions: Definitions,
    hot: moka::sync::Cache<String, Slot>,
}

/// One actor: whoever holds the lock decides. The append decides between processes.
type Slot = Arc<Mutex<Option<Hot>>>;

/// An execution in memory, as far as its journal was read.
struct Hot {
    execution: Execution,
    /// The sequence of the last entry.
    last: u64,
    /// The inputs that have an entry, with its sequence.
    inputs: HashMap<String, u64>,
}

impl Executions {
    pub(crate) fn new(bus: Bus, definitions: Definitions, hot: u64) -> Self {
        Self {
            bus,
            definitions,
            hot: moka::sync::Cache::builder().max_capacity(hot).time_to_idle(IDLE).build(),
        }
    }

    /// Starts an execution; one that is there already stays as it is.
    pub(crate) async fn start(
        &self,
        command: &StartExecution,
        input_id: &str,
    ) -> Result<(), Error> {
        let input = Input::Start { input: command.input.clone().unwrap_or_default().0 };
        self.advance(&command.execution_id, input_id, &input, Some(command)).await
    }

    /// Gives an input to an execution. Where it was given before, its effects are published again.
    pub(crate) async fn give(
        &self,
        execution_id: &str,
        input_id: &str,
        input: &Input,
    ) -> Result<(), Error> {
        self.advance(execution_id, input_id, input, None).await
    }

    /// The present state of an execution.
    pub(crate) async fn state(&self, execution_id: &str) -> Result<ExecutionState, Error> {
        let slot = self.slot(execution_id);
        let mut guard = slot.lock().await;
        let journal = self.journal(execution_id)?;
        // Another replica may have gone on since.
        if !self.catch_up(execution_id, &journal, &mut guard).await? {
            self.hot.invalidate(execution_id);
        }
        let hot = guard.as_ref().ok_or_else(|| Error::UnknownExecution(execution_id.to_owned()))?;
        Ok(state(&hot.execution))
    }

    async fn advance(
        &self,
        execution_id: &str,
        input_id: &str,
        input: &Input,
        start: Option<&StartExecution>,
    ) -> Result<(), Error> {
        let slot = self.slot(execution_id);
        let mut guard = slot.lock().await;
        let journal = self.journal(execution_id)?;
        for _ in 0..TRIES {
            if guard.is_none() {
                self.catch_up(execution_id, &journal, &mut guard).await?;
            }
            if let (None, Some(start)) = (&*guard, start) {
                let definition = self.definitions.load(&start.digest).await?;
                *guard = Some(Hot {
                    execution: Execution::new(execution_id, definition),
                    last: 0,
                    inputs: HashMap::new(),
                });
            }
            let Some(hot) = guard.as_mut() else {
                debug!(
                    execution = execution_id,
                    input = input_id,
                    "input for an execution that is not there, dropped"
                );
                self.hot.invalidate(execution_id);
                return Ok(());
            };
            if let Some(sequence) = hot.inputs.get(input_id) {
                return self.publish_again(hot, &journal, *sequence).await;
            }
            let facts = step(&hot.execution, input, Utc::now());
            if facts.is_empty() {
                // It may matter to what another replica has appended since: only the journal knows.
                let known = hot.last;
                self.catch_up(execution_id, &journal, &mut guard).await?;
                if guard.as_ref().is_some_and(|hot| hot.last != known) {
                    continue;
                }
                return Ok(());
            }
            let entry = entry(hot, input_id, &facts)?;
            let id = MessageId::derived(["journal", execution_id, input_id]);
            match journal.append(&entry, hot.last, &id).await {
                Ok(sequence) => {
                    hot.note(sequence, input_id, &facts);
                    return effects::publish(&self.bus, &hot.execution, sequence, &facts).await;
                }
                // Somebody else was faster, perhaps with this very input: read what is there and decide again.
                Err(AppendError::Conflict) => *guard = None,
                Err(AppendError::Fault(fault)) => {
                    // Whether it was appended is unknown: the journal will tell.
                    *guard = None;
                    return Err(fault.into());
                }
            }
        }
        Err(Error::Busy(execution_id.to_owned()))
    }

    /// A crash may have come between the append and the effects.
    async fn publish_again(
        &self,
        hot: &Hot,
        journal: &Journal<JournalEntry>,
        sequence: u64,
    ) -> Result<(), Error> {
        let entries = journal.read_after(sequence - 1).await?;
        match entries.first() {
            Some((_, entry)) => {
                effects::publish(&self.bus, &hot.execution, sequence, &facts(entry)?).await
            }
            None => Ok(()),
        }
    }

    /// Reads what the journal has beyond what is in memory. False where there is no journal.
    async fn catch_up(
        &self,
        execution_id: &str,
        journal: &Journal<JournalEntry>,
        hot: &mut Option<Hot>,
    ) -> Result<bool, Error> {
        let known = hot.as_ref().map_or(0, |hot| hot.last);
        for (sequence, entry) in journal.read_after(known).await? {
            let hot = match hot {
                Some(hot) => hot,
                None => {
                    let definition = self.definitions.load(&entry.digest).await?;
                    hot.insert(Hot {
                        execution: Execution::new(execution_id, definition),
                        last: 0,
                        inputs: HashMap::new(),
                    })
                }
            };
            hot.note(sequence, &entry.input_id, &facts(&entry)?);
        }
        Ok(hot.is_some())
    }

    fn slot(&self, execution_id: &str) -> Slot {
        self.hot.get_with_by_ref(execution_id, Slot::default)
    }

    fn journal(&self, execution_id: &str) -> Result<Journal<JournalEntry>, Error> {
        Ok(self.bus.journal(&JournalEntry {
            execution_id: execution_id.to_owned(),
            ..Default::default()
        })?)
    }
}

impl Hot {
    fn note(&mut self, sequence: u64, input_id: &str, facts: &[Fact]) {
        for fact in facts {
            self.execution.apply(fact);
        }
        self.last = sequence;
        self.inputs.insert(input_id.to_owned(), sequence);
    }
}

fn entry(hot: &Hot, input_id: &str, facts: &[Fact]) -> Result<JournalEntry, Error> {
    let definition = hot.execution.definition();
    let facts =
        facts.iter().map(|fact| serde_json::to_value(fact).map(Json)).collect::<Result<_, _>>();
    Ok(JournalEntry {
        execution_id: hot.execution.id().to_owned(),
        input_id: input_id.to_owned(),
        at: now(Utc::now()),
        workflow: definition.name().to_owned(),
        version: definition.version().to_owned(),
        digest: definition.digest().to_owned(),
        facts: facts
            .map_err(|error| Error::Damaged(format!("a fact cannot be written: {error}")))?,
    })
}

fn facts(entry: &JournalEntry) -> Result<Vec<Fact>, Error> {
    let read = entry
        .facts
        .iter()
        .map(|fact| serde_json::from_value(fact.0.clone()))
        .collect::<Result<_, _>>();
    read.map_err(|error| {
        Error::Damaged(format!(
            "the journal of {} has a fact that cannot be read: {error}",
            entry.execution_id
        ))
    })
}
