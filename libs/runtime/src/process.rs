//! A process that runs services until it is told to stop.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use muster_bus::{Bus, Settings};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use crate::service::Prepared;
use crate::{Context, Env, Readiness, Service, health, logs, metrics};

/// Bad settings: EX_USAGE of sysexits.h.
const BAD_SETTINGS: u8 = 64;

/// How long services may take to give back what they could not finish.
const GIVE_BACK: Duration = Duration::from_secs(3);

/// What ends a process.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    token: CancellationToken,
}

impl Stop {
    /// Ends with SIGTERM, SIGINT, or [`Stop::now`].
    ///
    /// # Errors
    /// Where signals cannot be heard.
    pub fn on_signals() -> std::io::Result<Self> {
        let stop = Self::default();
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let token = stop.token.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
        });
        Ok(stop)
    }

    /// Ends it now.
    pub fn now(&self) {
        self.token.cancel();
    }
}

/// The main of a process that runs these services with the settings of its environment.
#[must_use]
pub fn main<const N: usize>(services: [Service; N]) -> ExitCode {
    let env = Env::of_process();
    logs::start(&env);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "no runtime");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(async {
        let stop = match Stop::on_signals() {
            Ok(stop) => stop,
            Err(error) => {
                error!(%error, "signals cannot be heard");
                return ExitCode::FAILURE;
            }
        };
        run(services.to_vec(), &env, &stop).await
    })
}

/// Runs services until `stop`, or until one fails.
pub async fn run(services: Vec<Service>, env: &Env, stop: &Stop) -> ExitCode {
    logs::start(env);
    // Fails where a provider is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    match start_all(services, env, stop).await {
        Ok(running) => running.wait(stop).await,
        Err(error) => {
            error!(error = format!("{error:#}"), "cannot start");
            ExitCode::from(BAD_SETTINGS)
        }
    }
}

pub(crate) struct Running {
    tasks: JoinSet<(&'static str, anyhow::Result<()>)>,
    limit: Duration,
}

/// Reads every setting before anything is opened, so that one look at the errors is enough to mend them all.
fn prepare(services: &[Service], env: &Env) -> anyhow::Result<Vec<(Prepared, Settings)>> {
    let mut problems = Vec::new();
    let mut prepared = Vec::new();
    for service in services {
        let settings = Settings::from_variables(service.name(), |name| env.get(name));
        match (service.prepare(env), settings) {
            (Ok(service), Ok(settings)) => prepared.push((service, settings)),
            (service, settings) => {
                let errors = [service.err(), settings.err().map(anyhow::Error::from)];
                problems.extend(errors.into_iter().flatten().map(|error| format!("{error:#}")));
            }
        }
    }
    problems.sort();
    problems.dedup();
    anyhow::ensure!(problems.is_empty(), "{}", problems.join("; "));
    Ok(prepared)
}

pub(crate) async fn start_all(
    services: Vec<Service>,
    env: &Env,
    stop: &Stop,
) -> anyhow::Result<Running> {
    // A value that is no time is named with the settings of the bus, which reads it too.
    let drain = Duration::try_from_secs_f64(env.parse("MUSTER_DRAIN_TIMEOUT", 30.0)?);
    let limit = drain.unwrap_or_default() + GIVE_BACK;
    let health = health_address(env)?;
    if health.is_some() {
        // Before anything is opened that measures.
        metrics::start();
    }
    let prepared = prepare(&services, env)?;
    let mut tasks = JoinSet::new();
    let mut readiness = Vec::new();
    for (service, (prepared, settings)) in services.into_iter().zip(prepared) {
        let cx = context(&service, settings, env, stop)
            .await
            .with_context(|| format!("service {}", service.name()))?;
        readiness.push((service.name(), cx.readiness.clone()));
        tasks.spawn(async move {
            let others = cx.tasks.clone();
            // What runs beside a service ends with it, also where that is cut off.
            let end = cx.shutdown.clone().drop_guard();
            let result = prepared.run(cx).await;
            drop(end);
            others.close();
            others.wait().await;
            (service.name(), result)
        });
    }
    if let Some(address) = health {
        let shutdown = stop.token.clone();
        tasks.spawn(async move { ("health", health::serve(address, readiness, shutdown).await) });
    }
    Ok(Running { tasks, limit })
}

fn health_address(env: &Env) -> anyhow::Result<Option<SocketAddr>> {
    let Some(address) = env.get("MUSTER_HEALTH_ADDR") else { return Ok(None) };
    let address = address.parse().with_context(|| {
        format!("MUSTER_HEALTH_ADDR is {address:?}, but must be an address like 0.0.0.0:8081")
    })?;
    Ok(Some(address))
}

async fn context(
    service: &Service,
    settings: Settings,
    env: &Env,
    stop: &Stop,
) -> anyhow::Result<Context> {
    let bus = Bus::open(settings).await?;
    let readiness = Readiness::default();
    let probe = bus.clone();
    readiness.add("bus", move || {
        let bus = probe.clone();
        async move {
            bus.ping().await.map_err(|fault| fault.message)?;
            if bus.is_ready() { Ok(()) } else { Err("streams are not there yet".to_owned()) }
        }
    });
    Ok(Context {
        service: service.name(),
        env: env.clone(),
        bus,
        shutdown: stop.token.child_token(),
        readiness,
        tasks: TaskTracker::new(),
    })
}

impl Running {
    /// Waits for the end of all services; one that fails ends the others.
    pub(crate) async fn wait(mut self, stop: &Stop) -> ExitCode {
        let mut code = ExitCode::SUCCESS;
        let mut deadline = None;
        loop {
            let next = async {
                match deadline {
                    None => tokio::select! {
                        ended = self.tasks.join_next() => Some(ended),
                        () = stop.token.cancelled() => None,
                    },
                    Some(deadline) => {
                        match tokio::time::timeout_at(deadline, self.tasks.join_next()).await {
                            Ok(ended) => Some(ended),
                            Err(_elapsed) => Some(None),
                        }
                    }
                }
            };
            match next.await {
                None => {
                    info!("stopping");
                    deadline = Some(tokio::time::Instant::now() + self.limit);
                }
                Some(None) => break,
                Some(Some(Ok((name, Ok(()))))) => info!(service = name, "stopped"),
                Some(Some(Ok((name, Err(error))))) => {
                    error!(service = name, error = format!("{error:#}"), "service failed");
                    code = ExitCode::FAILURE;
                    stop.now();
                }
                Some(Some(Err(error))) => {
                    error!(%error, "service panicked");
                    code = ExitCode::FAILURE;
                    stop.now();
                }
            }
        }
        if !self.tasks.is_empty() {
            warn!(
                limit_s = self.limit.as_secs(),
                "not everything ended in time, what still runs is cut off and will be delivered again"
            );
        }
        code
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_bad_setting_is_told_before_anything_is_opened() {
        let read = |env: &Env| env.parse::<u32>("MUSTER_X", 1);
        let service = Service::with_settings("x", read, |_cx, _settings| async { Ok(()) });
        let other = Service::with_settings(
            "y",
            |env: &Env| env.require("MUSTER_Y", "a word").map(str::to_owned),
            |_cx, _settings| async { Ok(()) },
        );
        let env = Env::from_iter([("MUSTER_X", "many"), ("NATS_PING_INTERVAL", "soon")]);
        let error = start_all(vec![service, other], &env, &Stop::default()).await.err();
        assert_eq!(
            error.map(|error| error.to_string()).unwrap_or_default(),
            "MUSTER_X is \"many\", which cannot be used: invalid digit found in string; \
             MUSTER_Y is not set: a word; \
             NATS_PING_INTERVAL is \"soon\", but must be seconds from 0.1 to 3600"
        );
    }
}
