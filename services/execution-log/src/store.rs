//! The events in Postgres.

mod insert;
mod lent;

use chrono::{DateTime, Utc};
use muster_contracts::Json;
use muster_contracts::log::v1::{ExecutionSummary, LogEntry};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row as _};

use crate::domain::{Listing, MAX_PAGE_BYTES, Mark, Place, Record, Run, Summary};
use crate::error::Error;
use crate::store::lent::Lent;

/// As many as one statement records: of an older stream there may be others.
const MOST_TOLD: i64 = 1024;

/// The service's table. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: PgPool,
}

impl Store {
    pub(crate) const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// How far the log has come in the stream that was created then.
    pub(crate) async fn place(&self, created: i64) -> Result<Place, Error> {
        let mut lent = Lent::from(&self.pool).await?;
        sqlx::query("INSERT INTO places VALUES ($1, 0, 0) ON CONFLICT DO NOTHING")
            .bind(created)
            .execute(lent.connection()?)
            .await?;
        let (sequence, before): (i64, i64) =
            sqlx::query_as("SELECT sequence, before FROM places WHERE stream_created = $1")
                .bind(created)
                .fetch_one(lent.connection()?)
                .await?;
        lent.give_back();
        Ok(Place { created, sequence: sequence.unsigned_abs(), before: before.unsigned_abs() })
    }

    /// Records the events behind the place, each once, and moves the place behind them: all of it or nothing. False where somebody else has moved the place.
    pub(crate) async fn record(&self, place: Place, records: &[Record]) -> Result<bool, Error> {
        let mut lent = Lent::from(&self.pool).await?;
        let recorded = insert::insert(lent.connection()?, place, records).await;
        let recorded = recorded.map_err(Error::from);
        // One of a session that can do nothing, as behind a setting to read only, is not given back.
        if matches!(recorded, Ok(_) | Err(Error::Unstorable(_))) {
            lent.give_back();
        }
        recorded
    }

    /// What the last statement recorded.
    pub(crate) async fn last_recorded(&self, place: Place) -> Result<Vec<Mark>, Error> {
        let mut lent = Lent::from(&self.pool).await?;
        let rows: Vec<(String, i64, String)> = sqlx::query_as(
            "SELECT event_id, sequence, execution_id FROM events WHERE sequence > $1 AND sequence <= $2
             ORDER BY sequence DESC, event_id LIMIT $3",
        )
        .bind(integer(place.before))
        .bind(integer(place.sequence))
        .bind(MOST_TOLD)
        .fetch_all(lent.connection()?)
        .await?;
        lent.give_back();
        let mark = |(event_id, sequence, execution_id): (_, i64, _)| {
            let sequence = sequence.unsigned_abs();
            Mark { event_id, sequence, execution_id }
        };
        Ok(rows.into_iter().rev().map(mark).collect())
    }

    /// The next events of an execution behind a sequence: at most `limit`, and fewer where their bodies are large,
    /// but at least one where there is one.
    pub(crate) async fn timeline(
        &self,
        execution_id: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<LogEntry>, Error> {
        let entries: Vec<Entry> = sqlx::query_as(
            "SELECT event_id, sequence, subject, type, source, execution_id, task, agent, at, body::text AS body
             FROM (SELECT *, sum(bytes) OVER (ORDER BY sequence, event_id) AS upto
                   FROM (SELECT * FROM events
                         WHERE execution_id = $1 AND sequence > $2
                         ORDER BY sequence, event_id LIMIT $3) AS page) AS sized
             WHERE upto <= $4 OR upto = bytes
             ORDER BY sequence, event_id",
        )
        .bind(execution_id)
        .bind(integer(after))
        .bind(i64::from(limit))
        .bind(MAX_PAGE_BYTES)
        .fetch_all(&self.pool)
        .await?;
        Ok(entries.into_iter().map(|entry| entry.0).collect())
    }

    /// Whether an event of the execution is recorded behind a sequence.
    pub(crate) async fn is_more(&self, execution_id: &str, after: u64) -> Result<bool, Error> {
        Ok(sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM events WHERE execution_id = $1 AND sequence > $2)",
        )
        .bind(execution_id)
        .bind(integer(after))
        .fetch_one(&self.pool)
        .await?)
    }

    /// The executions of a workflow that began behind a sequence and have not ended, with the sequences of their beginnings.
    pub(crate) async fn running(
        &self,
        workflow: &str,
        after: u64,
        limit: u32,
    ) -> Result<Vec<(String, u64)>, Error> {
        // The types stand in the statement as in the index, which is not used otherwise.
        let rows: Vec<(String, i64)> = sqlx::query_as(
            "SELECT execution_id, sequence FROM events AS begun
             WHERE type IN ('muster.workflow.v1.ExecutionStarted', 'muster.workflow.v1.ExecutionForked')
               AND body ->> 'workflow' = $1 AND sequence > $2
               AND NOT EXISTS (
                   SELECT FROM events AS ended WHERE ended.execution_id = begun.execution_id
                   -- One that could not be started at first has ended before it began.
                   AND ended.sequence > begun.sequence
                   AND ended.type IN ('muster.workflow.v1.ExecutionCompleted', 'muster.workflow.v1.ExecutionFailed',
                                      'muster.workflow.v1.ExecutionCancelled')
                   -- A retry lets one that has failed go on.
                   AND NOT EXISTS (
                       SELECT FROM events AS retried WHERE retried.execution_id = ended.execution_id
                       AND retried.type = 'muster.workflow.v1.ExecutionRetried' AND retried.sequence > ended.sequence))
             ORDER BY sequence LIMIT $3",
        )
        .bind(workflow)
        .bind(integer(after))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let row = |(id, sequence)| (id, u64::try_from(sequence).unwrap_or_default());
        Ok(rows.into_iter().map(row).collect())
    }

    /// The executions that fit, those that began last first, and whether there are more.
    pub(crate) async fn executions(
        &self,
        listing: &Listing,
    ) -> Result<Vec<ExecutionSummary>, Error> {
        let cursor = listing.before.as_ref();
        let rows: Vec<Summarised> = sqlx::query_as(
            "SELECT execution_id, workflow, version, status, started_at, updated_at FROM executions
             WHERE ($1 = '' OR status = $1) AND ($2 = '' OR workflow = $2)
               AND ($3::timestamptz IS NULL OR started_at >= $3) AND ($4::timestamptz IS NULL OR started_at < $4)
               AND ($5::timestamptz IS NULL OR (started_at, execution_id) < ($5, $6))
               AND ($8 = '' OR tenant = $8)
             ORDER BY started_at DESC, execution_id DESC LIMIT $7",
        )
        .bind(&listing.status)
        .bind(&listing.workflow)
        .bind(listing.since)
        .bind(listing.until)
        .bind(cursor.map(|cursor| cursor.started_at))
        .bind(cursor.map_or("", |cursor| cursor.execution_id.as_str()))
        .bind(i64::from(listing.limit) + 1)
        .bind(&listing.tenant)
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().map(|row| row.0).collect())
    }

    /// The events of an execution in numbers; nothing where none is recorded.
    pub(crate) async fn summary(&self, execution_id: &str) -> Result<Option<Summary>, Error> {
        let (events, first, last): (i64, Option<DateTime<Utc>>, Option<DateTime<Utc>>) =
            sqlx::query_as("SELECT count(*), min(at), max(at) FROM events WHERE execution_id = $1")
                .bind(execution_id)
                .fetch_one(&self.pool)
                .await?;
        Ok(first.zip(last).map(|(first, last)| Summary { events, first, last }))
    }

    /// What ended in an execution and used a model or a tool.
    pub(crate) async fn runs(&self, execution_id: &str) -> Result<Vec<Run>, Error> {
        let rows: Vec<(String, Value)> = sqlx::query_as(
            "SELECT agent, usage FROM events WHERE execution_id = $1 AND usage IS NOT NULL",
        )
        .bind(execution_id)
        .fetch_all(&self.pool)
        .await?;
        let run = |(agent, usage)| Run {
            agent,
            usage: serde_json::from_value(usage).unwrap_or_default(),
        };
        Ok(rows.into_iter().map(run).collect())
    }
}

struct Entry(LogEntry);

impl FromRow<'_, PgRow> for Entry {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        let body: String = row.try_get("body")?;
        Ok(Self(LogEntry {
            log_id: row.try_get("event_id")?,
            sequence: u64::try_from(row.try_get::<i64, _>("sequence")?).unwrap_or_default(),
            subject: row.try_get("subject")?,
            r#type: row.try_get("type")?,
            source: row.try_get("source")?,
            execution_id: row.try_get("execution_id")?,
            task: row.try_get("task")?,
            agent: row.try_get("agent")?,
            at: muster_contracts::now(row.try_get("at")?),
            body: Some(Json(serde_json::from_str(&body).unwrap_or(Value::String(body)))),
        }))
    }
}

struct Summarised(ExecutionSummary);

impl FromRow<'_, PgRow> for Summarised {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self(ExecutionSummary {
            execution_id: row.try_get("execution_id")?,
            workflow: row.try_get("workflow")?,
            version: row.try_get("version")?,
            status: row.try_get("status")?,
            started_at: muster_contracts::now(row.try_get("started_at")?),
            updated_at: muster_contracts::now(row.try_get("updated_at")?),
        }))
    }
}

fn integer(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}
