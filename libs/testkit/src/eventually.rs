//! Waiting for a condition instead of sleeping.

use std::fmt::Debug;
use std::panic::Location;
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);

/// What a condition may answer: `bool`, `Option<T>` or `Result<T, E>`.
pub trait Outcome {
    /// What the caller gets once the condition holds.
    type Value;

    /// The value, or what was seen instead.
    ///
    /// # Errors
    /// The condition does not hold yet; the text goes into the message of a test that waited in vain.
    fn outcome(self) -> Result<Self::Value, String>;
}

impl Outcome for bool {
    type Value = ();

    fn outcome(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".to_owned()) }
    }
}

impl<T> Outcome for Option<T> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.ok_or_else(|| "None".to_owned())
    }
}

impl<T, E: Debug> Outcome for Result<T, E> {
    type Value = T;

    fn outcome(self) -> Result<T, String> {
        self.map_err(|error| format!("{error:?}"))
    }
}

/// Asks again and again (every 10 ms) until the condition holds, and returns its value.
///
/// # Panics
/// When the deadline passes first. The message names `what`, the caller's line and what was seen last. A single
/// check that hangs is cut off at the deadline too.
#[track_caller]
pub fn eventually<R, F>(
    deadline: Duration,
    what: &str,
    mut check: impl FnMut() -> F,
) -> impl Future<Output = R::Value>
where
    R: Outcome,
    F: Future<Output = R>,
{
    let caller = Location::caller();
    async move {
        let end = Instant::now() + deadline;
        let mut seen = "no answer of the check".to_owned();
        while let Ok(outcome) =
            tokio::time::timeout(end.saturating_duration_since(Instant::now()), check()).await
        {
            match outcome.outcome() {
                Ok(value) => return value,
                Err(other) => seen = other,
            }
            // A check that is ready at once wins over a timeout of zero: the deadline needs a look of its own.
            if Instant::now() >= end {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("waited {deadline:?} in vain for: {what} (at {caller}); last seen: {seen}")
    }
}
