//! A service: a name and a future.

use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::Context;

type Run = dyn Fn(Context) -> BoxFuture<'static, anyhow::Result<()>> + Send + Sync;

/// A service that a process can run.
#[derive(Clone)]
pub struct Service {
    name: &'static str,
    waits_for_bus: bool,
    run: Arc<Run>,
}

impl Service {
    /// A service with this name, which starts when the bus is there. `run` returns when its context's `shutdown` is cancelled and everything is finished.
    pub fn new<H, F>(name: &'static str, run: H) -> Self
    where
        H: Fn(Context) -> F + Send + Sync + 'static,
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self { name, waits_for_bus: true, run: Arc::new(move |cx| run(cx).boxed()) }
    }

    /// The same, but it starts without the bus and has to say itself that it is not ready.
    #[must_use]
    pub fn starts_without_bus(self) -> Self {
        Self { waits_for_bus: false, ..self }
    }

    /// The service's name: `agent`, `execution-log`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) async fn run(&self, cx: Context) -> anyhow::Result<()> {
        if self.waits_for_bus {
            tokio::select! {
                () = cx.bus.ready() => {}
                () = cx.shutdown.cancelled() => return Ok(()),
            }
        }
        (self.run)(cx).await
    }
}
