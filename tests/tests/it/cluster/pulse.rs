//! How often something worked, and for how long it did not.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use muster_contracts::{Code, Fault};

/// One kind of work under load.
pub(crate) struct Pulse {
    name: &'static str,
    beats: Mutex<Beats>,
}

/// What happened since the last [`Pulse::reset`].
#[derive(Clone)]
pub(crate) struct Beats {
    pub(crate) worked: u64,
    /// Clear faults, by code: the caller knows that it has to try again.
    pub(crate) faults: BTreeMap<&'static str, u64>,
    last: Instant,
    longest: Duration,
}

impl Pulse {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, beats: Mutex::new(Beats::new()) }
    }

    pub(crate) fn reset(&self) {
        *self.beats.lock().unwrap() = Beats::new();
    }

    pub(crate) fn beat(&self) {
        let mut beats = self.beats.lock().unwrap();
        beats.worked += 1;
        beats.longest = beats.longest();
        beats.last = Instant::now();
    }

    /// Notes a fault that a caller may get while servers are away. Any other is a bug.
    pub(crate) fn fault(&self, fault: &Fault) {
        assert!(
            matches!(fault.code, Code::Unavailable | Code::Deadline),
            "{} failed with {}: {fault}",
            self.name,
            fault.code
        );
        *self.beats.lock().unwrap().faults.entry(fault.code.name()).or_default() += 1;
    }

    pub(crate) fn read(&self) -> Beats {
        self.beats.lock().unwrap().clone()
    }
}

impl Beats {
    fn new() -> Self {
        Self { worked: 0, faults: BTreeMap::new(), last: Instant::now(), longest: Duration::ZERO }
    }

    /// The longest time without a success, the present one included.
    pub(crate) fn longest(&self) -> Duration {
        self.longest.max(self.last.elapsed())
    }

    pub(crate) fn failed(&self) -> u64 {
        self.faults.values().sum()
    }
}
