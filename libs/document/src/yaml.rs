//! YAML, event by event.

use std::collections::HashMap;

use saphyr_parser::{Event, Parser, ScanError, Span, StrInput};
use serde_json::{Map, Value};

use crate::hint::hint;
use crate::{Bounds, Means, Unreadable, scalar, twice};

/// Reads one YAML document.
pub(crate) fn read(text: &str, bounds: &Bounds) -> Result<Value, Unreadable> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text.trim_start_matches('\u{feff}')),
        means: Means::new(*bounds),
        anchors: HashMap::new(),
    };
    reader.document()
}

struct Reader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    means: Means,
    /// What each anchor stands for; absent while it is being read.
    anchors: HashMap<usize, Anchored>,
}

struct Anchored {
    value: Value,
    values: usize,
    bytes: usize,
    depth: usize,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Result<Value, Unreadable> {
        let mut document = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => {
                    return document.ok_or_else(|| Unreadable::new("it is empty"));
                }
                Event::DocumentStart(_) if document.is_some() => {
                    return Err(at(
                        &span,
                        "a second document begins, but one text is one document",
                    ));
                }
                Event::DocumentStart(_) => {
                    let (event, span) = self.next()?;
                    document = Some(self.node(event, &span, self.means.bounds.depth)?);
                }
                _ => {}
            }
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Unreadable> {
        match self.parser.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => Err(unreadable(&error, &self.means)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// The value that begins with this event; `depth` is how deep it may nest.
    fn node(&mut self, event: Event<'t>, span: &Span, depth: usize) -> Result<Value, Unreadable> {
        let before = (self.means.values, self.means.bytes);
        let wrong = |message: String| at(span, message);
        let (value, anchor) = match event {
            Event::Alias(anchor) => return self.alias(anchor, depth).map_err(wrong),
            Event::Scalar(text, style, anchor, tag) => {
                self.means.spend(1, text.len()).map_err(wrong)?;
                (scalar::value(&text, style, tag.as_deref()).map_err(wrong)?, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                scalar::check_collection(tag.as_deref(), "seq").map_err(wrong)?;
                let depth = self.inside(depth).map_err(wrong)?;
                (self.list(depth)?, anchor)
            }
            Event::MappingStart(anchor, tag) => {
                scalar::check_collection(tag.as_deref(), "map").map_err(wrong)?;
                let depth = self.inside(depth).map_err(wrong)?;
                (self.map(depth)?, anchor)
            }
            _ => return Ok(Value::Null),
        };
        // 0 is no anchor.
        if anchor > 0 {
            let (values, bytes) = (before.0 - self.means.values, before.1 - self.means.bytes);
            // It is kept once more, and anchors may stand inside of anchors.
            self.means.spend(values, bytes).map_err(wrong)?;
            let anchored = Anchored { depth: height(&value), value: value.clone(), values, bytes };
            self.anchors.insert(anchor, anchored);
        }
        Ok(value)
    }

    fn alias(&mut self, anchor: usize, depth: usize) -> Result<Value, String> {
        let Some(anchored) = self.anchors.get(&anchor) else {
            return Err("an alias stands inside of what it stands for".to_owned());
        };
        if anchored.depth > depth {
            return Err(self.means.too_deep());
        }
        self.means.spend(anchored.values, anchored.bytes)?;
        Ok(anchored.value.clone())
    }

    fn inside(&mut self, depth: usize) -> Result<usize, String> {
        self.means.spend(1, 0)?;
        depth.checked_sub(1).ok_or_else(|| self.means.too_deep())
    }

    fn list(&mut self, depth: usize) -> Result<Value, Unreadable> {
        let mut values = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::SequenceEnd | Event::StreamEnd) {
                return Ok(Value::Array(values));
            }
            values.push(self.node(event, &span, depth)?);
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, Unreadable> {
        let mut map = Map::new();
        loop {
            let (event, place) = self.next()?;
            if matches!(event, Event::MappingEnd | Event::StreamEnd) {
                return Ok(Value::Object(map));
            }
            let key = match self.node(event, &place, depth)? {
                Value::String(key) => key,
                Value::Array(_) => return Err(at(&place, "a key is a list, not a string")),
                Value::Object(_) => return Err(at(&place, "a key is a map, not a string")),
                other => {
                    return Err(at(&place, format!("the key {other} is not a string; quote it")));
                }
            };
            if map.contains_key(&key) {
                return Err(at(&place, twice(&key)));
            }
            let (event, span) = self.next()?;
            let value = self.node(event, &span, depth)?;
            map.insert(key, value);
        }
    }
}

/// How deep a value nests.
fn height(value: &Value) -> usize {
    match value {
        Value::Array(values) => 1 + values.iter().map(height).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(height).max().unwrap_or(0),
        _ => 0,
    }
}

fn at(span: &Span, message: impl Into<String>) -> Unreadable {
    let (line, column) = (span.start.line(), span.start.col() + 1);
    Unreadable { message: message.into(), line: Some(line), column: Some(column) }
}

fn unreadable(error: &ScanError, means: &Means) -> Unreadable {
    let (line, column) = (error.marker().line(), error.marker().col() + 1);
    // The parser's own bound, which it may meet before it tells of anything inside.
    let message = match error.info() {
        "recursion limit exceeded" => means.too_deep(),
        words => match hint(words) {
            Some(hint) => format!("{words}; {hint}"),
            None => words.to_owned(),
        },
    };
    Unreadable { message, line: Some(line), column: Some(column) }
}
