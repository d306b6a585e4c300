-- The tables of the vector service. Every statement may run again and changes nothing then.

-- Replicas start at the same time, and IF NOT EXISTS alone does not keep two from creating at once.
SELECT pg_advisory_xact_lock(7320);

CREATE TABLE IF NOT EXISTS collections (
    name       text PRIMARY KEY,
    embedder   text NOT NULL,
    dimension  integer NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE IF NOT EXISTS documents (
    collection   text NOT NULL REFERENCES collections (name) ON DELETE CASCADE,
    document_id  text NOT NULL,
    title        text NOT NULL,
    metadata     jsonb NOT NULL,
    request_id   text NOT NULL,
    requested_at timestamptz NOT NULL,
    chunks       integer NOT NULL,
    tokens       bigint NOT NULL,
    ingested_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (collection, document_id)
);

CREATE INDEX IF NOT EXISTS documents_metadata ON documents USING gin (metadata jsonb_path_ops);

-- The vectors of all collections, of any dimension. Each dimension has its own HNSW index over its own rows, which
-- the service makes when the first collection of that dimension comes.
CREATE TABLE IF NOT EXISTS chunks (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    collection  text NOT NULL,
    document_id text NOT NULL,
    place       integer NOT NULL,
    text        text NOT NULL,
    embedding   vector NOT NULL,
    dimension   integer GENERATED ALWAYS AS (vector_dims(embedding)) STORED,
    -- Of the text as the service folds it, not of the text itself.
    tsv         tsvector NOT NULL,
    FOREIGN KEY (collection, document_id) REFERENCES documents (collection, document_id) ON DELETE CASCADE,
    UNIQUE (collection, document_id, place)
);

CREATE INDEX IF NOT EXISTS chunks_words ON chunks USING gin (tsv);
