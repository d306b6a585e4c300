//! What a process knows: what it handles now, and every id that the consumer has handled within a day.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::warn;

use super::Key;

/// How long a handled id is known, in seconds.
const KNOWN_FOR_S: u64 = 24 * 3600;
/// Ids of so many seconds are forgotten together.
const SPAN_S: u64 = 2 * 3600;
/// The most ids that are known: 194 a second over a whole day, some 500 MB.
const MOST: usize = 1 << 24;

/// What a process knows of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Done,
    Unknown,
}

/// The ids that this process handles and those that it knows to be handled.
#[derive(Default)]
pub(super) struct Known {
    ids: Mutex<Ids>,
}

type Keys = HashSet<Key, BuildHasherDefault<Prefix>>;

#[derive(Default)]
struct Ids {
    running: Keys,
    /// By the time of which they are, in units of [`SPAN_S`].
    done: BTreeMap<u64, Keys>,
}

impl Known {
    /// Marks an unknown id as running, and tells what it was.
    pub(super) fn begin(&self, key: Key) -> State {
        let mut ids = self.ids();
        ids.forget(now());
        let state = ids.state(key);
        if state == State::Unknown {
            ids.running.insert(key);
        }
        state
    }

    /// A running id is no longer running.
    pub(super) fn end(&self, key: Key) {
        self.ids().running.remove(&key);
    }

    pub(super) fn is_running(&self, key: Key) -> bool {
        self.ids().running.contains(&key)
    }

    pub(super) fn running(&self) -> Vec<Key> {
        self.ids().running.iter().copied().collect()
    }

    pub(super) fn is_done(&self, key: Key) -> bool {
        self.ids().is_done(key)
    }

    /// These were handled at this time; seconds since 1970.
    pub(super) fn done(&self, keys: impl IntoIterator<Item = Key>, at: u64) {
        self.ids().done(keys, at, now(), MOST);
    }

    pub(super) fn state(&self, key: Key) -> State {
        self.ids().state(key)
    }

    fn ids(&self) -> MutexGuard<'_, Ids> {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ids {
    fn state(&self, key: Key) -> State {
        if self.is_done(key) {
            State::Done
        } else if self.running.contains(&key) {
            State::Running
        } else {
            State::Unknown
        }
    }

    fn is_done(&self, key: Key) -> bool {
        // The newest first: a message that comes again mostly comes soon.
        self.done.values().rev().any(|keys| keys.contains(&key))
    }

    fn done(&mut self, keys: impl IntoIterator<Item = Key>, at: u64, now: u64, most: usize) {
        self.done.entry(at / SPAN_S).or_default().extend(keys);
        self.forget(now);
        while self.done.len() > 1
            && self.done.values().map(HashSet::len).sum::<usize>() > most
            && let Some((oldest, keys)) = self.done.pop_first()
        {
            let age_s = now.saturating_sub(oldest * SPAN_S);
            warn!(
                forgotten = keys.len(),
                age_s,
                most,
                "more ids were handled in a day than are kept, the oldest are forgotten"
            );
        }
    }

    /// What is older than a day.
    fn forget(&mut self, now: u64) {
        while let Some(oldest) = self.done.first_entry()
            && (*oldest.key() + 1) * SPAN_S + KNOWN_FOR_S <= now
        {
            oldest.remove();
        }
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// A key is a hash already: its first bytes are as good as any other.
#[derive(Default)]
struct Prefix(u64);

impl Hasher for Prefix {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_runs_once_until_it_ends_and_never_again_once_it_is_done() {
        let (known, key) = (Known::default(), Key::of("a"));
        assert_eq!(known.begin(key), State::Unknown);
        assert_eq!(known.begin(key), State::Running);
        known.end(key);
        assert_eq!(known.begin(key), State::Unknown);
        known.done([key], now());
        known.end(key);
        assert_eq!(known.begin(key), State::Done);
    }

    #[test]
    fn an_id_is_known_for_a_day() {
        let mut ids = Ids::default();
        let (old, new) = (Key::of("old"), Key::of("new"));
        let at = 1_000 * SPAN_S + 7;
        ids.done([old], at, at, MOST);
        ids.done([new], at + KNOWN_FOR_S, at + KNOWN_FOR_S, MOST);
        assert!(ids.is_done(old) && ids.is_done(new));
        ids.forget(at + KNOWN_FOR_S + SPAN_S);
        assert!(!ids.is_done(old) && ids.is_done(new));
    }

    #[test]
    fn where_too_many_are_known_the_oldest_are_forgotten() {
        let mut ids = Ids::default();
        let keys = |from: u32, to: u32| (from..to).map(|n| Key::of(&n.to_string()));
        for hours in 0..5 {
            let at = u64::from(hours) * SPAN_S;
            ids.done(keys(hours * 10, hours * 10 + 10), at, at, 25);
        }
        assert!(keys(0, 30).all(|key| !ids.is_done(key)), "30 of 50 are too many");
        assert!(keys(30, 50).all(|key| ids.is_done(key)));
    }
}
