//! What is asked.

use pgvector::Vector;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, FromRow, Postgres, Row as _, Transaction};

use super::{Store, count, indexed_as};
use crate::domain::{CANDIDATES, Query, Stored, folded};
use crate::error::Error;
use crate::providers::Embedding;

/// A collection and what made its vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Collection {
    pub(crate) embedder: String,
    pub(crate) dimension: usize,
}

/// A chunk with its document.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) id: i64,
    pub(crate) document_id: String,
    pub(crate) title: String,
    pub(crate) place: i32,
    pub(crate) text: String,
    pub(crate) metadata: Value,
}

impl Store {
    /// The collection with this name.
    pub(crate) async fn collection(&self, name: &str) -> Result<Option<Collection>, Error> {
        let row: Option<(String, i32)> =
            sqlx::query_as("SELECT embedder, dimension FROM collections WHERE name = $1")
                .bind(name)
                .fetch_optional(&self.pool)
                .await?;
        Ok(row.map(|(embedder, dimension)| Collection {
            embedder,
            dimension: usize::try_from(dimension).unwrap_or_default(),
        }))
    }

    /// The document with this id.
    pub(crate) async fn document(
        &self,
        collection: &str,
        document_id: &str,
    ) -> Result<Option<Stored>, Error> {
        Ok(sqlx::query_as(
            "SELECT d.collection, document_id, title, request_id, requested_at, chunks, tokens, embedder, ingested_at
             FROM documents d JOIN collections c ON c.name = d.collection
             WHERE d.collection = $1 AND document_id = $2",
        )
        .bind(collection)
        .bind(document_id)
        .fetch_optional(&self.pool)
        .await?)
    }

    /// The chunks nearest to the query's vector, with their similarity, and those with its words; each best first.
    ///
    /// All chunks are of one moment: `found` in the same search sees what the rankings saw.
    pub(crate) async fn search(&self) -> Result<Search, Error> {
        let transaction =
            self.pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
        Ok(Search { transaction })
    }
}

/// One search: a moment of the database.
pub(crate) struct Search {
    transaction: Transaction<'static, Postgres>,
}

impl Search {
    /// The chunks nearest to a vector with their cosine similarity, nearest first.
    pub(crate) async fn nearest(
        &mut self,
        query: &Query,
        embedding: Embedding,
    ) -> Result<Vec<(i64, f64)>, Error> {
        // The index knows nothing of collections and filters: it goes on until it has enough that pass them.
        sqlx::raw_sql(
            "SET LOCAL hnsw.ef_search = 100; SET LOCAL hnsw.iterative_scan = 'strict_order'",
        )
        .execute(&mut *self.transaction)
        .await?;
        // The only part that varies is a number.
        let sql = AssertSqlSafe(nearest_sql(embedding.len()));
        Ok(sqlx::query_as(sql)
            .bind(Vector::from(embedding))
            .bind(&query.collection)
            .bind(&query.filter)
            .bind(CANDIDATES)
            .fetch_all(&mut *self.transaction)
            .await?)
    }

    /// The chunks with the query's words. Those that fit it as a search engine reads it (every word, phrases,
    /// exclusions) come first, then, unless it uses operators, those with any of its words.
    pub(crate) async fn by_words(&mut self, query: &Query) -> Result<Vec<i64>, Error> {
        Ok(sqlx::query_scalar(
            "WITH q AS MATERIALIZED (
               SELECT strict, loose, CASE WHEN $4 THEN strict ELSE loose END AS wanted
               FROM (SELECT websearch_to_tsquery('english', $1) AS strict,
                            replace(plainto_tsquery('english', $1)::text, ' & ', ' | ')::tsquery AS loose) AS parsed)
             SELECT c.id
             FROM q CROSS JOIN chunks c JOIN documents d USING (collection, document_id)
             WHERE c.collection = $2 AND d.metadata @> $3 AND c.tsv @@ q.wanted
             ORDER BY (c.tsv @@ q.strict) DESC, ts_rank(c.tsv, q.loose) DESC, c.id
             LIMIT $5",
        )
        .bind(folded(&query.text))
        .bind(&query.collection)
        .bind(&query.filter)
        .bind(query.exact)
        .bind(CANDIDATES)
        .fetch_all(&mut *self.transaction)
        .await?)
    }

    /// These chunks with their documents, in no order.
    pub(crate) async fn found(&mut self, ids: &[i64]) -> Result<Vec<Found>, Error> {
        Ok(sqlx::query_as(
            "SELECT id, document_id, title, place, text, metadata
             FROM chunks JOIN documents USING (collection, document_id)
             WHERE id = ANY($1)",
        )
        .bind(ids)
        .fetch_all(&mut *self.transaction)
        .await?)
    }
}

impl FromRow<'_, PgRow> for Found {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            document_id: row.try_get("document_id")?,
            title: row.try_get("title")?,
            place: row.try_get("place")?,
            text: row.try_get("text")?,
            metadata: row.try_get("metadata")?,
        })
    }
}

impl FromRow<'_, PgRow> for Stored {
    fn from_row(row: &PgRow) -> sqlx::Result<Self> {
        Ok(Self {
            collection: row.try_get("collection")?,
            document_id: row.try_get("document_id")?,
            title: row.try_get("title")?,
            request_id: row.try_get("request_id")?,
            requested_at: row.try_get("requested_at")?,
            chunks: count(row.try_get::<i32, _>("chunks")?.into()),
            tokens: count(row.try_get("tokens")?),
            embedder: row.try_get("embedder")?,
            ingested_at: row.try_get("ingested_at")?,
        })
    }
}

/// The expression and the condition are those of the index of this dimension, or Postgres would not use it.
fn nearest_sql(dimension: usize) -> String {
    let kind = indexed_as(dimension);
    format!(
        "SELECT c.id, 1 - (c.embedding::{kind}({dimension}) <=> $1::{kind}({dimension})) AS similarity
         FROM chunks c JOIN documents d USING (collection, document_id)
         WHERE c.collection = $2 AND d.metadata @> $3 AND c.dimension = {dimension}
         ORDER BY c.embedding::{kind}({dimension}) <=> $1::{kind}({dimension})
         LIMIT $4"
    )
}

#[cfg(test)]
mod tests {
    use muster_testkit::Database;
    use sqlx::PgPool;

    use super::*;

    async fn plan(dimension: usize) -> String {
        let database = Database::create().await;
        let pool = PgPool::connect(database.url()).await.unwrap();
        sqlx::raw_sql("CREATE EXTENSION vector").execute(&pool).await.unwrap();
        let store = Store::new(pool.clone());
        sqlx::raw_sql(include_str!("../../schema.sql")).execute(&pool).await.unwrap();
        store.ensure_index(dimension).await.unwrap();
        store.ensure_index(dimension).await.unwrap();
        let mut transaction = pool.begin().await.unwrap();
        // A table of a few rows is read as a whole, whatever indexes it has.
        let force = "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off";
        sqlx::raw_sql(force).execute(&mut *transaction).await.unwrap();
        let lines: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("EXPLAIN {}", nearest_sql(dimension))))
                .bind(Vector::from(vec![0.5; dimension]))
                .bind("notes")
                .bind(serde_json::json!({}))
                .bind(CANDIDATES)
                .fetch_all(&mut *transaction)
                .await
                .unwrap();
        lines.join("\n")
    }

    #[tokio::test]
    async fn the_nearest_are_found_by_the_index_of_their_dimension() {
        let plan = plan(256).await;
        assert!(plan.contains("chunks_vectors_256"), "{plan}");
    }

    #[tokio::test]
    async fn long_vectors_are_indexed_at_half_precision() {
        let plan = plan(3072).await;
        assert!(plan.contains("chunks_vectors_3072") && plan.contains("halfvec"), "{plan}");
    }
}
