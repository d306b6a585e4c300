//! Collections, documents and chunks in Postgres.

mod read;
mod write;

use std::time::Duration;

use sqlx::PgPool;
use tracing::warn;

pub(crate) use read::{Collection, Found};
pub(crate) use write::Ingested;

use crate::error::Error;

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

    /// Creates what is not there. Waits where Postgres went away meanwhile.
    pub(crate) async fn prepare(&self) -> Result<(), Error> {
        loop {
            let done = sqlx::raw_sql(include_str!("../schema.sql")).execute(&self.pool).await;
            match done.map_err(Error::from) {
                Ok(_done) => return Ok(()),
                Err(error @ Error::DatabaseAway(_)) => {
                    warn!(%error, "tables could not be created, will try again");
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(error) => return Err(error),
            }
        }
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
