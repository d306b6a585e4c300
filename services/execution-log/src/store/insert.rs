//! How records come into the tables.

use chrono::{DateTime, Utc};
use sqlx::encode::{Encode, IsNull};
use sqlx::postgres::PgArgumentBuffer;
use sqlx::{PgExecutor, PgPool, Postgres};

use super::integer;
use crate::domain::{Record, standings};

/// PostgreSQL's code for a second row with the same key.
const UNIQUE_VIOLATION: &str = "23505";

/// Records what is not there yet: all of it or nothing.
pub(crate) async fn insert(
    pool: &PgPool,
    records: impl IntoIterator<Item = &Record>,
) -> sqlx::Result<()> {
    let records: Vec<&Record> = records.into_iter().collect();
    let copied = copy(pool, &records).await;
    match copied.as_ref().err().and_then(sqlx::Error::as_database_error) {
        // Some are there, as they are behind a second delivery. To look for each beforehand costs more than all that is seldom found.
        Some(error) if error.code().as_deref() == Some(UNIQUE_VIOLATION) => {
            insert_missing(pool, &records).await
        }
        _ => copied,
    }
}

/// Records what is not there at all.
async fn copy(pool: &PgPool, records: &[&Record]) -> sqlx::Result<()> {
    let mut rows = Rows::new();
    for record in records {
        rows.push(record)?;
    }
    let mut transaction = pool.begin().await?;
    let mut copying = transaction.copy_in_raw(COPY).await?;
    copying.send(rows.end().as_slice()).await?;
    copying.finish().await?;
    stand(&mut *transaction, records).await?;
    transaction.commit().await
}

/// Records what is missing, one row after the other.
async fn insert_missing(pool: &PgPool, records: &[&Record]) -> sqlx::Result<()> {
    let mut columns = Columns::default();
    for record in records {
        columns.push(record);
    }
    let mut transaction = pool.begin().await?;
    sqlx::query(
        "INSERT INTO events (event_id, sequence, execution_id, subject, type, source, task, agent, at, bytes, body, usage)
         SELECT event_id, sequence, execution_id, subject, type, source, task, agent, at, bytes, body::json, usage::jsonb
         FROM unnest($1::text[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                     $9::timestamptz[], $10::integer[], $11::text[], $12::text[])
              AS given (event_id, sequence, execution_id, subject, type, source, task, agent, at, bytes, body, usage)
         ON CONFLICT (event_id) DO NOTHING",
    )
    .bind(columns.event_id)
    .bind(columns.sequence)
    .bind(columns.execution_id)
    .bind(columns.subject)
    .bind(columns.message_type)
    .bind(columns.source)
    .bind(columns.task)
    .bind(columns.agent)
    .bind(columns.at)
    .bind(columns.bytes)
    .bind(columns.body)
    .bind(columns.usage)
    .execute(&mut *transaction)
    .await?;
    stand(&mut *transaction, records).await?;
    transaction.commit().await
}

/// Records how executions stand. What an execution's journal says comes in any order: the entry that stands last counts.
async fn stand(executor: impl PgExecutor<'_>, records: &[&Record]) -> sqlx::Result<()> {
    let stand = Stand::of(records);
    if stand.execution_id.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO executions AS known (execution_id, workflow, version, status, sequence, started_at, updated_at, tenant)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::timestamptz[], $7::timestamptz[], $8::text[])
         ON CONFLICT (execution_id) DO UPDATE SET
             status = CASE WHEN excluded.sequence > known.sequence THEN excluded.status ELSE known.status END,
             sequence = greatest(excluded.sequence, known.sequence),
             started_at = least(excluded.started_at, known.started_at),
             updated_at = greatest(excluded.updated_at, known.updated_at),
             tenant = greatest(excluded.tenant, known.tenant)",
    )
    .bind(stand.execution_id)
    .bind(stand.workflow)
    .bind(stand.version)
    .bind(stand.status)
    .bind(stand.sequence)
    .bind(stand.started_at)
    .bind(stand.updated_at)
    .bind(stand.tenant)
    .execute(executor)
    .await
    .map(drop)
}

/// What takes [`Rows`].
const COPY: &str = "COPY events (event_id, sequence, execution_id, subject, type, source, task, agent, at, bytes, body, usage)
    FROM STDIN (FORMAT binary)";

/// Records as PostgreSQL's binary format for COPY has them: <https://www.postgresql.org/docs/current/sql-copy.html>.
struct Rows(PgArgumentBuffer);

impl Rows {
    fn new() -> Self {
        let mut rows = Self(PgArgumentBuffer::default());
        rows.0.extend_from_slice(b"PGCOPY\n\xff\r\n\0");
        // No flags, no extension of the header.
        rows.0.extend_from_slice(&[0; 8]);
        rows
    }

    fn push(&mut self, record: &Record) -> sqlx::Result<()> {
        const FIELDS: i16 = 12;
        self.0.extend_from_slice(&FIELDS.to_be_bytes());
        self.field(&record.event_id)?;
        self.field(&integer(record.sequence))?;
        self.field(&record.execution_id)?;
        self.field(&record.subject)?;
        self.field(&record.message_type)?;
        self.field(&record.source)?;
        self.field(&record.task)?;
        self.field(&record.agent)?;
        self.field(&record.at)?;
        self.field(&length(record))?;
        // The text is the value, and the type takes no other.
        self.field(&record.body)?;
        self.field(&record.usage.as_ref().map(sqlx::types::Json))
    }

    /// A value behind its length; less than nothing is NULL.
    fn field<'q, T: Encode<'q, Postgres>>(&mut self, value: &T) -> sqlx::Result<()> {
        let at = self.0.len();
        self.0.extend_from_slice(&(-1_i32).to_be_bytes());
        let from = self.0.len();
        if let IsNull::No = value.encode_by_ref(&mut self.0).map_err(sqlx::Error::Encode)? {
            let length = i32::try_from(self.0.len() - from)
                .map_err(|error| sqlx::Error::Encode(error.into()))?;
            if let Some(place) = self.0.get_mut(at..from) {
                place.copy_from_slice(&length.to_be_bytes());
            }
        }
        Ok(())
    }

    fn end(mut self) -> PgArgumentBuffer {
        self.0.extend_from_slice(&(-1_i16).to_be_bytes());
        self.0
    }
}

fn length(record: &Record) -> i32 {
    i32::try_from(record.body.len()).unwrap_or(i32::MAX)
}

/// Records as arrays, one for each column.
#[derive(Default)]
struct Columns<'a> {
    event_id: Vec<&'a str>,
    sequence: Vec<i64>,
    execution_id: Vec<&'a str>,
    subject: Vec<&'a str>,
    message_type: Vec<&'a str>,
    source: Vec<&'a str>,
    task: Vec<&'a str>,
    agent: Vec<&'a str>,
    at: Vec<DateTime<Utc>>,
    bytes: Vec<i32>,
    body: Vec<&'a str>,
    usage: Vec<Option<String>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, record: &'a Record) {
        self.event_id.push(&record.event_id);
        self.sequence.push(integer(record.sequence));
        self.execution_id.push(&record.execution_id);
        self.subject.push(&record.subject);
        self.message_type.push(&record.message_type);
        self.source.push(&record.source);
        self.task.push(&record.task);
        self.agent.push(&record.agent);
        self.at.push(record.at);
        self.bytes.push(length(record));
        self.body.push(&record.body);
        let usage = record.usage.as_ref();
        self.usage.push(usage.and_then(|usage| serde_json::to_string(usage).ok()));
    }
}

/// How executions stand, as arrays, one for each column: each execution once.
#[derive(Default)]
struct Stand<'a> {
    execution_id: Vec<&'a str>,
    workflow: Vec<&'a str>,
    version: Vec<&'a str>,
    status: Vec<&'a str>,
    sequence: Vec<i64>,
    started_at: Vec<DateTime<Utc>>,
    updated_at: Vec<DateTime<Utc>>,
    tenant: Vec<&'a str>,
}

impl<'a> Stand<'a> {
    fn of(records: &[&'a Record]) -> Self {
        let mut stand = Self::default();
        for (execution_id, known) in standings(records) {
            stand.execution_id.push(execution_id);
            stand.workflow.push(&known.last.workflow);
            stand.version.push(&known.last.version);
            stand.status.push(&known.last.status);
            stand.sequence.push(integer(known.sequence));
            stand.started_at.push(known.from);
            stand.updated_at.push(known.to);
            stand.tenant.push(&known.last.tenant);
        }
        stand
    }
}
