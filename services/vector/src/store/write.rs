//! What is written: a document with its chunks, at once or not at all.

use chrono::{DateTime, Utc};
use pgvector::Vector;
use sqlx::{AssertSqlSafe, PgConnection};

use super::{Store, indexed_as};
use crate::domain::{Chunk, Stored, Upsert, Written, folded};
use crate::error::Error;
use crate::providers::Embedding;

/// Rows in one INSERT.
const BATCH: usize = 500;

/// What the chunks of a document came to.
pub(crate) struct Ingested<'a> {
    pub(crate) embedder: &'a str,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) embeddings: Vec<Embedding>,
}

impl Ingested<'_> {
    fn dimension(&self) -> usize {
        self.embeddings.first().map_or(0, Vec::len)
    }

    fn tokens(&self) -> u32 {
        self.chunks.iter().fold(0, |sum, chunk| sum.saturating_add(chunk.tokens))
    }
}

impl Store {
    /// Stores a document in place of the one with its id, unless the same or a later request has done so. The
    /// collection is made where it is not there.
    pub(crate) async fn write(
        &self,
        upsert: &Upsert,
        ingested: Ingested<'_>,
    ) -> Result<Written, Error> {
        let (embedder, dimension) = (ingested.embedder, ingested.dimension());
        self.ensure_index(dimension).await?;
        let mut transaction = self.pool.begin().await?;
        let collection =
            ensure_collection(&mut transaction, &upsert.collection, embedder, dimension).await?;
        if collection != (embedder.to_owned(), integer(dimension)) {
            let (embedder, dimension) = collection;
            let dimension = usize::try_from(dimension).unwrap_or_default();
            return Ok(Written::OtherEmbedder { embedder, dimension });
        }
        let Some(ingested_at) = put_document(&mut transaction, upsert, &ingested).await? else {
            transaction.rollback().await?;
            return self.settled(upsert).await;
        };
        let stored = Stored {
            collection: upsert.collection.clone(),
            document_id: upsert.document_id.clone(),
            title: upsert.title.clone(),
            request_id: upsert.request_id.clone(),
            requested_at: upsert.requested_at,
            chunks: u32::try_from(ingested.chunks.len()).unwrap_or(u32::MAX),
            tokens: ingested.tokens(),
            embedder: embedder.to_owned(),
            ingested_at,
        };
        replace_chunks(&mut transaction, upsert, ingested).await?;
        transaction.commit().await?;
        Ok(Written::Stored(stored))
    }

    /// The document that is there because another delivery or a later request was faster.
    async fn settled(&self, upsert: &Upsert) -> Result<Written, Error> {
        let stored = self.document(&upsert.collection, &upsert.document_id).await?;
        stored.map(Written::Stored).ok_or_else(|| Error::UnknownDocument {
            collection: upsert.collection.clone(),
            document_id: upsert.document_id.clone(),
        })
    }

    /// Makes the index of a dimension where it is not there. It is made empty, so this is quick.
    pub(super) async fn ensure_index(&self, dimension: usize) -> Result<(), Error> {
        let name = format!("chunks_vectors_{dimension}");
        // Looked for first: CREATE INDEX locks out every writer, also where it then creates nothing.
        let there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(&name)
            .fetch_one(&self.pool)
            .await?;
        if there {
            return Ok(());
        }
        let kind = indexed_as(dimension);
        let sql = format!(
            "SELECT pg_advisory_xact_lock(7321);
             CREATE INDEX IF NOT EXISTS {name} ON chunks
             USING hnsw ((embedding::{kind}({dimension})) {kind}_cosine_ops) WHERE dimension = {dimension}"
        );
        // The only part that varies is a number.
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await?;
        Ok(())
    }
}

/// The embedder and the dimension of a collection, which are these where it is new.
async fn ensure_collection(
    connection: &mut PgConnection,
    name: &str,
    embedder: &str,
    dimension: usize,
) -> Result<(String, i32), Error> {
    sqlx::query(
        "INSERT INTO collections (name, embedder, dimension) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
    )
    .bind(name)
    .bind(embedder)
    .bind(integer(dimension))
    .execute(&mut *connection)
    .await?;
    Ok(sqlx::query_as("SELECT embedder, dimension FROM collections WHERE name = $1")
        .bind(name)
        .fetch_one(connection)
        .await?)
}

/// When it was put there; nothing where the same or a later request had done so. The row stays locked, so that two
/// requests for one document write one after the other.
async fn put_document(
    connection: &mut PgConnection,
    upsert: &Upsert,
    ingested: &Ingested<'_>,
) -> Result<Option<DateTime<Utc>>, Error> {
    Ok(sqlx::query_scalar(
        "INSERT INTO documents AS d (collection, document_id, title, metadata, request_id, requested_at, chunks, tokens)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
         ON CONFLICT (collection, document_id) DO UPDATE
         SET title = excluded.title, metadata = excluded.metadata, request_id = excluded.request_id,
             requested_at = excluded.requested_at, chunks = excluded.chunks, tokens = excluded.tokens, ingested_at = now()
         WHERE d.request_id <> excluded.request_id AND d.requested_at <= excluded.requested_at
         RETURNING ingested_at",
    )
    .bind(&upsert.collection)
    .bind(&upsert.document_id)
    .bind(&upsert.title)
    .bind(&upsert.metadata)
    .bind(&upsert.request_id)
    .bind(upsert.requested_at)
    .bind(integer(ingested.chunks.len()))
    .bind(i64::from(ingested.tokens()))
    .fetch_optional(connection)
    .await?)
}

async fn replace_chunks(
    connection: &mut PgConnection,
    upsert: &Upsert,
    ingested: Ingested<'_>,
) -> Result<(), Error> {
    sqlx::query("DELETE FROM chunks WHERE collection = $1 AND document_id = $2")
        .bind(&upsert.collection)
        .bind(&upsert.document_id)
        .execute(&mut *connection)
        .await?;
    let texts: Vec<String> = ingested.chunks.into_iter().map(|chunk| chunk.text).collect();
    let vectors: Vec<Vector> = ingested.embeddings.into_iter().map(Vector::from).collect();
    let places: Vec<i32> = (0..integer(texts.len())).collect();
    let batches = places.chunks(BATCH).zip(texts.chunks(BATCH)).zip(vectors.chunks(BATCH));
    for ((places, texts), vectors) in batches {
        sqlx::query(
            "INSERT INTO chunks (collection, document_id, place, text, tsv, embedding)
             SELECT $1, $2, place, text, to_tsvector('english', folded), embedding
             FROM unnest($3::integer[], $4::text[], $5::text[], $6::vector[]) AS new (place, text, folded, embedding)",
        )
        .bind(&upsert.collection)
        .bind(&upsert.document_id)
        .bind(places)
        .bind(texts)
        .bind(texts.iter().map(|text| folded(text)).collect::<Vec<_>>())
        .bind(vectors)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn integer(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
