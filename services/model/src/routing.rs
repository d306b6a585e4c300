//! Which provider answers a request: names for models, fallbacks, retries, cooldowns and the total time.

mod definitions;
mod failures;
mod health;
mod plan;

use std::future::Future;
use std::time::Duration;

use muster_bus::Bus;
use tokio::time::{sleep, timeout};
use tracing::warn;

pub(crate) use self::definitions::Definitions;
pub(crate) use self::failures::Failure;
use self::failures::Failures;
use self::health::Health;
use self::plan::resolve;
pub(crate) use self::plan::{DEFAULT, Plan, Route};
use crate::config::Config;
use crate::error::Error;
use crate::providers::{Configured, Providers};

/// The longest wait between two tries of a target; where a provider wants a longer one, the next target is asked.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Finds providers for requests. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Routing {
    pub(crate) providers: Providers,
    pub(crate) definitions: Definitions,
    health: Health,
    timeout: Duration,
}

impl Routing {
    pub(crate) fn new(bus: &Bus, config: &Config, providers: Providers) -> anyhow::Result<Self> {
        Ok(Self {
            definitions: Definitions::new(bus, &config.aliases, &providers.names())?,
            providers,
            health: Health::default(),
            timeout: config.timeout,
        })
    }

    /// Whom a request with this key asks, in which order.
    pub(crate) async fn plan(&self, provider: &str, model: &str, key: &str) -> Result<Plan, Error> {
        let known = self.definitions.known().await?;
        resolve(&self.providers, &known, (provider, model, key))
    }

    /// The provider of a route.
    pub(crate) fn provider(&self, route: &Route) -> Result<&Configured, Error> {
        self.providers.find(&route.provider).ok_or_else(|| Error::UnknownProvider {
            name: route.provider.clone(),
            known: format!("configured are {}", self.providers.names().join(", ")),
        })
    }

    /// Asks the targets of the plan in their order until one answers.
    ///
    /// A further try begins only where the failure is passing or the provider is out, and nothing was streamed to anybody.
    pub(crate) async fn ask<'a, T, F>(
        &self,
        plan: &'a Plan,
        attempt: impl Fn(&'a Route) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let within = plan.timeout.unwrap_or(self.timeout);
        let mut failures = Failures::default();
        match timeout(within, self.ask_each(plan, attempt, &mut failures)).await {
            Ok(answer) => answer,
            Err(_elapsed) => {
                Err(Error::Deadline { seconds: within.as_secs(), last: failures.told() })
            }
        }
    }

    async fn ask_each<'a, T, F>(
        &self,
        plan: &'a Plan,
        attempt: impl Fn(&'a Route) -> F,
        failures: &mut Failures,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        for route in self.health.order(&plan.routes) {
            let mut tries = 0;
            loop {
                let failure = match attempt(route).await {
                    Ok(answer) => {
                        self.health.answers(route);
                        return Ok(answer);
                    }
                    Err(failure) => failure,
                };
                if !failure.may_be_tried_elsewhere() {
                    return Err(failure.error);
                }
                if let Some(wait) = failure.wait(tries)
                    && tries < plan.retries
                {
                    tries += 1;
                    warn!(provider = route.provider, model = route.model, tries, wait_ms = wait.as_millis() as u64, error = %failure.error, "model fails, will try again");
                    sleep(wait).await;
                    continue;
                }
                self.health.fails(route, &failure);
                failures.add(route, failure.error);
                break;
            }
        }
        Err(std::mem::take(failures).error())
    }
}
