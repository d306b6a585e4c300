//! Panics: each becomes a fault, is in the log with its trace, and is counted.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ::metrics::counter;
use futures::FutureExt;
use muster_contracts::{Code, Fault};
use tracing::error;

use crate::trace::Trace;

/// The work's result; where it panics, INTERNAL, with the panic's words and trace in the log, and counted (`muster_bus_panics_total`). Handlers of routes have it around them: it is for other doors of a
/// service.
///
/// # Errors
/// Those of the work, and INTERNAL where it panics.
pub async fn caught<T>(
    service: &str,
    handler: &str,
    work: impl Future<Output = Result<T, Fault>>,
) -> Result<T, Fault> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(result) => result,
        Err(panic) => Err(told(service, handler, panic.as_ref())),
    }
}

/// As [`caught`], for what does not wait.
pub(crate) fn caught_now<T>(
    service: &str,
    handler: &str,
    work: impl FnOnce() -> T,
) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| told(service, handler, panic.as_ref()))
}

/// What stands outside; the panic's own words are in the log.
fn told(service: &str, handler: &str, panic: &(dyn Any + Send)) -> Fault {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let labels = [("service", service.to_owned()), ("handler", handler.to_owned())];
    counter!("muster_bus_panics_total", &labels).increment(1);
    error!(
        handler,
        trace_id = Trace::current_id(),
        panic = text.unwrap_or("of another type than text"),
        "handler panicked"
    );
    Fault::new(Code::Internal, "internal error")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_fault_and_says_nothing_of_itself() {
        let internal = Fault::new(Code::Internal, "internal error");
        let ended = caught("s", "h", async { Ok(1) }).await;
        assert_eq!(ended, Ok(1));
        let panicked = caught("s", "h", async { panic!("a secret") });
        assert_eq!(panicked.await, Err::<(), _>(internal.clone()));
        assert_eq!(caught_now("s", "h", || panic!("a secret")), Err::<(), _>(internal));
    }
}
