//! How many calls may begin within a time: a bucket of calls that fills evenly.

/// Microseconds of a second.
const SECOND_US: i64 = 1_000_000;

/// So many calls at once from a full bucket, which fills in so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// At least 1.
    pub(crate) calls: u32,
    /// At least 1.
    pub(crate) per_seconds: u32,
}

/// Whether a call may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Now; the bucket is full again at this time, if no other call comes.
    Now { full_at_us: i64 },
    /// Not before so many milliseconds have passed.
    After { wait_ms: u64 },
}

impl Rate {
    /// Decides about a call, with what the call before left. Times are microseconds of one clock; 0 for `full_at_us` is a full bucket.
    pub(crate) fn admit(self, full_at_us: i64, now_us: i64) -> Admission {
        let whole = i64::from(self.per_seconds).saturating_mul(SECOND_US);
        let one = (whole / i64::from(self.calls.max(1))).max(1);
        // Where clocks differ or the rate was another one, nobody waits for more than one filling.
        let before = full_at_us.clamp(now_us, now_us.saturating_add(whole));
        let full_at_us = before.saturating_add(one);
        let missing = full_at_us.saturating_sub(now_us).saturating_sub(whole);
        if missing > 0 {
            let wait_ms = u64::try_from(missing).unwrap_or_default().div_ceil(1_000);
            return Admission::After { wait_ms };
        }
        Admission::Now { full_at_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_its_calls_at_once_and_then_one_for_each_part_of_its_time() {
        let rate = Rate { calls: 3, per_seconds: 6 };
        let (mut full_at, mut now) = (0, 50 * SECOND_US);
        for _ in 0..3 {
            let Admission::Now { full_at_us } = rate.admit(full_at, now) else { panic!() };
            full_at = full_at_us;
        }
        assert_eq!(rate.admit(full_at, now), Admission::After { wait_ms: 2_000 });
        now += 500_000;
        assert_eq!(rate.admit(full_at, now), Admission::After { wait_ms: 1_500 });
        now += 1_500_000;
        let Admission::Now { full_at_us } = rate.admit(full_at, now) else { panic!() };
        assert_eq!(rate.admit(full_at_us, now), Admission::After { wait_ms: 2_000 });
    }

    #[test]
    fn a_clock_far_ahead_stops_nobody_for_longer_than_one_filling() {
        let rate = Rate { calls: 1, per_seconds: 10 };
        assert_eq!(
            rate.admit(1_000_000 * SECOND_US, SECOND_US),
            Admission::After { wait_ms: 10_000 }
        );
        let many = Rate { calls: 1_000_000, per_seconds: 1 };
        assert_eq!(many.admit(0, 5), Admission::Now { full_at_us: 6 });
    }
}
