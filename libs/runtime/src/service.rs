//! A service: a name, its settings, and a future.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::{Context, Env};

type Run = Box<dyn FnOnce(Context) -> BoxFuture<'static, anyhow::Result<()>> + Send>;
type Prepare = dyn Fn(&Env) -> anyhow::Result<Run> + Send + Sync;

/// A service that a process can run.
#[derive(Clone)]
pub struct Service {
    name: &'static str,
    waits_for_bus: bool,
    prepare: Arc<Prepare>,
}

impl Service {
    /// A service with this name and without settings of its own, which starts when the bus is there. `run` returns when its context's `shutdown` is cancelled and everything is finished.
    pub fn new<H, F>(name: &'static str, run: H) -> Self
    where
        H: Fn(Context) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        Self::with_settings(name, |_env| Ok::<_, Infallible>(()), move |cx, ()| run(cx))
    }

    /// The same with settings. They are read before anything else: a process with a setting that cannot be used ends at once, whether NATS is there or not.
    pub fn with_settings<S, E, R, H, F>(name: &'static str, read: R, run: H) -> Self
    where
        S: Send + 'static,
        E: Into<anyhow::Error>,
        R: Fn(&Env) -> Result<S, E> + Send + Sync + 'static,
        H: Fn(Context, S) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let prepare = move |env: &Env| -> anyhow::Result<Run> {
            let settings = read(env).map_err(Into::into)?;
            let run = run.clone();
            Ok(Box::new(move |cx| run(cx, settings).boxed()))
        };
        Self { name, waits_for_bus: true, prepare: Arc::new(prepare) }
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

    /// Reads the settings, and does nothing else.
    ///
    /// # Errors
    /// Where one is absent or cannot be used.
    pub fn check(&self, env: &Env) -> anyhow::Result<()> {
        self.prepare(env).map(drop)
    }

    /// Reads the settings.
    pub(crate) fn prepare(&self, env: &Env) -> anyhow::Result<Prepared> {
        Ok(Prepared { waits_for_bus: self.waits_for_bus, run: (self.prepare)(env)? })
    }
}

/// A service that has its settings.
pub(crate) struct Prepared {
    waits_for_bus: bool,
    run: Run,
}

impl Prepared {
    pub(crate) async fn run(self, cx: Context) -> anyhow::Result<()> {
        if self.waits_for_bus {
            tokio::select! {
                () = cx.bus.ready() => {}
                () = cx.shutdown.cancelled() => return Ok(()),
            }
        }
        (self.run)(cx).await
    }
}
