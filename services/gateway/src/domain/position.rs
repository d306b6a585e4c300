//! Where a client is in the live stream of an execution.

use std::{fmt, str::FromStr};

/// A place between two events of a live stream, made of the streams' own sequences: any gateway can go on from it.
///
/// Written `{journal}.{index}-{token}`, it is the event id that a client sends back as `Last-Event-ID`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// Sequence of the last journal message that was told, wholly or in part; 0 is none.
    pub(crate) journal: u64,
    /// Index of the last fact of that message that was told.
    pub(crate) index: usize,
    /// Sequence of the last token that was told; 0 is none.
    pub(crate) token: u64,
}

/// A text that is no position.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the last event id is {0:?}, but an event id of this stream looks like `12.0-34`")]
pub(crate) struct PositionError(String);

impl Position {
    /// Whether fact `index` of journal message `sequence` was told already.
    pub(crate) fn covers(&self, sequence: u64, index: usize) -> bool {
        sequence < self.journal || (sequence == self.journal && index <= self.index)
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}-{}", self.journal, self.index, self.token)
    }
}

impl FromStr for Position {
    type Err = PositionError;

    fn from_str(text: &str) -> Result<Self, PositionError> {
        let parse = || {
            let (journal, token) = text.split_once('-')?;
            let (journal, index) = journal.split_once('.')?;
            Some(Self { journal: number(journal)?, index: number(index)?, token: number(token)? })
        };
        parse().ok_or_else(|| PositionError(text.chars().take(64).collect()))
    }
}

/// Digits only: `parse` alone would take a plus sign.
fn number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_survives_its_text() {
        let position = Position { journal: 42, index: 3, token: 7 };
        assert_eq!(position.to_string(), "42.3-7");
        assert_eq!("42.3-7".parse(), Ok(position));
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "1",
            "1-2",
            "1.2",
            "1.2-",
            "+1.2-3",
            "1.2-3-4",
            "a.b-c",
            "99999999999999999999.0-0",
            "-1.0-0",
        ] {
            assert!(text.parse::<Position>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_was_told_is_covered() {
        let position = Position { journal: 5, index: 1, token: 0 };
        assert!(position.covers(4, 9));
        assert!(position.covers(5, 1));
        assert!(!position.covers(5, 2));
        assert!(!position.covers(6, 0));
        assert!(!Position::default().covers(1, 0));
    }
}
