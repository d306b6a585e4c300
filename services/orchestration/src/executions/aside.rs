//! Room for work that takes long: other tasks of its thread go on meanwhile.

use std::cell::OnceCell;
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread::available_parallelism;

use muster_workflow::Slow;
use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs slow transitions, on half of the processor's cores at most: however many executions are slow, the others keep the rest. One for each transition.
///
/// Few of them wait for their turn. The others are refused, so that their messages come again later and the slots of
/// the consumers are free for executions that are not slow.
#[derive(Default)]
pub(super) struct Aside {
    /// Kept to the end of the transition: one that has begun to be slow is not refused in its middle.
    turn: OnceCell<Option<Turn>>,
}

/// How many slow transitions may wait for their turn.
const MOST_WAITING: usize = 4;

/// The slow transitions of this process.
struct Queue {
    running: usize,
    waiting: usize,
}

static QUEUE: Mutex<Queue> = Mutex::new(Queue { running: 0, waiting: 0 });
static FREE: Condvar = Condvar::new();

impl Aside {
    /// Whether there was no room for the transition. What it has come to is worth nothing then.
    pub(super) fn is_refused(&self) -> bool {
        matches!(self.turn.get(), Some(None))
    }
}

impl Slow for Aside {
    fn run(&self, work: &mut dyn FnMut()) {
        aside(|| {
            if self.turn.get_or_init(Turn::take).is_some() {
                work();
            }
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
    /// None where too many wait already.
    fn take() -> Option<Self> {
        let most = available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.running >= most {
            if queue.waiting >= MOST_WAITING {
                return None;
            }
            queue.waiting += 1;
            let freed = FREE.wait_while(queue, |queue| queue.running >= most);
            queue = freed.unwrap_or_else(PoisonError::into_inner);
            queue.waiting -= 1;
        }
        queue.running += 1;
        Some(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        QUEUE.lock().unwrap_or_else(PoisonError::into_inner).running -= 1;
        FREE.notify_one();
    }
}
