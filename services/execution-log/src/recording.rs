//! Reads the stream in its order and writes it down.
//!
//! Of several replicas one does so. Whoever finds that another has moved the place has recorded nothing, and watches the place until it stands still for a while: then that other one is gone, or there is
//! nothing to record. No clock is compared, and one that hung and goes on finds the place moved like anybody else.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::StreamExt;
use metrics::gauge;
use muster_bus::{End, MessageId, Most, Recorded, caught};
use muster_contracts::log::v1::LogCreated;
use muster_contracts::{CATALOGUE, Code, Stream, subject};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

use crate::app::App;
use crate::domain::{Mark, Place, Record};
use crate::error::Error;

/// What one statement writes at most.
const MOST: Most = Most { messages: 1024, bytes: 4 << 20 };
/// A statement that takes longer is given up: whether it was done, the place tells.
const STATEMENT: Duration = Duration::from_secs(30);
/// Behind something that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a place that another moves is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A place that stood still for so long is moved by nobody.
const STILL: Duration = Duration::from_secs(5);
/// A stream of which nothing came for so long is opened anew, whatever the reason may be.
const IDLE: Duration = Duration::from_secs(600);
/// How long a body that lies elsewhere is waited for; everything behind it waits, too.
const MISSING: Duration = Duration::from_secs(60);
/// How often it is told how far the log is behind.
const TOLD_EVERY: Duration = Duration::from_secs(15);

/// Records for ever, or leaves it to another replica.
pub(crate) async fn record(app: App) {
    app.bus.ready().await;
    let mut recorder = Recorder { app, missing: Missing::default(), told: None };
    let mut failures = 0_u32;
    loop {
        let bus = recorder.app.bus.clone();
        // On the heap: it is large, and made once.
        let work = Box::pin(async { Ok(recorder.record().await) });
        let failed = match caught(bus.service(), "record", work).await {
            Ok(Ok(ended)) => {
                failures = 0;
                if let Ended::Elsewhere(place) = ended {
                    debug!(sequence = place.sequence, "another replica records");
                    until_still(&recorder.app, place).await;
                }
                continue;
            }
            Ok(Err(error)) => error,
            Err(panicked) => Error::Bus(panicked),
        };
        failures = failures.saturating_add(1);
        // It is told again and again, but seldom.
        if failures.is_power_of_two() {
            let error: &dyn std::error::Error = &failed;
            warn!(error, failures, "events cannot be recorded, will try again");
        }
        sleep(PAUSE).await;
    }
}

/// Tells for ever how many messages of the stream are behind the place: those of others among them.
pub(crate) async fn tell_lag(app: App) {
    let behind = gauge!("muster_execution_log_behind", "service" => app.bus.service().to_owned());
    loop {
        sleep(TOLD_EVERY).await;
        match lag(&app).await {
            Ok(messages) => behind.set(messages as f64),
            Err(error) => debug!(%error, "how far the log is behind is not known"),
        }
    }
}

async fn lag(app: &App) -> Result<u64, Error> {
    let end = app.bus.end_of(Stream::Executions).await?;
    let place = in_time(app.store.place(end.created)).await?;
    Ok(end.sequence.saturating_sub(place.sequence))
}

/// Who records.
struct Recorder {
    app: App,
    missing: Missing,
    /// The place up to which this process has told what is recorded.
    told: Option<Place>,
}

/// Why nothing more is recorded.
enum Ended {
    /// Another replica has moved the place here.
    Elsewhere(Place),
    /// Nothing came for a while, or the stream was made anew.
    Idle,
}

impl Recorder {
    /// Records what comes until another replica has done so.
    async fn record(&mut self) -> Result<Ended, Error> {
        let end = self.app.bus.end_of(Stream::Executions).await?;
        let mut place = in_time(self.app.store.place(end.created)).await?;
        if self.told != Some(place) {
            // Whoever recorded it may have ended before it was told.
            let recorded = in_time(self.app.store.last_recorded(place)).await?;
            self.tell(place, &recorded).await?;
        }
        // A stream that lost its end has other messages behind it soon.
        let from = End { sequence: place.sequence.min(end.sequence), ..end };
        let stream = Stream::Executions;
        let mut batches = Box::pin(self.app.bus.follow_together(stream, patterns(), from, MOST));
        while let Ok(Some(events)) = timeout(IDLE, batches.next()).await {
            let (readable, gone) = self.missing.before(&events);
            let records: Vec<Record> = readable.iter().map(Record::of).collect();
            if !self.write(&mut place, &records).await? {
                return Ok(Ended::Elsewhere(place));
            }
            if let Some(fault) = gone.and_then(Recorded::fault) {
                return Err(fault.clone().into());
            }
        }
        Ok(Ended::Idle)
    }

    /// Writes records that follow the place, and moves it. False where another replica has moved it.
    async fn write(&mut self, place: &mut Place, records: &[Record]) -> Result<bool, Error> {
        let Some(last) = records.last() else { return Ok(true) };
        match in_time(self.app.store.record(*place, records)).await {
            Ok(true) => {
                *place = place.moved(records);
                let marks: Vec<Mark> = records.iter().map(Record::mark).collect();
                self.tell(*place, &marks).await?;
                Ok(true)
            }
            // One of them is the reason, and holds up no other.
            Err(Error::Unstorable(_)) if records.len() > 1 => {
                let (first, second) = records.split_at(records.len() / 2);
                Ok(Box::pin(self.write(place, first)).await?
                    && Box::pin(self.write(place, second)).await?)
            }
            Err(Error::Unstorable(error)) => {
                let Some(plainer) = last.plainer() else { return Err(Error::Unstorable(error)) };
                let (event, form) = (&last.event_id, plainer.form);
                warn!(%error, event, ?form, "cannot be stored as it is, and is recorded plainer");
                Box::pin(self.write(place, &[plainer])).await
            }
            other => other,
        }
    }

    /// Tells what was recorded up to the place. A second time it is the same message.
    async fn tell(&mut self, place: Place, recorded: &[Mark]) -> Result<(), Error> {
        if let Some(created) = created(recorded) {
            let ids = recorded.iter().map(|mark| mark.event_id.as_str());
            let id = MessageId::derived(std::iter::once("execution-log").chain(ids));
            match self.app.bus.publish(&created, &id).await {
                // No second try would be better.
                Err(fault) if fault.code == Code::Invalid => {
                    warn!(%fault, "what is recorded cannot be told");
                }
                told => drop(told?),
            }
        }
        self.told = Some(place);
        Ok(())
    }
}

/// Returns when nobody has moved the place for a while.
async fn until_still(app: &App, mut place: Place) {
    let mut since = Instant::now();
    while since.elapsed() < STILL {
        sleep(LOOK_EVERY).await;
        match in_time(app.store.place(place.created)).await {
            Ok(found) if found == place => {}
            Ok(found) => (place, since) = (found, Instant::now()),
            Err(error) => debug!(%error, "the place is not known"),
        }
    }
}

/// The result of a statement, unless it takes too long.
async fn in_time<T>(statement: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(STATEMENT, statement).await.unwrap_or(Err(Error::Slow(STATEMENT)))
}

/// What is told of events that are recorded together.
fn created(recorded: &[Mark]) -> Option<LogCreated> {
    let last = recorded.iter().max_by_key(|mark| mark.sequence)?;
    let executions: BTreeSet<&str> =
        recorded.iter().map(|mark| mark.execution_id.as_str()).collect();
    let is_other = |id: &&str| !id.is_empty() && *id != last.execution_id;
    Some(LogCreated {
        log_id: last.event_id.clone(),
        execution_id: last.execution_id.clone(),
        sequence: last.sequence,
        others: executions.into_iter().filter(is_other).map(str::to_owned).collect(),
    })
}

/// What the contract says that this service reads of the executions.
fn patterns() -> Vec<String> {
    CATALOGUE
        .iter()
        .filter(|entry| entry.stream == Some(Stream::Executions))
        .filter(|entry| entry.consumers.contains(&"execution-log"))
        .map(|entry| subject::pattern(entry.subject))
        .collect()
}

/// Bodies that lie elsewhere and cannot be fetched now.
#[derive(Default)]
struct Missing {
    /// The event that is waited for, and since when.
    waited: Option<(u64, Instant)>,
    /// When one was given up last: for a while nobody waits for the next ones.
    given_up: Option<Instant>,
}

impl Missing {
    /// The events before the first whose body is worth waiting for, and that one.
    fn before<'a>(&mut self, events: &'a [Recorded]) -> (&'a [Recorded], Option<&'a Recorded>) {
        let now = Instant::now();
        for (index, event) in events.iter().enumerate() {
            if event.fault().is_none_or(|fault| fault.code != Code::Unavailable) {
                continue;
            }
            let known = self.waited.filter(|(sequence, _)| *sequence == event.sequence);
            let (_, since) = *self.waited.insert(known.unwrap_or((event.sequence, now)));
            let is_hopeless = self.given_up.is_some_and(|at| now - at < MISSING);
            if now - since < MISSING && !is_hopeless {
                return (events.get(..index).unwrap_or_default(), Some(event));
            }
            self.given_up = Some(now);
        }
        (events, None)
    }
}

#[cfg(test)]
mod tests {
    use muster_contracts::Fault;

    use super::*;

    fn mark(sequence: u64, execution_id: &str) -> Mark {
        let event_id = format!("event-{sequence}");
        Mark { event_id, sequence, execution_id: execution_id.to_owned() }
    }

    #[test]
    fn the_event_that_is_last_in_its_stream_is_told_of_with_the_other_executions() {
        let marks = [mark(3, "a"), mark(7, "b"), mark(5, "c"), mark(4, ""), mark(2, "a")];
        let told = created(&marks).unwrap();
        assert_eq!((told.log_id.as_str(), told.execution_id.as_str()), ("event-7", "b"));
        assert_eq!((told.sequence, told.others), (7, vec!["a".to_owned(), "c".to_owned()]));
        assert_eq!(created(&[]), None);
    }

    #[test]
    fn everything_of_an_execution_is_read_and_nothing_twice() {
        let patterns = patterns();
        for subject in [
            "journal.e1",
            "journal.e1.r1",
            "workflow.command.start",
            "workflow.execution.started",
            "workflow.execution.completed",
            "workflow.execution.failed",
            "workflow.call.completed",
            "agent.execution.started",
            "agent.execution.completed",
            "agent.execution.failed",
            "tool.execution.started",
            "tool.execution.completed",
            "tool.execution.failed",
            "vector.upsert.completed",
            "vector.upsert.failed",
            "vector.search.completed",
            "timer.fired.e1",
        ] {
            let readers = patterns.iter().filter(|pattern| subject::covers(pattern, subject));
            assert_eq!(readers.count(), 1, "{subject}");
        }
        assert!(!patterns.iter().any(|pattern| subject::covers(pattern, "execution.log.created")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_is_away_is_waited_for_and_given_up_after_a_while() {
        let event = |sequence, fault: Option<Code>| {
            let reading = fault.map_or_else(Default::default, |code| {
                muster_bus::Reading::failed(Fault::new(code, "away"))
            });
            Recorded {
                subject: "s".into(),
                sequence,
                id: String::new(),
                message_type: String::new(),
                source: String::new(),
                time: chrono::DateTime::UNIX_EPOCH,
                execution_id: String::new(),
                body: Vec::new().into(),
                reading,
            }
        };
        let events = [
            event(1, None),
            event(2, Some(Code::Invalid)),
            event(3, Some(Code::Unavailable)),
            event(4, None),
        ];
        let mut missing = Missing::default();
        let seen = |(before, gone): (&[Recorded], Option<&Recorded>)| {
            (before.len(), gone.map(|event| event.sequence))
        };
        assert_eq!(
            seen(missing.before(&events)),
            (2, Some(3)),
            "what no time mends is not waited for"
        );
        tokio::time::advance(MISSING / 2).await;
        assert_eq!(seen(missing.before(&events[2..])), (0, Some(3)));
        tokio::time::advance(MISSING).await;
        assert_eq!(seen(missing.before(&events[2..])), (2, None));
        let next = [event(5, Some(Code::Unavailable))];
        assert_eq!(seen(missing.before(&next)), (1, None), "nor the next one behind it");
        tokio::time::advance(MISSING).await;
        let later = [event(6, Some(Code::Unavailable))];
        assert_eq!(seen(missing.before(&later)), (0, Some(6)));
    }
}
