//! Marks: short texts that stand for secrets, so that a secret itself is nowhere but where it is used.
//!
//! A mark is made of characters that no text has (Unicode's noncharacters U+FDD0 to U+FDD2). Data
//! from outside that has them is changed by [`unmark`], so that nobody outside can make a mark.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde_json::Value;

const BEGIN: char = '\u{FDD0}';
const END: char = '\u{FDD1}';
const BETWEEN: char = '\u{FDD2}';
/// The first byte of each of them in UTF-8.
const FIRST_BYTE: u8 = 0xEF;
/// What stands for a character of a mark in data from outside.
const REPLACEMENT: &str = "\u{FFFD}";

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece<'t> {
    /// Ordinary text.
    Text(&'t str),
    /// A mark: the secret's name and then the fields that lead into it. Empty for what
    /// [`AUTHORIZATION`] stands for.
    Mark(Vec<&'t str>),
}

/// The mark of the path that is empty: the credentials that a call is made with.
pub const AUTHORIZATION: &str = "\u{FDD0}\u{FDD1}";

/// The mark of a secret, or of a field in it: its name and then the fields that lead there.
pub fn mark(path: &[String]) -> String {
    format!("{BEGIN}{}{END}", path.join(&BETWEEN.to_string()))
}

/// The parts of a text in their order. What is left of a broken mark is text.
pub fn pieces(text: &str) -> Vec<Piece<'_>> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    while let Some((before, mark, after)) = first(rest) {
        if !before.is_empty() {
            pieces.push(Piece::Text(before));
        }
        let path = mark.split(BETWEEN).filter(|step| !step.is_empty()).collect();
        pieces.push(Piece::Mark(path));
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest));
    }
    pieces
}

/// What stands before the first whole mark, in it, and behind it.
fn first(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (inside, after) = rest.split_once(END)?;
    Some((before, inside, after))
}

/// Whether a text has a mark, or a part of one.
pub fn is_text_marked(text: &str) -> bool {
    // Few texts have this byte, and it is found much faster than the characters that begin with it.
    text.as_bytes().contains(&FIRST_BYTE) && text.contains([BEGIN, END, BETWEEN])
}

/// Whether a text somewhere in a value has a mark, or a part of one.
pub fn is_marked(value: &Value) -> bool {
    match value {
        Value::String(text) => is_text_marked(text),
        Value::Array(values) => values.iter().any(is_marked),
        Value::Object(map) => {
            map.iter().any(|(key, value)| is_text_marked(key) || is_marked(value))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The text without marks: U+FFFD stands for each of their characters.
pub fn unmark_text(text: &str) -> Cow<'_, str> {
    if is_text_marked(text) {
        Cow::Owned(text.replace([BEGIN, END, BETWEEN], REPLACEMENT))
    } else {
        Cow::Borrowed(text)
    }
}

/// Takes the marks out of all texts of a value, as [`unmark_text`] does.
pub fn unmark(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(clean) = unmark_text(text) {
                *text = clean;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(unmark),
        Value::Object(map) => {
            if map.keys().any(|key| is_text_marked(key)) {
                let entries = std::mem::take(map).into_iter();
                *map =
                    entries.map(|(key, value)| (unmark_text(&key).into_owned(), value)).collect();
            }
            map.values_mut().for_each(unmark);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The marks in the texts of a value. What is left of a broken one counts as a mark, which no
/// other value has.
pub fn marks(value: &Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    collect(value, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => collect_text(text, found),
        Value::Array(values) => values.iter().for_each(|value| collect(value, found)),
        Value::Object(map) => {
            for (key, value) in map {
                collect_text(key, found);
                collect(value, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn collect_text(text: &str, found: &mut BTreeSet<String>) {
    if !is_text_marked(text) {
        return;
    }
    for piece in pieces(text) {
        match piece {
            Piece::Mark(path) => {
                let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
                found.insert(mark(&path));
            }
            Piece::Text(text) if is_text_marked(text) => {
                found.insert(text.to_owned());
            }
            Piece::Text(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn path(steps: &[&str]) -> Vec<String> {
        steps.iter().map(|step| (*step).to_owned()).collect()
    }

    #[test]
    fn a_text_with_marks_comes_apart() {
        let text = format!("a {} b{AUTHORIZATION}", mark(&path(&["db", "password"])));
        assert_eq!(
            pieces(&text),
            [
                Piece::Text("a "),
                Piece::Mark(vec!["db", "password"]),
                Piece::Text(" b"),
                Piece::Mark(vec![]),
            ]
        );
        assert_eq!(pieces("plain"), [Piece::Text("plain")]);
        assert_eq!(pieces("\u{FDD0}half"), [Piece::Text("\u{FDD0}half")]);
    }

    #[test]
    fn data_from_outside_makes_no_mark() {
        let mark = mark(&path(&["db"]));
        let mut value = json!({ (mark.clone()): [{ "x": format!("a{mark}") }], "y": 1 });
        assert!(is_marked(&value));
        assert_eq!(marks(&value), BTreeSet::from([mark]));
        unmark(&mut value);
        assert!(!is_marked(&value) && value["y"] == 1, "{value}");
        assert_eq!(value["\u{FFFD}db\u{FFFD}"][0]["x"], "a\u{FFFD}db\u{FFFD}");
    }

    #[test]
    fn a_broken_mark_is_not_one_of_the_whole_ones() {
        let value = json!("\u{FDD0}db");
        assert!(is_marked(&value));
        assert_eq!(marks(&value), BTreeSet::from(["\u{FDD0}db".to_owned()]));
    }
}
