//! Targets that failed a moment ago are asked last. Each process knows of its own calls only: that is enough to spare a provider that is down, and needs no message.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::{Failure, Route};

/// Targets that are remembered; there are as many as stand in definitions.
const MOST: usize = 10_000;

/// When targets may be asked first again. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Health(Arc<Mutex<HashMap<String, Instant>>>);

impl Health {
    /// The routes, those that rest behind the others.
    pub(super) fn order<'a>(&self, routes: &'a [Route]) -> Vec<&'a Route> {
        let mut ordered: Vec<&Route> = routes.iter().collect();
        if routes.len() > 1 {
            let (now, resting) = (Instant::now(), self.lock());
            let rests =
                |route: &Route| resting.get(&route.to_string()).is_some_and(|until| *until > now);
            ordered.sort_by_key(|route| rests(route));
        }
        ordered
    }

    /// The target answers.
    pub(super) fn answers(&self, route: &Route) {
        let mut resting = self.lock();
        if !resting.is_empty() {
            resting.remove(&route.to_string());
        }
    }

    /// The target rests for as long as its provider says, or its definition.
    pub(super) fn fails(&self, route: &Route, failure: &Failure) {
        let until = Instant::now() + failure.told().unwrap_or(route.cooldown);
        let mut resting = self.lock();
        if resting.len() >= MOST {
            let now = Instant::now();
            resting.retain(|_, until| *until > now);
        }
        resting.insert(route.to_string(), until);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::error::Error;

    #[tokio::test(start_paused = true)]
    async fn a_target_that_failed_is_asked_last_until_it_has_rested_or_answers() {
        let route = |provider: &str| Route {
            provider: provider.into(),
            model: String::new(),
            cooldown: Duration::from_secs(30),
        };
        let routes = [route("a"), route("b")];
        let health = Health::default();
        let first = || health.order(&routes)[0].provider.clone();
        let failure = |retry_after_ms: Option<u64>| Failure {
            error: Error::Unavailable {
                provider: "a".into(),
                message: "down".into(),
                retry_after_ms,
            },
            streamed: false,
        };
        assert_eq!(first(), "a");
        health.fails(&routes[0], &failure(None));
        assert_eq!(first(), "b");
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(first(), "a");
        health.fails(&routes[0], &failure(Some(60_000)));
        tokio::time::advance(Duration::from_secs(31)).await;
        assert_eq!(first(), "b");
        health.answers(&routes[0]);
        assert_eq!(first(), "a");
    }
}
