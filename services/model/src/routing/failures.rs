//! What failed, and what to do next.

use std::time::Duration;

use muster_contracts::HasCode;

use super::{FIRST_WAIT, LONGEST_WAIT, Route};
use crate::error::Error;

/// A try that failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: Error,
    /// Somebody has seen a piece of the reply already: another one must not follow it.
    pub(crate) streamed: bool,
}

impl Failure {
    /// Whether the failure passes, or is this provider's alone.
    pub(super) fn may_be_tried_elsewhere(&self) -> bool {
        let provider = matches!(self.error, Error::Denied { .. } | Error::NoKey { .. });
        !self.streamed && (provider || self.passes())
    }

    const fn passes(&self) -> bool {
        matches!(self.error, Error::Exhausted { .. } | Error::Unavailable { .. })
    }

    /// How long to wait before the same target is tried again; none where that is of no use.
    pub(super) fn wait(&self, tries: u32) -> Option<Duration> {
        let told = self.told();
        let backoff = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(tries));
        let wait = told.unwrap_or_else(|| backoff.mul_f64(1.0 + rand::random::<f64>() / 2.0));
        (self.passes() && wait <= LONGEST_WAIT).then_some(wait)
    }

    /// How long the provider wants to be left alone.
    pub(super) fn told(&self) -> Option<Duration> {
        match &self.error {
            Error::Exhausted { retry_after_ms, .. } => Some(*retry_after_ms),
            Error::Unavailable { retry_after_ms, .. } => *retry_after_ms,
            _ => None,
        }
        .map(Duration::from_millis)
    }
}

/// The targets of one request that failed.
#[derive(Default)]
pub(super) struct Failures(Vec<(String, Error)>);

impl Failures {
    pub(super) fn add(&mut self, route: &Route, error: Error) {
        self.0.push((route.to_string(), error));
    }

    /// All of them in one line.
    pub(super) fn told(&self) -> String {
        let all: Vec<String> =
            self.0.iter().map(|(route, error)| format!("{route}: {error}")).collect();
        if all.is_empty() { "the first target is silent".to_owned() } else { all.join("; ") }
    }

    /// The error of a request that nobody answers: of its kind is the first failure that passes, so that who asked asks again.
    pub(super) fn error(mut self) -> Error {
        if self.0.len() < 2 {
            let last = self.0.pop().map(|(_, error)| error);
            return last.unwrap_or_else(|| Error::invalid("the model has no targets"));
        }
        let message = self.told();
        let waits = self.0.iter().filter_map(|(_, error)| error.retry_after_ms());
        let retry_after_ms = waits.min();
        let passing = |(_, error): &&(String, Error)| {
            matches!(error, Error::Exhausted { .. } | Error::Unavailable { .. })
        };
        let first = self.0.first();
        let code = self.0.iter().find(passing).or(first).map(|(_, error)| error.code());
        Error::NoTarget {
            message,
            code: code.unwrap_or(muster_contracts::Code::Unavailable),
            retry_after_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use muster_contracts::Code;

    use super::*;

    fn failure(error: Error) -> Failure {
        Failure { error, streamed: false }
    }

    fn exhausted(retry_after_ms: u64) -> Error {
        Error::Exhausted { provider: "p".into(), message: "m".into(), retry_after_ms }
    }

    fn denied() -> Error {
        Error::Denied { provider: "p".into(), status: 401, setting: "KEY".into() }
    }

    #[test]
    fn what_passes_is_tried_again_and_what_is_wrong_is_not() {
        let soon = failure(exhausted(20));
        assert_eq!(soon.wait(0), Some(Duration::from_millis(20)));
        let late = failure(exhausted(60_000));
        assert_eq!((late.wait(0), late.may_be_tried_elsewhere()), (None, true));
        let bad_key = failure(denied());
        assert_eq!((bad_key.wait(0), bad_key.may_be_tried_elsewhere()), (None, true));
        assert!(!failure(Error::invalid("x")).may_be_tried_elsewhere());
        assert!(!Failure { streamed: true, ..soon }.may_be_tried_elsewhere());
    }

    #[test]
    fn the_kind_of_many_failures_is_that_of_the_first_that_passes() {
        let route = |provider: &str| Route {
            provider: provider.into(),
            model: "m".into(),
            cooldown: Duration::ZERO,
        };
        let mut failures = Failures::default();
        failures.add(&route("a"), denied());
        failures.add(&route("b"), exhausted(7_000));
        let error = failures.error();
        assert_eq!((error.code(), error.retry_after_ms()), (Code::Exhausted, Some(7_000)));
        let text = error.to_string();
        assert!(text.contains("a/m: p refuses the key") && text.contains("b/m: p is at"), "{text}");
    }
}
