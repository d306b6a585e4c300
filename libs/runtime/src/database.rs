//! Postgres: a schema and a role for each service, so that none can read another's tables.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tracing::warn;

use crate::Env;

/// What an address looks like.
const ADDRESS: &str = "a Postgres address like postgres://user:password@127.0.0.1:5432/muster";
/// Classes of errors that pass: connection, resources, operator intervention, transaction rollback.
const AWAY: [&str; 4] = ["08", "53", "57P", "40"];
/// Connections of one service.
const CONNECTIONS: u32 = 8;
/// A statement whose client is gone ends within ten seconds, also where it waits for a lock: it would take one of the server's connections until then. A server that cannot do so goes on without.
const LOOK: &str = "DO $$ BEGIN PERFORM set_config('client_connection_check_interval', '10s', false); EXCEPTION WHEN OTHERS THEN NULL; END $$";

/// Where Postgres is.
#[derive(Clone)]
pub struct Database {
    options: PgConnectOptions,
}

impl Database {
    /// `DATABASE_URL_<SERVICE>`, or `DATABASE_URL` where a service has none of its own.
    ///
    /// # Errors
    /// Where both are absent, or the address is malformed. The error does not show it: it may hold a password.
    pub fn from_env(env: &Env, service: &str) -> anyhow::Result<Self> {
        let own = format!("DATABASE_URL_{}", service.to_ascii_uppercase().replace('-', "_"));
        let (name, url) = match env.get(&own) {
            Some(url) => (own.as_str(), url),
            None => ("DATABASE_URL", env.require("DATABASE_URL", ADDRESS)?),
        };
        let known = ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme));
        anyhow::ensure!(known, "{name} cannot be used: it must be {ADDRESS}");
        let options = PgConnectOptions::from_str(url)
            .with_context(|| format!("{name} cannot be used: it must be {ADDRESS}"))?;
        Ok(Self { options: options.application_name(service) })
    }

    pub(crate) async fn open(
        &self,
        service: &str,
        schema: &str,
        tables: &'static str,
    ) -> anyhow::Result<PgPool> {
        let pool = open(self.options.clone(), service, schema).await?;
        while let Err(error) = sqlx::raw_sql(tables).execute(&pool).await {
            if !is_away(&error) {
                return Err(error).context("the tables cannot be created");
            }
            warn!(%error, service, "tables could not be created, will try again");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Ok(pool)
    }
}

/// What a server of Postgres says of itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Sight {
    /// Its version.
    pub version: String,
    /// The version of pgvector that it has, or could have; none where it has none.
    pub vector: Option<String>,
    /// Its clock, in seconds since 1970.
    pub clock: f64,
}

impl Database {
    /// Connects once, and looks; changes nothing.
    ///
    /// # Errors
    /// Where the server does not let us in within 5 s.
    pub async fn look(&self) -> anyhow::Result<Sight> {
        let look = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            let sql = "SELECT current_setting('server_version'), (SELECT default_version FROM pg_available_extensions WHERE name = 'vector'), extract(epoch FROM clock_timestamp())::float8";
            let (version, vector, clock) =
                sqlx::query_as(AssertSqlSafe(sql)).fetch_one(&mut connection).await?;
            connection.close().await?;
            anyhow::Ok(Sight { version, vector, clock })
        };
        let looked = tokio::time::timeout(Duration::from_secs(5), look).await;
        looked.unwrap_or_else(|_elapsed| Err(anyhow::anyhow!("it does not answer within 5 s")))
    }
}

impl fmt::Debug for Database {
    /// Without the options: they hold the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (host, port) = (self.options.get_host(), self.options.get_port());
        f.debug_struct("Database").field("host", &host).field("port", &port).finish()
    }
}

/// Whether a new try may help: the connection broke, none was free, or the server starts, stops or is full.
#[must_use]
pub fn is_away(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => true,
        _ => AWAY.iter().any(|class| has_class(error, class)),
    }
}

/// Whether the server refused a statement with an error of this class: the first letters of its SQLSTATE.
#[must_use]
pub fn has_class(error: &sqlx::Error, class: &str) -> bool {
    let code = error.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| code.starts_with(class))
}

async fn open(options: PgConnectOptions, service: &str, schema: &str) -> anyhow::Result<PgPool> {
    anyhow::ensure!(
        schema.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
        "schema {schema:?} must have lower-case letters and _ only"
    );
    let role = format!("muster_{schema}");
    let mut pause = Duration::from_millis(100);
    while let Err(error) = prepare(&options, schema, &role).await {
        warn!(%error, service, "postgres is not ready, will try again");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(2));
    }
    let entry = format!("SET ROLE {role}; SET search_path = {schema}, public; {LOOK}");
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
