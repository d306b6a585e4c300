//! Merges two streams by time without holding back what is live.
//!
//! While either stream still has old messages to come, both must show their next one before the earlier is told, so
//! that a late client reads the story in its order. From then on each message is told as it comes.

use std::time::Duration;

use muster_bus::Recorded;

/// How long an announced message may take; it may have been removed by the stream's limits meanwhile.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What to do next.
#[derive(Debug)]
pub(super) enum Next {
    Journal(Recorded),
    Token(Recorded),
    /// Nothing can be told yet. While `settling`, not longer than [`PATIENCE`].
    Wait {
        settling: bool,
    },
}

/// The merge of a journal and its tokens.
#[derive(Debug)]
pub(super) struct Merge {
    journal: Side,
    tokens: Side,
    /// The journal's message that waits is its last: every token comes before it.
    last: bool,
}

#[derive(Debug)]
struct Side {
    waiting: Option<Recorded>,
    /// Messages up to this sequence were there when the stream was opened.
    old_until: u64,
    seen: u64,
}

impl Side {
    fn is_current(&self) -> bool {
        self.seen >= self.old_until
    }

    fn put(&mut self, recorded: Recorded) {
        self.seen = recorded.sequence;
        self.waiting = Some(recorded);
    }
}

impl Merge {
    /// A merge of what lies behind the first sequence of each pair; old messages reach up to the second. 0 is none.
    pub(super) fn new(journal: (u64, u64), tokens: (u64, u64)) -> Self {
        let side = |(seen, old_until)| Side { waiting: None, old_until, seen };
        Self { journal: side(journal), tokens: side(tokens), last: false }
    }

    pub(super) fn wants_journal(&self) -> bool {
        self.journal.waiting.is_none()
    }

    pub(super) fn wants_token(&self) -> bool {
        self.tokens.waiting.is_none()
    }

    pub(super) fn journal(&mut self, recorded: Recorded) {
        self.journal.put(recorded);
    }

    pub(super) fn token(&mut self, recorded: Recorded) {
        self.tokens.put(recorded);
    }

    /// The journal's next message is its last, and tokens up to this sequence belong before it.
    pub(super) fn last_journal(&mut self, tokens_until: u64) {
        self.last = true;
        self.tokens.old_until = tokens_until;
    }

    /// What was announced did not come.
    pub(super) fn give_up(&mut self) {
        self.journal.old_until = 0;
        self.tokens.old_until = 0;
    }

    pub(super) fn next(&mut self) -> Next {
        let token_first = match (&self.journal.waiting, &self.tokens.waiting) {
            (Some(journal), Some(token)) => self.last || token.time < journal.time,
            (Some(_), None) if self.tokens.is_current() => false,
            (None, Some(_)) if self.journal.is_current() => true,
            (None, None) => return Next::Wait { settling: false },
            _ => return Next::Wait { settling: true },
        };
        let taken = if token_first {
            self.tokens.waiting.take().map(Next::Token)
        } else {
            self.journal.waiting.take().map(Next::Journal)
        };
        taken.unwrap_or(Next::Wait { settling: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use chrono::DateTime;

    fn at(sequence: u64, second: i64) -> Recorded {
        Recorded {
            subject: String::new(),
            sequence,
            id: String::new(),
            message_type: String::new(),
            source: String::new(),
            time: DateTime::from_timestamp(second, 0).unwrap(),
            execution_id: String::new(),
            body: Bytes::new(),
            reading: Default::default(),
        }
    }

    /// Feeds both sides whenever they want something, and notes what comes out, as `j1 t1 …`.
    fn check(mut merge: Merge, journal: &[(u64, i64)], tokens: &[(u64, i64)], expected: &str) {
        let (mut journal, mut tokens) = (journal.iter(), tokens.iter());
        let mut order = Vec::new();
        loop {
            match merge.next() {
                Next::Journal(recorded) => order.push(format!("j{}", recorded.sequence)),
                Next::Token(recorded) => order.push(format!("t{}", recorded.sequence)),
                Next::Wait { settling } => {
                    if let Some(&(sequence, second)) =
                        merge.wants_token().then(|| tokens.next()).flatten()
                    {
                        merge.token(at(sequence, second));
                    } else if let Some(&(sequence, second)) =
                        merge.wants_journal().then(|| journal.next()).flatten()
                    {
                        merge.journal(at(sequence, second));
                    } else if settling {
                        merge.give_up();
                    } else {
                        break;
                    }
                }
            }
        }
        assert_eq!(order.join(" "), expected);
    }

    #[test]
    fn old_messages_come_in_the_order_of_their_times() {
        check(
            Merge::new((0, 9), (0, 4)),
            &[(1, 10), (5, 30), (9, 50)],
            &[(1, 20), (3, 21), (4, 40)],
            "j1 t1 t3 j5 t4 j9",
        );
    }

    #[test]
    fn live_messages_are_told_as_they_come() {
        check(Merge::new((0, 0), (0, 0)), &[(1, 10)], &[(1, 20), (3, 21)], "t1 t3 j1");
    }

    #[test]
    fn a_message_that_was_removed_meanwhile_is_not_waited_for() {
        check(Merge::new((0, 9), (0, 4)), &[(1, 10)], &[], "j1");
        check(Merge::new((0, 9), (0, 4)), &[], &[(1, 10)], "t1");
    }

    #[test]
    fn what_was_told_before_is_not_waited_for() {
        let mut merge = Merge::new((4, 9), (3, 3));
        merge.journal(at(9, 10));
        assert!(matches!(merge.next(), Next::Journal(_)));
    }

    #[test]
    fn every_token_comes_before_the_end_whatever_the_clocks_say() {
        let mut merge = Merge::new((0, 0), (0, 0));
        merge.last_journal(2);
        merge.journal(at(7, 10));
        assert!(matches!(merge.next(), Next::Wait { settling: true }));
        merge.token(at(2, 99));
        assert!(matches!(merge.next(), Next::Token(_)));
        assert!(matches!(merge.next(), Next::Journal(_)));
    }
}
