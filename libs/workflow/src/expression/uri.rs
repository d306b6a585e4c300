//! URIs with `{names}` in them: the simple expansion of RFC 6570, which is all that the DSL has.

use std::fmt::Write as _;

use muster_document::marks::{self, Piece};
use serde_json::Value;

use crate::{Error, ErrorType};

/// A parsed URI template.
#[derive(Debug, Clone)]
pub(crate) struct UriTemplate(Vec<Part>);

#[derive(Debug, Clone)]
enum Part {
    Text(String),
    /// A property of the task's input, by its whole name.
    Property(String),
}

impl UriTemplate {
    /// Parses a template; the error says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<UriTemplate, String> {
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            if before.contains('}') {
                return Err(unbalanced(text));
            }
            let (name, after) = after.split_once('}').ok_or_else(|| unbalanced(text))?;
            check_name(name, text)?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Property(name.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(unbalanced(text));
        }
        parts.push(Part::Text(rest.to_owned()));
        Ok(UriTemplate(parts))
    }

    /// The URI for a task's input: each name is replaced by that property, percent-encoded; by
    /// nothing where it is not there.
    pub(crate) fn expand(&self, input: &Value) -> Result<String, Error> {
        let mut uri = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => uri.push_str(text),
                Part::Property(name) => match input.get(name) {
                    None | Some(Value::Null) => {}
                    Some(Value::String(text)) => encode(text, &mut uri),
                    Some(value @ (Value::Bool(_) | Value::Number(_))) => {
                        encode(&value.to_string(), &mut uri);
                    }
                    Some(Value::Array(_) | Value::Object(_)) => {
                        let detail = format!(
                            "{{{name}}} in a URI must be a text, a number or a boolean, but the \
                             task's input has a list or a map there"
                        );
                        return Err(Error::new(ErrorType::Expression, detail));
                    }
                },
            }
        }
        Ok(uri)
    }
}

fn check_name(name: &str, text: &str) -> Result<(), String> {
    let operator = name.starts_with(['+', '#', '.', '/', ';', '?', '&', '=', ',', '!', '@', '|']);
    if name.is_empty() || operator || name.contains(['{', '*', ':', ',', '$']) {
        return Err(format!(
            "`{{{name}}}` in the URI `{text}` is not supported: between the braces stands the name \
             of a property of the task's input"
        ));
    }
    Ok(())
}

fn unbalanced(text: &str) -> String {
    format!("the URI `{text}` has a brace without its partner")
}

/// Encodes everything but what RFC 3986 calls unreserved. Marks of secrets stay as they are: what
/// they stand for is encoded when it is put there.
fn encode(text: &str, uri: &mut String) {
    for piece in marks::pieces(text) {
        match piece {
            Piece::Mark(path) => {
                let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
                uri.push_str(&marks::mark(&path));
            }
            Piece::Text(text) => text.bytes().for_each(|byte| match byte {
                b'-' | b'.' | b'_' | b'~' => uri.push(char::from(byte)),
                byte if byte.is_ascii_alphanumeric() => uri.push(char::from(byte)),
                // Writing to a string cannot fail.
                byte => drop(write!(uri, "%{byte:02X}")),
            }),
        }
    }
}
