//! A fresh Postgres database for each test.

use std::sync::mpsc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use uuid::Uuid;

use crate::{dev, or_fail};

/// How long the end of a test waits until its database is gone.
const DROP_WAIT: Duration = Duration::from_secs(5);

/// A database of its own on the development server, or on the one that `DATABASE_URL` names.
///
/// Dropping it drops the database, also under open connections.
#[derive(Debug)]
pub struct Database {
    server: String,
    name: String,
    url: String,
}

impl Database {
    /// Creates an empty database (some 50 ms).
    ///
    /// # Panics
    /// When no Postgres can be had, or the user may not create databases.
    pub async fn create() -> Self {
        or_fail(Self::try_create().await)
    }

    async fn try_create() -> Result<Self> {
        let server = tokio::task::spawn_blocking(dev::database_url).await??;
        let name = format!("muster_test_{}", Uuid::now_v7().simple());
        execute(&server, format!("CREATE DATABASE {name}")).await?;
        let url = with_database(&server, &name);
        Ok(Self { server, name, url })
    }

    /// The address of this database, with user and password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, sql) =
            (self.server.clone(), format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        // A thread with a runtime of its own: the test's runtime may be shutting down around us.
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let _told_at_the_end: mpsc::Sender<()> = tell;
            runtime.block_on(execute(&server, sql))
        });
        // Best effort: a server that the test has stopped keeps the database, and one that waits for a client which is just logging in on this thread goes on when this returns.
        let _gone_or_late = told.recv_timeout(DROP_WAIT);
    }
}

async fn execute(server: &str, sql: String) -> Result<()> {
    let mut connection =
        PgConnection::connect(server).await.context("cannot connect to the Postgres for tests")?;
    // The only part that varies is a name that we made from hexadecimal digits.
    sqlx::raw_sql(AssertSqlSafe(sql.clone()))
        .execute(&mut connection)
        .await
        .with_context(|| format!("{sql} failed"))?;
    connection.close().await.context("cannot close a connection to Postgres")
}

/// The same address with another database: `postgres://user:password@host:port/DATABASE?options`.
fn with_database(server: &str, name: &str) -> String {
    let (address, options) =
        server.split_once('?').map_or((server, None), |(address, rest)| (address, Some(rest)));
    let authority = address.find("://").map_or(0, |at| at + 3);
    let end = address
        .get(authority..)
        .and_then(|rest| rest.find('/'))
        .map_or(address.len(), |at| authority + at);
    let base = address.get(..end).unwrap_or(address);
    options.map_or_else(|| format!("{base}/{name}"), |options| format!("{base}/{name}?{options}"))
}

#[cfg(test)]
mod tests {
    use super::with_database;

    #[test]
    fn the_database_is_replaced_and_the_options_stay() {
        for (server, expected) in [
            ("postgres://u:p@h:1/old", "postgres://u:p@h:1/new"),
            ("postgres://u:p@h:1", "postgres://u:p@h:1/new"),
            ("postgres://h/old?sslmode=disable", "postgres://h/new?sslmode=disable"),
            ("postgres://h?host=/run/pg", "postgres://h/new?host=/run/pg"),
        ] {
            assert_eq!(with_database(server, "new"), expected);
        }
    }
}
