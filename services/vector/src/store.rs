//! Collections, documents and chunks in Postgres.

mod read;
mod write;

use sqlx::PgPool;

pub(crate) use read::{Collection, Found};
pub(crate) use write::Ingested;

/// What pgvector indexes at full precision at most.
const MAX_FULL_PRECISION: usize = 2000;

/// The service's tables. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pool: PgPool,
}

impl Store {
    pub(crate) const fn new(pool: PgPool) -> Self {
        Self { pool }
    }
}

/// The type that vectors of this length are indexed and compared as: half-precision where full precision has no index.
fn indexed_as(dimension: usize) -> &'static str {
    if dimension > MAX_FULL_PRECISION { "halfvec" } else { "vector" }
}

/// A count as Postgres gives it.
fn count(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
