//! Postgres: a schema and a role for each service, so that none can read another's tables.

use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tracing::warn;

use crate::Env;

/// Connections of one service.
const CONNECTIONS: u32 = 8;

pub(crate) async fn open(env: &Env, service: &str, schema: &str) -> anyhow::Result<PgPool> {
    let own = format!("DATABASE_URL_{}", service.to_ascii_uppercase().replace('-', "_"));
    let url = match env.get(&own) {
        Some(url) => url,
        None => env.require(
            "DATABASE_URL",
            "a Postgres address like postgres://user:password@127.0.0.1:5432/muster",
        )?,
    };
    anyhow::ensure!(
        schema.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
        "schema {schema:?} must have lower-case letters and _ only"
    );
    let options = PgConnectOptions::from_str(url).context("DATABASE_URL is not a Postgres address like postgres://user:password@host:5432/database")?.application_name(service);
    let role = format!("muster_{schema}");
    let mut pause = Duration::from_millis(100);
    while let Err(error) = prepare(&options, schema, &role).await {
        warn!(%error, service, "postgres is not ready, will try again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
    let entry = format!("SET ROLE {role}; SET search_path = {schema}, public");
    let pool = PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(Duration::from_secs(5))
        .after_connect(move |connection, _meta| {
            let entry = entry.clone();
            Box::pin(async move {
                sqlx::raw_sql(AssertSqlSafe(entry)).execute(connection).await.map(|_done| ())
            })
        });
    Ok(pool.connect_lazy_with(options))
}

/// Creates role and schema where the user may; where somebody else has created them, that is as good.
async fn prepare(options: &PgConnectOptions, schema: &str, role: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect_with(options).await?;
    let sql = format!(
        "SELECT pg_advisory_lock(7319);
         DO $$ BEGIN
           IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') THEN CREATE EXTENSION vector SCHEMA public; END IF;
           IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN CREATE ROLE {role} NOLOGIN; END IF;
           IF NOT pg_has_role(current_user, '{role}', 'MEMBER') THEN EXECUTE format('GRANT {role} TO %I', current_user); END IF;
           IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = '{schema}') THEN CREATE SCHEMA {schema} AUTHORIZATION {role}; END IF;
         END $$;
         SELECT pg_advisory_unlock(7319);"
    );
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await?;
    connection.close().await
}
