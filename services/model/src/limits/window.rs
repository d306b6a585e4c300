//! How much was used within the last minute, from two counters.

use serde::{Deserialize, Serialize};

/// The length of a window, in milliseconds.
pub(super) const MINUTE: i64 = 60_000;

/// A window that slides over the time: what the last whole minute had counts by the part of it that is still within the last 60 s.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Window {
    /// When the present minute began, in milliseconds since 1970.
    start_ms: i64,
    now: u64,
    before: u64,
}

impl Window {
    /// Moves on to this time.
    pub(super) fn advance(&mut self, now_ms: i64) {
        let passed = now_ms.saturating_sub(self.start_ms);
        if self.now == 0 && self.before == 0 || passed >= 2 * MINUTE {
            *self = Self { start_ms: now_ms, ..Self::default() };
        } else if passed >= MINUTE {
            *self = Self { start_ms: self.start_ms + MINUTE, now: 0, before: self.now };
        }
    }

    /// What counts at this time.
    pub(super) fn used(&self, now_ms: i64) -> u64 {
        let left = (MINUTE - (now_ms - self.start_ms)).clamp(0, MINUTE);
        self.now.saturating_add(part(self.before, left))
    }

    pub(super) fn add(&mut self, count: u64) {
        self.now = self.now.saturating_add(count);
    }

    /// Takes back what was counted too much.
    pub(super) fn take_back(&mut self, count: u64) {
        self.now = self.now.saturating_sub(count);
    }

    /// When `count` more would fit `limit`, in milliseconds from now.
    pub(super) fn wait_ms(&self, now_ms: i64, count: u64, limit: u64) -> u64 {
        let free = limit.saturating_sub(count);
        let to_end = (self.start_ms + MINUTE - now_ms).clamp(0, MINUTE);
        // What has to be forgotten is either of the minute before, or, once this one has passed, of this one.
        let wait = if self.now <= free {
            to_end - until(self.before, free - self.now)
        } else {
            to_end + MINUTE - until(self.now, free)
        };
        wait.max(1).unsigned_abs()
    }
}

fn part(count: u64, left_ms: i64) -> u64 {
    let scaled = u128::from(count) * u128::from(left_ms.unsigned_abs());
    // Rounded up: what is half forgotten still counts.
    u64::try_from(scaled.div_ceil(MINUTE as u128)).unwrap_or(u64::MAX)
}

/// How much of its minute may be left so that no more than `free` of `count` still counts.
fn until(count: u64, free: u64) -> i64 {
    if count <= free {
        return MINUTE;
    }
    let left = u128::from(free) * (MINUTE as u128) / u128::from(count);
    i64::try_from(left).unwrap_or(MINUTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_forgotten_bit_by_bit() {
        let mut window = Window::default();
        window.advance(1_000);
        window.add(60);
        assert_eq!(window.used(1_000), 60);
        assert_eq!(window.used(60_999), 60);
        window.advance(61_000);
        assert_eq!((window.used(61_000), window.used(91_000), window.used(121_000)), (60, 30, 0));
        window.add(5);
        assert_eq!(window.used(91_000), 35);
        window.take_back(9);
        window.advance(121_000);
        assert_eq!(window.used(121_000), 0);
        window.add(7);
        window.advance(400_000);
        assert_eq!(window.used(400_000), 0);
    }

    #[test]
    fn whoever_waits_as_long_as_told_gets_in_and_nobody_sooner() {
        for (before, now, limit, count) in
            [(60, 25, 60, 1), (10, 60, 60, 1), (0, 60, 60, 60), (50, 40, 60, 5), (12, 3, 10, 10)]
        {
            let window = Window { start_ms: 0, now, before };
            let at = 20_000;
            let wait = i64::try_from(window.wait_ms(at, count, limit)).unwrap();
            let fits = |at: i64| {
                let mut later = window.clone();
                later.advance(at);
                later.used(at) + count <= limit
            };
            assert!(fits(at + wait), "{before} {now} {limit} {count}: {wait}");
            assert!(!fits(at + wait - 20), "{before} {now} {limit} {count}: {wait}");
        }
    }
}
