//! Executions: read the journal, decide, append, publish. The only place that changes one.

mod aside;
mod children;
mod control;
pub(crate) mod entry;
mod hot;
mod listening;
mod past;
mod snapshot;

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use moka::policy::EvictionPolicy;
use muster_bus::{AppendError, Bus, Journal, MessageId};
use muster_contracts::Code;
use muster_contracts::workflow::v1::{ExecutionState, JournalEntry, StartExecution};
use muster_workflow::{Error as Failure, ErrorType, Execution, Fact, Input, Status};
use tokio::sync::Mutex;
use tracing::debug;

use self::aside::Aside;
use self::entry::{Written, facts};
use self::hot::Hot;
use crate::config::Config;
use crate::definitions::Definitions;
use crate::domain::child;
use crate::domain::state::{payer, state};
use crate::schedules::Schedules;
use crate::unstarted::Unstarted;
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
    /// Nothing is kept of an execution beside what is here: one that waits is only in its journal after a while.
    hot: moka::sync::Cache<String, Slot>,
}

/// One actor: whoever holds the lock decides. The append decides between processes.
type Slot = Arc<Mutex<Place>>;

/// Where an execution is in memory, if it is.
#[derive(Default)]
struct Place {
    hot: Option<Hot>,
    /// Whether another replica works on it, too: then the journal is read before a decision, since a state that is ahead of its journal cannot be taken back.
    is_shared: bool,
    /// How much of the memory for all executions it counts for.
    weight: u64,
}

/// What an input is for.
struct Task<'a> {
    execution_id: &'a str,
    input_id: &'a str,
    input: &'a Input,
    /// Set where the execution may begin with it.
    start: Option<&'a StartExecution>,
    /// Where it will be in memory, if it is not there yet.
    fresh: Option<&'a Slot>,
    journal: Journal<JournalEntry>,
}

/// The executions in memory. Each counts for its bytes, and for its share of the number that may be there at least: both are bounded.
///
/// Whoever was not needed for the longest time goes first. That a newcomer has to be asked for more often than those who are there, as this cache does it otherwise, would turn away whoever has just
/// begun in favour of those who have ended.
fn memory(config: &Config) -> moka::sync::Cache<String, Slot> {
    let (bytes, share) = (config.hot_bytes, (config.hot_bytes / config.hot).max(1));
    let weigh = move |_id: &String, slot: &Slot| {
        let weight = slot.try_lock().map_or(0, |place| place.weight);
        u32::try_from(weight.max(share)).unwrap_or(u32::MAX)
    };
    moka::sync::Cache::builder()
        .weigher(weigh)
        .eviction_policy(EvictionPolicy::lru())
        .max_capacity(bytes)
        .time_to_idle(IDLE)
        .build()
}

impl Executions {
    pub(crate) fn new(bus: Bus, definitions: Definitions, config: &Config) -> Self {
        Self { bus, definitions, hot: memory(config) }
    }

    /// Starts an execution; one that is there already stays as it is.
    pub(crate) async fn start(
        &self,
        command: &StartExecution,
        input_id: &str,
    ) -> Result<(), Error> {
        if let Some(origin) = &command.fork {
            let forked = self.begin_fork(&command.execution_id, origin, input_id);
            return Box::pin(forked).await.map(drop);
        }
        let given = command.input.clone().unwrap_or_default().0;
        let input = match &command.parent {
            None => Input::Start { input: given },
            Some(link) => Input::StartChild { input: given, parent: child::parent(link) },
        };
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
        let found = self.look(execution_id, |execution| execution.map(state)).await?;
        if let Some(found) = found {
            return Ok(found);
        }
        let unstarted = self.unstarted().state(execution_id).await?;
        unstarted.ok_or_else(|| Error::UnknownExecution(execution_id.to_owned()))
    }

    /// What an execution says as it stands now; there may be none.
    pub(crate) async fn look<T>(
        &self,
        execution_id: &str,
        read: impl FnOnce(Option<&Execution>) -> T,
    ) -> Result<T, Error> {
        let slot = self.slot(execution_id);
        let mut place = slot.lock().await;
        let is_over = |hot: &Hot| hot.execution.status() == Status::Completed;
        // Another replica may have gone on since, but not behind the end.
        if !place.hot.as_ref().is_some_and(is_over) {
            let journal = self.journal(execution_id)?;
            // What is rare is on the heap, here and below: every future would have room for it.
            place.hot = match place.hot.take() {
                Some(hot) => Some(Box::pin(self.read_on(&journal, hot)).await?),
                None => Box::pin(self.load(execution_id, &journal)).await?,
            };
        }
        if place.hot.is_none() {
            self.hot.invalidate(execution_id);
        }
        Ok(read(place.hot.as_ref().map(|hot| &hot.execution)))
    }

    pub(crate) fn schedules(&self) -> Schedules {
        Schedules::new(self.bus.clone(), self.definitions.clone())
    }

    pub(crate) fn unstarted(&self) -> Unstarted {
        Unstarted::new(&self.bus)
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.bus
    }

    async fn advance(
        &self,
        execution_id: &str,
        input_id: &str,
        input: &Input,
        start: Option<&StartExecution>,
    ) -> Result<(), Error> {
        let journal = self.journal(execution_id)?;
        // Nobody else knows of one that begins, and one that ends at once is never kept. Where somebody does, the journal decides as between processes.
        let is_fresh = start.is_some() && !self.hot.contains_key(execution_id);
        let slot = if is_fresh { Slot::default() } else { self.slot(execution_id) };
        let fresh = is_fresh.then_some(&slot);
        let task = Task { execution_id, input_id, input, start, fresh, journal };
        let mut place = slot.lock().await;
        let done = self.advance_in(&mut place, &task).await;
        let weight = place.hot.as_ref().map_or(0, Hot::weight);
        let is_over = |hot: &Hot| hot.execution.status().is_ended();
        if place.hot.is_none() {
            self.hot.invalidate(execution_id);
        } else if place.weight == 0 && place.hot.as_ref().is_some_and(is_over) {
            // As it began, so it ended.
        } else if weight > 2 * place.weight || weight < place.weight / 2 {
            // The cache weighs what comes in.
            place.weight = weight;
            drop(place);
            self.hot.insert(execution_id.to_owned(), slot);
        }
        done
    }

    async fn advance_in(&self, place: &mut Place, task: &Task<'_>) -> Result<(), Error> {
        let mut refused = None;
        for attempt in 0..TRIES {
            // Taken out: a state that is ahead of its journal must not stay, not even where this is dropped in the middle.
            let Some(mut hot) = self.present(place, task, attempt).await? else {
                debug!(
                    execution = task.execution_id,
                    input = task.input_id,
                    "input for an execution that is not there, dropped"
                );
                return Ok(());
            };
            if let Some(sequence) = hot.sequence_of(task.input_id) {
                let hot = place.hot.insert(hot);
                return Box::pin(self.publish_again(hot, &task.journal, sequence)).await;
            }
            let facts = match &refused {
                None => decide(&mut hot, task.input)?,
                Some(failure) => hot.execution.abort(failure, Utc::now()),
            };
            if facts.is_empty() {
                // It may matter to what another replica has appended since: only the journal knows.
                let known = hot.last;
                let read = Box::pin(self.read_on(&task.journal, hot)).await?;
                let hot = place.hot.insert(read);
                if hot.last != known {
                    continue;
                }
                return Ok(());
            }
            let entry = Written::new(&hot.execution, task.input_id, facts);
            let id = MessageId::derived(["journal", task.execution_id, task.input_id]);
            match task.journal.append_as(&entry, hot.last, &id).await {
                Ok(sequence) => {
                    let facts = entry.facts;
                    hot.note(sequence, task.input_id, &facts);
                    if let Some(slot) = task.fresh
                        && !hot.execution.status().is_ended()
                    {
                        // Before anybody answers what is published next.
                        self.hot.insert(task.execution_id.to_owned(), slot.clone());
                    }
                    return self.appended(place.hot.insert(hot), &facts).await;
                }
                // Somebody else was faster, perhaps with this very input: read what is there and decide again.
                Err(AppendError::Conflict) => place.is_shared = attempt > 0 || task.start.is_none(),
                // What cannot be written down cannot happen: the execution ends with that.
                Err(AppendError::Fault(fault))
                    if fault.code == Code::Invalid && refused.is_none() =>
                {
                    refused = Some(Failure::new(ErrorType::Runtime, fault.message));
                }
                // Whether it was appended is unknown: the journal will tell.
                Err(AppendError::Fault(fault)) => return Err(fault.into()),
            }
        }
        Err(Error::Busy(task.execution_id.to_owned()))
    }

    /// The execution as it is before the input; none where there is no such execution.
    async fn present(
        &self,
        place: &mut Place,
        task: &Task<'_>,
        attempt: u32,
    ) -> Result<Option<Hot>, Error> {
        let found = match (place.hot.take(), task.start) {
            (Some(hot), _) if place.is_shared => {
                Some(Box::pin(self.read_on(&task.journal, hot)).await?)
            }
            (Some(hot), _) => Some(hot),
            // Mostly there is nothing to read; where there is, the append is refused.
            (None, Some(_start)) if attempt == 0 => None,
            (None, _) => Box::pin(self.load(task.execution_id, &task.journal)).await?,
        };
        match (found, task.start) {
            (None, Some(start)) => {
                let definition = self.definitions.load(&start.digest).await?;
                let execution = Execution::new(task.execution_id, definition);
                Ok(Some(Hot::new(execution.paid_by(payer(start)))))
            }
            (found, _) => Ok(found),
        }
    }

    /// The last entry is in the journal: what follows from it, before the input is acknowledged.
    async fn appended(&self, hot: &mut Hot, facts: &[Fact]) -> Result<(), Error> {
        let published = effects::publish(self, &hot.execution, hot.last, facts).await;
        if hot.is_snapshot_due() {
            Box::pin(snapshot::write(&self.bus, hot)).await;
            hot.saved_now();
        }
        published
    }

    /// A crash may have come between the append and the effects.
    async fn publish_again(
        &self,
        hot: &Hot,
        journal: &Journal<JournalEntry>,
        sequence: u64,
    ) -> Result<(), Error> {
        match journal.at(sequence).await? {
            Some(entry) => effects::publish(self, &hot.execution, sequence, &facts(entry)?).await,
            None => Ok(()),
        }
    }

    /// Reads an execution that is not in memory; none where it has no journal.
    async fn load(
        &self,
        execution_id: &str,
        journal: &Journal<JournalEntry>,
    ) -> Result<Option<Hot>, Error> {
        if let Some(saved) = snapshot::read(&self.bus, &self.definitions, execution_id).await {
            return Ok(Some(self.read_on(journal, saved).await?));
        }
        let mut entries = journal.read().await?.into_iter();
        let Some((sequence, first)) = entries.next() else { return Ok(None) };
        let definition = self.definitions.load(&first.digest).await?;
        let mut hot = Hot::new(Execution::new(execution_id, definition));
        let input_id = first.input_id.clone();
        hot.apply(sequence, &input_id, &facts(first)?);
        apply_all(&mut hot, entries)?;
        Ok(Some(hot))
    }

    /// Reads what the journal has beyond what is in memory.
    async fn read_on(&self, journal: &Journal<JournalEntry>, mut hot: Hot) -> Result<Hot, Error> {
        let entries = journal.read_after(hot.last).await?;
        apply_all(&mut hot, entries.into_iter())?;
        Ok(hot)
    }

    fn slot(&self, execution_id: &str) -> Slot {
        self.hot.get_with_by_ref(execution_id, Slot::default)
    }

    pub(crate) fn journal(&self, execution_id: &str) -> Result<Journal<JournalEntry>, Error> {
        Ok(self.bus.journal(&JournalEntry {
            execution_id: execution_id.to_owned(),
            ..Default::default()
        })?)
    }
}

/// What follows from the input. Where it is refused the state is worth nothing any more.
fn decide(hot: &mut Hot, input: &Input) -> Result<Vec<Fact>, Error> {
    let aside = Aside::default();
    let facts = hot.execution.advance_with(input, Utc::now(), &aside);
    if aside.is_refused() { Err(Error::Crowded(hot.execution.id().to_owned())) } else { Ok(facts) }
}

fn apply_all(
    hot: &mut Hot,
    entries: impl Iterator<Item = (u64, JournalEntry)>,
) -> Result<(), Error> {
    for (sequence, entry) in entries {
        let input_id = entry.input_id.clone();
        hot.apply(sequence, &input_id, &facts(entry)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::lifecycle::Lifecycle;

    #[test]
    fn who_begins_is_kept_however_often_those_were_needed_that_are_there() {
        let config = Config { concurrency: 1, hot: 10, hot_bytes: 1000, lifecycle: Lifecycle::Off };
        let memory = memory(&config);
        for n in 0..20 {
            memory.insert(format!("ended-{n}"), Slot::default());
            for _ in 0..10 {
                memory.get(&format!("ended-{n}"));
            }
        }
        memory.insert("begun".to_owned(), Slot::default());
        memory.run_pending_tasks();
        assert!(memory.contains_key("begun"));
        assert_eq!(memory.entry_count(), 10);
    }
}
