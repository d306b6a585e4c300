//! The events in Postgres.

use chrono::{DateTime, Utc};
use muster_contracts::Json;
use muster_contracts::log::v1::LogEntry;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row as _};

use crate::domain::{MAX_PAGE_BYTES, Record, Run, Summary};
use crate::error::Error;

/// The service's table. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: PgPool,
}

impl Store {
    pub(crate) const fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Records an event, once. The sequence under which it is recorded: that of the first delivery.
    pub(crate) async fn record(&self, record: &Record) -> Result<u64, Error> {
        let usage = record.usage.as_ref().and_then(|usage| serde_json::to_value(usage).ok());
        let inserted = sqlx::query(
            "INSERT INTO events (event_id, sequence, execution_id, subject, type, source, task, agent, at, bytes, body, usage)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11::text::json, $12)
             ON CONFLICT (event_id) DO NOTHING",
        )
        .bind(&record.event_id)
        .bind(integer(record.sequence))
        .bind(&record.execution_id)
        .bind(&record.subject)
        .bind(&record.message_type)
        .bind(&record.source)
        .bind(&record.task)
        .bind(&record.agent)
        .bind(record.at)
        .bind(i32::try_from(record.body.len()).unwrap_or(i32::MAX))
        .bind(&record.body)
        .bind(usage)
        .execute(&self.pool)
        .await?;
        if inserted.rows_affected() > 0 {
            return Ok(record.sequence);
        }
        let sequence: i64 = sqlx::query_scalar("SELECT sequence FROM events WHERE event_id = $1")
            .bind(&record.event_id)
            .fetch_one(&self.pool)
            .await?;
        Ok(u64::try_from(sequence).unwrap_or_default())
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

fn integer(sequence: u64) -> i64 {
    i64::try_from(sequence).unwrap_or(i64::MAX)
}
