//! Room for work that takes long: other tasks of its thread go on meanwhile.

use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::available_parallelism;

use muster_workflow::Slow;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs slow transitions, on half of the processor's cores at most: however many executions are slow, the others keep the rest.
pub(super) struct Aside;

/// How many slow transitions run now.
static BUSY: Mutex<usize> = Mutex::new(0);
static FREE: Condvar = Condvar::new();

impl Slow for Aside {
    fn run(&self, work: &mut dyn FnMut()) {
        aside(|| {
            let _turn = Turn::take();
            work();
        });
    }
}

/// Runs work of some milliseconds so that other tasks of this thread go on meanwhile.
pub(super) fn aside<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}

/// The right to be slow. Given back when dropped.
struct Turn;

impl Turn {
    fn take() -> Self {
        let most = available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        let busy = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = FREE.wait_while(busy, |busy| *busy >= most);
        *waited.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *BUSY.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        FREE.notify_one();
    }
}
