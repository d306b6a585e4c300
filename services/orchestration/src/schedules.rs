//! Workflows that start by themselves: at times, after their last execution, by events.
//!
//! Only the version that was registered last has a schedule. Each start has an id that follows from
//! the workflow and from what it is due by, so that it happens once however often it is tried.
//! There is always one timer in the broker for the next time; who handles it sets the one after.

mod gathering;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use muster_bus::{Bus, MessageId};
use muster_contracts::workflow::v1::{JournalEntry, ScheduleFired, StartExecution};
use muster_contracts::{Json, now, time};
use muster_workflow::{Definition, Execution, Schedule};
use serde_json::Value;
use tracing::{debug, warn};

use crate::Error;
use crate::definitions::{Definitions, Entry};
use crate::domain::due::{due_of, execution_at, is_by_time};
use crate::listeners::{Listeners, Who};

/// A timer must not be older than the stream keeps its messages (30 days): a time that is farther
/// away is approached in steps of so many days.
const STEP: TimeDelta = TimeDelta::days(20);
/// How long after its registration the first execution of `after` may still be missing.
const FIRST: TimeDelta = TimeDelta::days(7);

/// How often a timer is looked for that ought to be there.
const CHECK_EVERY: Duration = Duration::from_secs(300);

/// The schedules of all workflows. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Schedules {
    bus: Bus,
    definitions: Definitions,
}

impl Schedules {
    pub(crate) fn new(bus: Bus, definitions: Definitions) -> Self {
        Self { bus, definitions }
    }

    /// Sets the schedule of a version that was registered, and ends that of the version before.
    pub(crate) async fn registered(
        &self,
        definition: &Definition,
        entry: &Entry,
        before: Option<&Entry>,
    ) -> Result<(), Error> {
        let latest = self.definitions.find(&entry.name, "").await?;
        if latest.is_none_or(|latest| latest.digest != entry.digest) {
            return Ok(());
        }
        if let Some(before) = before.filter(|before| before.digest != entry.digest) {
            self.end(before).await?;
        }
        self.set(definition, entry).await
    }

    /// Sets every schedule that is not set: a process may have ended between a registration and that. Later those by times
    /// are looked at again and again, whatever may have become of their timers.
    pub(crate) async fn keep_set(self) {
        self.set_all(|_| true).await;
        loop {
            tokio::time::sleep(CHECK_EVERY).await;
            self.set_all(|schedule| matches!(schedule, Schedule::Times(_))).await;
        }
    }

    async fn set_all(&self, wanted: impl Fn(&Schedule<'_>) -> bool) {
        let all = match self.definitions.list().await {
            Ok(all) => all,
            Err(error) => return warn!(%error, "schedules could not be checked"),
        };
        for entry in all {
            let set = async {
                let definition = self.definitions.load(&entry.digest).await?;
                match definition.schedule() {
                    Some(schedule) if wanted(&schedule) => self.set(&definition, &entry).await,
                    _ => Ok(()),
                }
            };
            if let Err(error) = set.await {
                warn!(workflow = entry.name, %error, "schedule could not be checked");
            }
        }
    }

    async fn set(&self, definition: &Definition, entry: &Entry) -> Result<(), Error> {
        let first = match definition.schedule() {
            None => return Ok(()),
            Some(Schedule::Events(trigger)) => {
                let who = listener(&entry.name, &entry.digest);
                let interests = trigger.interests();
                return Ok(Listeners::new(&self.bus).register(&who, &interests).await?);
            }
            Some(Schedule::Times(times)) => times.next(entry.registered_at, Utc::now()),
            Some(Schedule::After(pause)) => {
                let first = due_of(entry.registered_at, pause);
                let old = Utc::now() - entry.registered_at > FIRST;
                match first.filter(|_| !old) {
                    // Where it has begun, its end goes on with the schedule.
                    Some(due) if self.has_begun(&execution_at(&entry.name, due)).await? => None,
                    first => first,
                }
            }
        };
        let fields = [("workflow", entry.name.as_str()), ("digest", entry.digest.as_str())];
        if !self.bus.timers::<ScheduleFired>(&fields).await?.is_empty() {
            return Ok(());
        }
        self.set_timer(&entry.name, &entry.digest, first).await
    }

    async fn has_begun(&self, execution_id: &str) -> Result<bool, Error> {
        let address =
            JournalEntry { execution_id: execution_id.to_owned(), ..JournalEntry::default() };
        Ok(self.bus.latest(&address).await?.is_some())
    }

    /// When a version is started next by its schedule, where that is known.
    pub(crate) async fn next_start(&self, entry: &Entry) -> Result<Option<DateTime<Utc>>, Error> {
        let fields = [("workflow", entry.name.as_str()), ("digest", entry.digest.as_str())];
        let waiting = self.bus.timers::<ScheduleFired>(&fields).await?;
        let mut due = waiting.into_iter().map(|it| it.timer);
        let due = due.find_map(|timer| timer.due.or(timer.due_later));
        Ok(due.map(|due| time(Some(&due))))
    }

    /// Ends the schedule of a version that is no longer the last.
    pub(crate) async fn end(&self, entry: &Entry) -> Result<(), Error> {
        let definition = self.definitions.load(&entry.digest).await?;
        match definition.schedule() {
            None => {}
            Some(Schedule::Events(trigger)) => {
                let who = listener(&entry.name, &entry.digest);
                Listeners::new(&self.bus).remove(&who, &trigger.interests()).await?;
            }
            Some(Schedule::Times(_) | Schedule::After(_)) => {
                self.bus.cancel(&timer(&entry.name, &entry.digest)).await?;
            }
        }
        Ok(())
    }

    /// A timer fired: sets the next one and starts what is due, in this order, so that the schedule goes on whatever
    /// becomes of this start.
    pub(crate) async fn due(&self, event: &ScheduleFired) -> Result<(), Error> {
        let Some(entry) = self.current(&event.workflow, &event.digest).await? else {
            debug!(workflow = event.workflow, digest = event.digest, "schedule of an old version");
            return Ok(());
        };
        if event.due_later.is_some() {
            let due = time(event.due_later.as_ref());
            return self.set_timer(&entry.name, &entry.digest, Some(due)).await;
        }
        let definition = self.definitions.load(&entry.digest).await?;
        let due = event.due.is_some().then(|| time(event.due.as_ref()));
        // The end of the execution sets the next timer of `after`.
        if let Some(Schedule::Times(times)) = definition.schedule() {
            // Times that passed while nothing ran are not made up for one by one.
            let after = due.map_or_else(Utc::now, |due| due.max(Utc::now()));
            let next = times.next(entry.registered_at, after);
            self.set_timer(&entry.name, &entry.digest, next).await?;
        }
        if let Some(due) = due {
            let execution_id = execution_at(&entry.name, due);
            self.start(&entry, &execution_id, Value::Object(serde_json::Map::new())).await?;
        }
        Ok(())
    }

    /// A timer was given up, or the start that it led to: those behind it come all the same.
    ///
    /// # Errors
    /// [`Error::Unplanned`], to be tried again, where the definition cannot be read.
    pub(crate) async fn go_on(
        &self,
        workflow: &str,
        digest: &str,
        at: DateTime<Utc>,
    ) -> Result<(), Error> {
        let Some(entry) = self.current(workflow, digest).await? else { return Ok(()) };
        let definition = self.definitions.load(digest).await.map_err(|error| Error::Unplanned {
            workflow: workflow.to_owned(),
            reason: error.to_string(),
        })?;
        match definition.schedule() {
            Some(Schedule::Times(_)) => self.set(&definition, &entry).await,
            // No execution ends that would set it.
            Some(Schedule::After(pause)) => {
                self.set_timer(workflow, digest, due_of(at, pause)).await
            }
            Some(Schedule::Events(_)) | None => Ok(()),
        }
    }

    /// The start of an execution was given up: where its end was to set the next timer, that is set now.
    pub(crate) async fn go_on_behind(
        &self,
        start: &StartExecution,
        at: DateTime<Utc>,
    ) -> Result<(), Error> {
        if is_by_time(&start.workflow, &start.execution_id) {
            self.go_on(&start.workflow, &start.digest, at).await?;
        }
        Ok(())
    }

    /// An execution has ended: `after` has it start again later.
    pub(crate) async fn ended(&self, execution: &Execution) -> Result<(), Error> {
        let definition = execution.definition();
        let Some(Schedule::After(pause)) = definition.schedule() else { return Ok(()) };
        if !is_by_time(definition.name(), execution.id()) {
            return Ok(());
        }
        let ended = execution.ended_at().unwrap_or_else(Utc::now);
        self.set_timer(definition.name(), definition.digest(), due_of(ended, pause)).await
    }

    /// The entry of a version, if it is the last.
    async fn current(&self, workflow: &str, digest: &str) -> Result<Option<Entry>, Error> {
        let latest = self.definitions.find(workflow, "").await?;
        Ok(latest.filter(|latest| latest.digest == digest))
    }

    async fn start(&self, entry: &Entry, execution_id: &str, input: Value) -> Result<(), Error> {
        let command = StartExecution {
            execution_id: execution_id.to_owned(),
            workflow: entry.name.clone(),
            version: entry.version.clone(),
            digest: entry.digest.clone(),
            input: Some(Json(input)),
            ..Default::default()
        };
        self.bus.publish(&command, &MessageId::derived([execution_id, "start"])).await?;
        Ok(())
    }

    async fn set_timer(
        &self,
        workflow: &str,
        digest: &str,
        due: Option<DateTime<Utc>>,
    ) -> Result<(), Error> {
        let Some(due) = due else { return Ok(()) };
        let step = Utc::now() + STEP;
        let at = due.min(step);
        let id = MessageId::derived(["schedule", workflow, digest, &at.to_rfc3339()]);
        let mut timer = timer(workflow, digest);
        let field = if due > step { &mut timer.due_later } else { &mut timer.due };
        *field = now(due);
        self.bus.schedule(&timer, at, &id).await?;
        Ok(())
    }
}

fn timer(workflow: &str, digest: &str) -> ScheduleFired {
    ScheduleFired {
        workflow: workflow.to_owned(),
        digest: digest.to_owned(),
        ..ScheduleFired::default()
    }
}

fn listener(workflow: &str, digest: &str) -> Who {
    Who::Workflow { workflow: workflow.to_owned(), digest: digest.to_owned() }
}
