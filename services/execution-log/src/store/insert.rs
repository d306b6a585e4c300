//! How records come into the tables.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::integer;
use crate::domain::{Place, Record, standings};

/// PostgreSQL's code for a second row with the same key.
const UNIQUE_VIOLATION: &str = "23505";

/// The statement with what to do about an event that is there.
macro_rules! statement {
    ($there:literal) => {
        concat!(
            "WITH moved AS (
                UPDATE places SET sequence = $3, before = $4 WHERE stream_created = $1 AND sequence = $2
                RETURNING true
            ), recorded AS (
                INSERT INTO events (event_id, sequence, execution_id, subject, type, source, task, agent, at, bytes, body, usage)
                SELECT event_id, sequence, execution_id, subject, type, source, task, agent, at, bytes, body::json, usage::jsonb
                FROM unnest($5::text[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[],
                            $13::timestamptz[], $14::integer[], $15::text[], $16::text[])
                     AS given (event_id, sequence, execution_id, subject, type, source, task, agent, at, bytes, body, usage)
                WHERE EXISTS (SELECT FROM moved)
                ",
            $there,
            "
            ), stand AS (
                INSERT INTO executions AS known (execution_id, workflow, version, status, sequence, started_at, updated_at, tenant)
                SELECT * FROM unnest($17::text[], $18::text[], $19::text[], $20::text[], $21::bigint[], $22::timestamptz[], $23::timestamptz[], $24::text[])
                WHERE EXISTS (SELECT FROM moved)
                -- A stream that lost its end is read again from its beginning: the entry that stands last counts.
                ON CONFLICT (execution_id) DO UPDATE SET
                    status = CASE WHEN excluded.sequence > known.sequence THEN excluded.status ELSE known.status END,
                    sequence = greatest(excluded.sequence, known.sequence),
                    started_at = least(excluded.started_at, known.started_at),
                    updated_at = greatest(excluded.updated_at, known.updated_at),
                    tenant = greatest(excluded.tenant, known.tenant)
            )
            SELECT EXISTS (SELECT FROM moved)"
        )
    };
}
/// For events that are not there, none of them.
const ALL: &str = statement!("");
/// For events of which some may be there.
const MISSING: &str = statement!("ON CONFLICT (execution_id, event_id) DO NOTHING");

/// Records what is not there yet and moves the place: all of it or nothing. False where the place is another.
pub(super) async fn insert(
    connection: &mut PgConnection,
    place: Place,
    records: &[Record],
) -> sqlx::Result<bool> {
    let inserted = insert_by(connection, place, records, ALL).await;
    match inserted.as_ref().err().and_then(sqlx::Error::as_database_error) {
        // Some are there: published once more behind the broker's own window, or read again. That is rare, and to look for each one beforehand costs more than to begin again.
        Some(error) if error.code().as_deref() == Some(UNIQUE_VIOLATION) => {
            insert_by(connection, place, records, MISSING).await
        }
        _ => inserted,
    }
}

/// Everything by one statement, which nobody has to end: a process that hangs in the middle holds up no other.
async fn insert_by(
    connection: &mut PgConnection,
    place: Place,
    records: &[Record],
    statement: &'static str,
) -> sqlx::Result<bool> {
    let mut columns = Columns::default();
    for record in records {
        columns.push(record);
    }
    let stand = Stand::of(records);
    let moved = place.moved(records);
    sqlx::query_scalar(statement)
        .bind(place.created)
        .bind(integer(place.sequence))
        .bind(integer(moved.sequence))
        .bind(integer(moved.before))
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
        .bind(stand.execution_id)
        .bind(stand.workflow)
        .bind(stand.version)
        .bind(stand.status)
        .bind(stand.sequence)
        .bind(stand.started_at)
        .bind(stand.updated_at)
        .bind(stand.tenant)
        .fetch_one(connection)
        .await
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
        self.bytes.push(i32::try_from(record.body.len()).unwrap_or(i32::MAX));
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
    fn of(records: &'a [Record]) -> Self {
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
