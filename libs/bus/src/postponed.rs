//! How often messages were put off: deliveries that do not count as tries.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::origin::Place;

/// Messages that are remembered at most. One that is forgotten has its deliveries counted as tries.
const REMEMBERED: usize = 16_384;

/// The messages of one consumer that this process has put off.
#[derive(Default)]
pub(crate) struct Postponed {
    times: Mutex<HashMap<Place, u32>>,
}

impl Postponed {
    /// Notes that a message was put off.
    pub(crate) fn note(&self, place: Place) {
        let mut times = self.times();
        if times.len() >= REMEMBERED {
            times.clear();
        }
        *times.entry(place).or_default() += 1;
    }

    /// How often a message was put off.
    pub(crate) fn times_of(&self, place: Place) -> u32 {
        self.times().get(&place).copied().unwrap_or(0)
    }

    /// The message will not come again.
    pub(crate) fn forget(&self, place: Place) {
        self.times().remove(&place);
    }

    fn times(&self) -> MutexGuard<'_, HashMap<Place, u32>> {
        self.times.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_off_is_known_until_it_is_over() {
        let postponed = Postponed::default();
        postponed.note((7, 1));
        postponed.note((7, 1));
        assert_eq!((postponed.times_of((7, 1)), postponed.times_of((8, 2))), (2, 0));
        postponed.forget((7, 1));
        assert_eq!(postponed.times_of((7, 1)), 0);
    }

    #[test]
    fn no_more_is_remembered_than_there_is_room_for() {
        let postponed = Postponed::default();
        (0..=REMEMBERED as u64).for_each(|sequence| postponed.note((sequence, 0)));
        assert_eq!(postponed.times().len(), 1);
    }
}
