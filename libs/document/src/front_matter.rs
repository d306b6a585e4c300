//! Texts with a head of YAML between two lines of `---`.

use serde_json::{Map, Value};

use crate::{Bounds, Unreadable, read};

const FENCE: &str = "---";

/// The map of the head, with what follows it as the string `body`; nothing where the text does not begin with `---`.
///
/// # Errors
/// A head that has no end, that cannot be read, or that is no map; a head that has `body` itself.
pub fn front_matter(text: &str, body: &str, bounds: &Bounds) -> Result<Option<Value>, Unreadable> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == FENCE) else {
        return Ok(None);
    };
    let mut length = 0;
    let mut end = None;
    for line in lines {
        if line.trim_end() == FENCE {
            end = Some(line.len());
            break;
        }
        length += line.len();
    }
    let no_end = || Unreadable::new("its head begins with `---` but does not end with such a line");
    let rest = text.get(first.len()..).unwrap_or_default();
    let (head, rest) = rest.split_at(length);
    let rest = rest.get(end.ok_or_else(no_end)?..).unwrap_or_default();
    let mut map = match head.trim() {
        "" => Map::new(),
        _ => match read(head, bounds).map_err(one_line_on)? {
            Value::Object(map) => map,
            other => {
                return Err(Unreadable::new(format!("its head is {other:.80}, but must be a map")));
            }
        },
    };
    if map.contains_key(body) {
        return Err(Unreadable::new(format!(
            "its head has `{body}`, but that is what follows the head"
        )));
    }
    map.insert(body.to_owned(), rest.strip_prefix('\n').unwrap_or(rest).into());
    Ok(Some(Value::Object(map)))
}

/// The head is behind a line of its own.
fn one_line_on(mut error: Unreadable) -> Unreadable {
    error.line = error.line.map(|line| line + 1);
    error
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BOUNDS: Bounds = Bounds { bytes: 1000, values: 10, depth: 4 };

    #[test]
    fn the_head_and_what_follows_it_are_one_map() {
        let read = |text| front_matter(text, "text", &BOUNDS).unwrap();
        assert_eq!(
            read("---\na: 1\n---\n\nb\n---\nc\n"),
            Some(json!({"a": 1, "text": "b\n---\nc\n"}))
        );
        assert_eq!(read("---\r\n---\r\nb"), Some(json!({"text": "b"})));
        assert_eq!(read("---\na: 1\n---"), Some(json!({"a": 1, "text": ""})));
        assert_eq!(read("a: 1\n---\n"), None);
    }

    #[test]
    fn a_head_that_cannot_be_read_is_told() {
        let told = |text| front_matter(text, "text", &BOUNDS).unwrap_err().to_string();
        assert!(told("---\na: 1\n").contains("does not end"));
        assert!(told("---\n- a\n---\n").contains("must be a map"));
        assert!(told("---\ntext: a\n---\n").contains("what follows the head"));
        assert!(told("---\na: 1\na: 2\n---\n").contains("stands twice (line 3"));
    }
}
