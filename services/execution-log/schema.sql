-- The tables of the execution log. Every statement may run again and changes nothing then.

-- Replicas start at the same time, and IF NOT EXISTS alone does not keep two from creating at once.
SELECT pg_advisory_xact_lock(7322);

CREATE TABLE IF NOT EXISTS events (
    event_id     text NOT NULL,
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
    usage        jsonb,
    -- A second message with the same id finds the first. The events of an execution stand together, so that the next one mostly finds its page in memory.
    PRIMARY KEY (execution_id, event_id)
);

-- It was the event's id alone once.
DO $$
BEGIN
    IF (SELECT cardinality(conkey) FROM pg_constraint WHERE conrelid = 'events'::regclass AND contype = 'p') = 1 THEN
        ALTER TABLE events DROP CONSTRAINT events_pkey, ADD PRIMARY KEY (execution_id, event_id);
    END IF;
END $$;

CREATE INDEX IF NOT EXISTS events_of_execution ON events (execution_id, sequence);

-- What was recorded last. The events stand in the order of the stream, so it has next to no size.
CREATE INDEX IF NOT EXISTS events_by_sequence ON events USING brin (sequence) WITH (autosummarize = on);

-- How far the log has come: moved by the statement that records, if nobody else has moved it.
CREATE TABLE IF NOT EXISTS places (
    -- When the stream was created, in nanoseconds since 1970: one that was made anew has a place of its own.
    stream_created bigint PRIMARY KEY,
    sequence       bigint NOT NULL,
    -- What the last statement recorded is behind this: it may not have been told yet.
    before         bigint NOT NULL
);

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
