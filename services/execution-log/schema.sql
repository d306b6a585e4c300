-- The table of the execution log. Every statement may run again and changes nothing then.

-- Replicas start at the same time, and IF NOT EXISTS alone does not keep two from creating at once.
SELECT pg_advisory_xact_lock(7322);

CREATE TABLE IF NOT EXISTS events (
    -- What makes the log exact: a second delivery of an event finds the first.
    event_id     text PRIMARY KEY,
    sequence     bigint NOT NULL,
    execution_id text NOT NULL,
    subject      text NOT NULL,
    type         text NOT NULL,
    source       text NOT NULL,
    task         text NOT NULL,
    agent        text NOT NULL,
    at           timestamptz NOT NULL,
    bytes        integer NOT NULL,
    -- Not jsonb: that loses the order of keys and refuses "\u0000", and an event is recorded as it came.
    body         json NOT NULL,
    -- Of the event that ends an agent's run.
    usage        jsonb
);

CREATE INDEX IF NOT EXISTS events_of_execution ON events (execution_id, sequence);

-- How each execution stands behind the last of its journal's entries that is recorded.
CREATE TABLE IF NOT EXISTS executions (
    execution_id text PRIMARY KEY,
    workflow     text NOT NULL,
    version      text NOT NULL,
    status       text NOT NULL,
    -- Of the entry that says so.
    sequence     bigint NOT NULL,
    started_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);

-- Empty: the platform's own.
ALTER TABLE executions ADD COLUMN IF NOT EXISTS tenant text NOT NULL DEFAULT '';

CREATE INDEX IF NOT EXISTS executions_by_time ON executions (started_at, execution_id);
CREATE INDEX IF NOT EXISTS executions_by_status ON executions (status, started_at, execution_id);
CREATE INDEX IF NOT EXISTS executions_of_workflow ON executions (workflow, started_at, execution_id);
CREATE INDEX IF NOT EXISTS executions_of_tenant ON executions (tenant, started_at, execution_id);

-- Which executions of a workflow run.
CREATE INDEX IF NOT EXISTS events_of_beginnings ON events ((body ->> 'workflow'), sequence)
    WHERE type IN ('muster.workflow.v1.ExecutionStarted', 'muster.workflow.v1.ExecutionForked');
