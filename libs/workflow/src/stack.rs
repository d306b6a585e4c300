//! Room for recursion.

use std::thread;

/// Bytes of stack that a deep evaluation may use; the rest is for what runs between two checks.
pub(crate) const USABLE: usize = 24 * 1024 * 1024;
const SIZE: usize = 32 * 1024 * 1024;

/// Runs `work` where there is stack for deep recursion, and waits for it.
///
/// The memory is only reserved: the system provides it as far as it is used. The error says that
/// no thread could be had, or that `work` panicked.
pub(crate) fn with_deep_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("expression".to_owned()).stack_size(SIZE);
        let thread = builder
            .spawn_scoped(scope, work)
            .map_err(|error| format!("no thread for a deep expression: {error}"))?;
        thread.join().map_err(|_panic| "the expression engine failed".to_owned())
    })
}
