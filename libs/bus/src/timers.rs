//! Durable timers in the broker (ADR-51): a message that is published when its time has come, once or again and again.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use muster_contracts::{CATALOGUE, Code, Fault, Timer, subject, subject::SubjectError};

use crate::publish::subject_of;
use crate::{Bus, MessageId, headers};

const SCHEDULE: &str = "Nats-Schedule";
const TARGET: &str = "Nats-Schedule-Target";
const TIME_ZONE: &str = "Nats-Schedule-Time-Zone";
/// The error codes where the broker cannot read the expression or does not know the time zone.
const UNREADABLE: [&str; 2] = ["10189", "10223"];
/// How long the mark of a cancelled timer stays, in seconds: the least that there is.
const MARK_TTL: &str = "1";

/// When a timer fires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    expression: String,
    time_zone: Option<String>,
}

impl Schedule {
    /// Once, at this time; at once where it is past.
    #[must_use]
    pub fn at(time: DateTime<Utc>) -> Self {
        Self::new(format!("@at {}", time.to_rfc3339_opts(SecondsFormat::Nanos, true)))
    }

    /// Again and again, each time so much later; at least a second.
    #[must_use]
    pub fn every(interval: Duration) -> Self {
        Self::new(format!("@every {}ms", interval.as_millis()))
    }

    /// By a cron expression of six fields: second, minute, hour, day of the month, month, day of the week (`0 30 9 * * mon-fri`); or `@hourly`, `@daily`,
    /// `@weekly`, `@monthly`, `@yearly`. In UTC.
    #[must_use]
    pub fn cron(expression: &str) -> Self {
        Self::new(expression.trim().to_owned())
    }

    /// The same cron expression in the time of a place: `Europe/Berlin`.
    #[must_use]
    pub fn in_time_zone(self, name: &str) -> Self {
        Self { time_zone: Some(name.to_owned()), ..self }
    }

    const fn new(expression: String) -> Self {
        Self { expression, time_zone: None }
    }

    /// The broker takes a message with an empty schedule for one without.
    fn fits_a_header(&self) -> bool {
        let zone = self.time_zone.as_deref().unwrap_or("UTC");
        let fits = |text: &str| !text.is_empty() && !text.contains(char::is_control);
        fits(&self.expression) && fits(zone)
    }

    fn unreadable(&self) -> Fault {
        let zone = self.time_zone.as_ref();
        let zone = zone.map_or_else(String::new, |zone| format!(" in time zone {zone:?}"));
        Fault::new(
            Code::Invalid,
            format!(
                "the schedule {:?}{zone} cannot be used; it must have six fields (second, minute, hour, day of the month, month, day of the week) like \"0 30 9 * * mon-fri\", or be @hourly, @daily, @weekly, @monthly, @yearly, or an interval of at least 1 s; a time zone is a name like \"Europe/Berlin\", for cron expressions only",
                self.expression
            ),
        )
    }
}

/// A timer that waits in the broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled<T> {
    /// What is published when it fires.
    pub timer: T,
    /// When it fires.
    pub schedule: Schedule,
    /// When it was set.
    pub set_at: DateTime<Utc>,
}

impl Bus {
    /// Publishes `timer` at `at`, or at once where that is past; the broker is up to 0.3 s late. A second timer with the same address replaces the first, unless it has its id too: then nothing changes.
    ///
    /// ```no_run
    /// # use muster_bus::{Bus, MessageId};
    /// # use muster_contracts::{Fault, workflow::v1::TimerFired};
    /// # async fn example(bus: Bus, timer: TimerFired) -> Result<(), Fault> {
    /// let at = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    /// bus.schedule(&timer, at, &MessageId::derived(["e1", "t1"])).await?;
    /// bus.cancel(&timer).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// INVALID where a field cannot be a token of a subject, UNAVAILABLE where the broker does not acknowledge.
    pub async fn schedule<T: Timer>(
        &self,
        timer: &T,
        at: DateTime<Utc>,
        id: &MessageId,
    ) -> Result<(), Fault> {
        self.set_timer(timer, &Schedule::at(at), id).await
    }

    /// Publishes `timer` as the schedule says, over restarts of everything. A second timer with the same address replaces the first. Each time that it fires is
    /// an event of its own: its id is `id` and its place in the stream.
    ///
    /// # Errors
    /// INVALID where the broker cannot read the schedule (the error says it and what would be right) or a field cannot be a token of a subject; UNAVAILABLE where
    /// the broker does not acknowledge.
    pub async fn set_timer<T: Timer>(
        &self,
        timer: &T,
        schedule: &Schedule,
        id: &MessageId,
    ) -> Result<(), Fault> {
        if !schedule.fits_a_header() {
            return Err(schedule.unreadable());
        }
        let (mut headers, body) = self.pack(timer, id).await?;
        headers.insert(SCHEDULE, schedule.expression.as_str());
        headers.insert(TARGET, subject_of(timer)?);
        if let Some(zone) = &schedule.time_zone {
            headers.insert(TIME_ZONE, zone.as_str());
        }
        match self.publish_raw(address(timer)?, headers, body).await {
            Ok(_published) => Ok(()),
            Err(fault) if UNREADABLE.iter().any(|code| fault.message.contains(code)) => {
                Err(schedule.unreadable())
            }
            Err(fault) => Err(fault),
        }
    }

    /// Cancels a timer that has not fired, and one that fires again and again. Nothing happens where there is none.
    ///
    /// # Errors
    /// INVALID where a field cannot be a token of a subject, UNAVAILABLE where the broker cannot be reached.
    pub async fn cancel<T: Timer>(&self, timer: &T) -> Result<(), Fault> {
        // Not by a purge, which a permission could not limit to timers: a mark takes the timer's place and is gone a second later.
        let mut mark = async_nats::HeaderMap::new();
        mark.insert("Nats-Rollup", "sub");
        mark.insert("Nats-TTL", MARK_TTL);
        let subject = address(timer)?;
        self.publish_raw(subject, mark, bytes::Bytes::new()).await.map(|_published| ())
    }

    /// The timers of this type that wait, in the order in which they were set: those whose address has these fields, `&[("execution_id", "e1")]`, or all.
    ///
    /// # Errors
    /// INVALID where a value cannot be a token of a subject, UNAVAILABLE where the stream cannot be read.
    pub async fn timers<T: Timer>(
        &self,
        fields: &[(&str, &str)],
    ) -> Result<Vec<Scheduled<T>>, Fault> {
        let addresses = addresses::<T>(fields)?;
        let (mut waiting, mut from) = (Vec::new(), 1);
        while let Some(message) = self.next_message(T::STREAM.name(), &addresses, from).await? {
            from = message.sequence + 1;
            let header = |name| headers::get(Some(&message.headers), name).map(str::to_owned);
            // The mark of a cancelled one has none.
            let Some(expression) = header(SCHEDULE) else { continue };
            let set_at = i64::try_from(message.time.unix_timestamp_nanos()).unwrap_or_default();
            waiting.push(Scheduled {
                schedule: Schedule { expression, time_zone: header(TIME_ZONE) },
                set_at: DateTime::from_timestamp_nanos(set_at),
                timer: self.read(Some(&message.headers), message.payload.clone()).await?,
            });
        }
        Ok(waiting)
    }
}

fn address<T: Timer>(timer: &T) -> Result<String, Fault> {
    timer.schedule().map_err(invalid)
}

/// The addresses of all timers of a type that have these fields.
fn addresses<T: Timer>(fields: &[(&str, &str)]) -> Result<String, Fault> {
    let entry = CATALOGUE.iter().find(|entry| entry.message == T::NAME);
    let template = entry.map_or("", |entry| entry.schedule);
    let tokens = template.split('.').map(|token| {
        let Some(name) = token.strip_prefix('{').and_then(|token| token.strip_suffix('}')) else {
            return Ok(token);
        };
        let value = fields.iter().find(|(field, _)| *field == name);
        value.map_or(Ok("*"), |(_, value)| subject::token("a timer's address", value))
    });
    Ok(tokens.collect::<Result<Vec<_>, _>>().map_err(invalid)?.join("."))
}

fn invalid(error: SubjectError) -> Fault {
    Fault::new(Code::Invalid, error.to_string())
}
