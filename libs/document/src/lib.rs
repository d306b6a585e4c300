#![doc = include_str!("../README.md")]

mod front_matter;
mod hint;
mod json;
pub mod marks;
mod places;
mod scalar;
mod schema;
mod yaml;

use std::fmt;

use serde_json::Value;

pub use self::front_matter::front_matter;
pub use self::json::read_json;
pub use self::places::{Place, places};
pub use self::schema::Schema;

/// How much a text may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the text, and of all texts in it when aliases are replaced by what they stand for.
    pub bytes: usize,
    /// Values (scalars, lists and maps).
    pub values: usize,
    /// How deep lists and maps may be nested, 128 at most.
    pub depth: usize,
}

/// Why a text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// What is wrong, with the value.
    pub message: String,
    /// Where, counted from 1.
    pub line: Option<usize>,
    /// Where in the line, counted from 1.
    pub column: Option<usize>,
}

impl Unreadable {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), line: None, column: None }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match (self.line, self.column) {
            (Some(line), Some(column)) => write!(f, " (line {line}, column {column})"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for Unreadable {}

/// Reads YAML or JSON.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn read(text: &str, bounds: &Bounds) -> Result<Value, Unreadable> {
    check_size(text, bounds)?;
    // JSON is YAML but for the pairs of escapes that stand for one character.
    if text.trim_start().starts_with('{')
        && let Ok(value) = read_json(text, bounds)
    {
        return Ok(value);
    }
    yaml::read(text, bounds)
}

fn check_size(text: &str, bounds: &Bounds) -> Result<(), Unreadable> {
    if text.len() > bounds.bytes {
        let (length, limit) = (text.len(), bounds.bytes);
        return Err(Unreadable::new(format!("it has {length} bytes, {limit} at most")));
    }
    if text.trim().is_empty() {
        return Err(Unreadable::new("it is empty"));
    }
    Ok(())
}

/// What is left of the bounds.
#[derive(Debug)]
struct Means {
    bounds: Bounds,
    bytes: usize,
    values: usize,
}

impl Means {
    const fn new(bounds: Bounds) -> Self {
        Self { bounds, bytes: bounds.bytes, values: bounds.values }
    }

    fn spend(&mut self, values: usize, bytes: usize) -> Result<(), String> {
        self.values = self
            .values
            .checked_sub(values)
            .ok_or_else(|| format!("it holds more than {} values", self.bounds.values))?;
        self.bytes = self.bytes.checked_sub(bytes).ok_or_else(|| {
            format!("it holds more than {} bytes when aliases are replaced", self.bounds.bytes)
        })?;
        Ok(())
    }

    fn too_deep(&self) -> String {
        format!("it nests deeper than {} levels", self.bounds.depth)
    }
}

fn twice(key: &str) -> String {
    format!("the key `{key}` stands twice")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 1 << 20, values: 100_000, depth: 100 };

    fn check(text: &str, expected: Value) {
        assert_eq!(read(text, &BOUNDS), Ok(expected), "{text}");
    }

    fn refused(text: &str) -> String {
        match read(text, &BOUNDS) {
            Err(error) => error.to_string(),
            Ok(value) => panic!("{value:.200} from {text:.200}"),
        }
    }

    #[test]
    fn yaml_and_json_are_read() {
        check("a: 1\nb: [x, 'y', \"z\", ~]", json!({"a": 1, "b": ["x", "y", "z", null]}));
        check("{\"a\": \"\\ud83e\\udd80\"}", json!({"a": "🦀"}));
        check("a: '1'\nb: !!str 2\nc: |\n  text\n", json!({"a": "1", "b": "2", "c": "text\n"}));
        check("a: &x {n: [1]}\nb: *x\n", json!({"a": {"n": [1]}, "b": {"n": [1]}}));
        check("---\na: \n  - b: 1\n    c:\n...\n", json!({"a": [{"b": 1, "c": null}]}));
        check("\u{feff}a: 1", json!({"a": 1}));
        check("- a\n-\n- [] # nothing\n", json!(["a", null, []]));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, expected) in [
            ("", "it is empty"),
            ("# only this", "it is empty"),
            ("a: 1\nb: 2\na: 3", "the key `a` stands twice (line 3, column 1)"),
            ("{\"a\": 1, \"a\": 2}", "the key `a` stands twice (line 1, column 10)"),
            ("1: 2", "the key 1 is not a string; quote it (line 1, column 1)"),
            ("[a]: 2", "a key is a list, not a string (line 1, column 1)"),
            ("a: .nan", "`.nan` is no JSON number (line 1, column 4)"),
            ("a: !mine x", "the tag !mine means nothing here; leave it out (line 1, column 4)"),
            ("a: !!int x", "`x` does not fit its tag !!int (line 1, column 4)"),
            (
                "a: 1\n---\nb: 2",
                "a second document begins, but one text is one document (line 2, column 1)",
            ),
            (&"[".repeat(300), "it nests deeper than 100 levels (line 1, column 256)"),
            ("a: &x [*x]", "an alias stands inside of what it stands for (line 1, column 8)"),
        ] {
            assert_eq!(refused(text), expected, "{text}");
        }
        for text in ["a: [", "a: }", "a: b: c", "a: \"x", "\u{0}", "a: *nobody", "%YAML x"] {
            assert!(refused(text).contains("(line "), "{text}: {}", refused(text));
        }
        for (text, expected) in [
            (
                "a:\n\tb: 1",
                "tabs disallowed within this context (block indentation); indent with blanks, not with tabs (line 2, column 2)",
            ),
            (
                "a:\n  b: 1\n c: 2",
                "did not find expected key; begin the keys of one map, and the `-` of one list, in one column (line 3, column 2)",
            ),
            ("a: it is: so", "quote a text that has `: ` in it (line 1, column 9)"),
            (
                "a: {b: ${ .x }}",
                "quote a text that has a bracket, a comma or `: ` in it (line 1, column 9)",
            ),
            (
                "a: 'it's'",
                "inside of single quotes a quote is written '', inside of double quotes \\\" (line 1, column 8)",
            ),
            ("a: 'x", "a quote that is opened here is never closed (line 1, column 4)"),
            ("a: @x", "quote a text that begins with this character (line 1, column 4)"),
        ] {
            assert!(refused(text).ends_with(expected), "{text}: {}", refused(text));
        }
        let wrong = read_json("{\n  \"a\": }", &BOUNDS).unwrap_err();
        assert_eq!(wrong.to_string(), "expected value (line 2, column 8)");
        assert!(read_json("{} x", &BOUNDS).is_err());
    }

    #[test]
    fn bounds_hold_for_what_aliases_stand_for() {
        let mut bomb = "a0: &a0 [x, x]\n".to_owned();
        for level in 1..40 {
            let below = level - 1;
            bomb += &format!("a{level}: &a{level} [*a{below}, *a{below}]\n");
        }
        assert!(refused(&bomb).contains("more than 100000 values"), "{}", refused(&bomb));
        let long = format!("a: &a {}\nb: [{}]", "x".repeat(500_000), "*a,".repeat(50_000));
        assert!(refused(&long).contains("bytes when aliases are replaced"), "{}", refused(&long));
        let deep = format!(
            "a: &a {}{}\nb: {}*a {}",
            "[".repeat(60),
            "]".repeat(60),
            "[".repeat(60),
            "]".repeat(60)
        );
        assert!(refused(&deep).contains("deeper than 100 levels"), "{}", refused(&deep));
        assert!(
            refused(&format!("[{}]", "1,".repeat(100_001))).contains("more than 100000 values")
        );
        assert!(refused(&" ".repeat(2 << 20)).contains("1048576 at most"));
    }

    #[test]
    fn hostile_texts_are_left_early() {
        let half = 500_000;
        for text in [
            "[".repeat(half),
            "{a: ".repeat(half / 4),
            "[ #]\n".repeat(half / 5),
            "- ".repeat(half / 2),
            "? ".repeat(half / 2),
            "{\"a\":".repeat(half / 5),
            format!("{{\"a\":{}", "[".repeat(half)),
            (0..1_000).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect(),
            (0..20_000).map(|n| format!("- &a{n}\n")).collect::<String>() + "- {",
        ] {
            refused(&text);
        }
    }
}
