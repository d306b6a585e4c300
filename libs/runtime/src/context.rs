//! What a running service gets.

use std::future::Future;

use muster_bus::{Bus, Routes};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Database, Env, Readiness};

/// What a running service gets. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The service's name.
    pub service: &'static str,
    /// Settings.
    pub env: Env,
    /// The service's own connection.
    pub bus: Bus,
    /// Cancelled when the service has to stop.
    pub shutdown: CancellationToken,
    /// What `/readyz` asks.
    pub readiness: Readiness,
    pub(crate) tasks: TaskTracker,
}

impl Context {
    /// Serves routes until the service has to stop.
    ///
    /// # Errors
    /// Where the bus is closed.
    pub async fn serve<A: Clone + Send + Sync + 'static>(
        &self,
        routes: Routes<A>,
    ) -> anyhow::Result<()> {
        Ok(routes.serve(&self.bus, self.shutdown.clone()).await?)
    }

    /// Runs a task beside the service; it ends with it.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let shutdown = self.shutdown.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = shutdown.cancelled() => {}
            }
        });
    }

    /// The service's own schema in Postgres, under a role of its own, with what `tables` creates where it is not there. Waits for a server that is not there yet.
    ///
    /// # Errors
    /// Where the service has to stop while it waits, or Postgres refuses a statement of `tables`.
    pub async fn database(
        &self,
        settings: &Database,
        schema: &str,
        tables: &'static str,
    ) -> anyhow::Result<PgPool> {
        // Not ready from the start: a service that waits for Postgres cannot work.
        let (opened, probe) = tokio::sync::watch::channel(None::<PgPool>);
        self.readiness.add("postgres", move || {
            let pool = probe.borrow().clone();
            async move {
                let pool = pool.ok_or_else(|| "has not answered yet".to_owned())?;
                sqlx::query("SELECT 1")
                    .execute(&pool)
                    .await
                    .map(|_done| ())
                    .map_err(|error| error.to_string())
            }
        });
        let pool = tokio::select! {
            pool = settings.open(self.service, schema, tables) => pool?,
            () = self.shutdown.cancelled() => anyhow::bail!("stopped before Postgres was there"),
        };
        opened.send_replace(Some(pool.clone()));
        Ok(pool)
    }
}
