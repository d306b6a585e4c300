//! Texts with places for arguments, `{name}`, and for secrets, `{secret.NAME}` or `{secret.NAME.FIELD}`. Other braces are text.

use std::collections::BTreeSet;

use muster_document::marks;
use serde_json::{Map, Value};

use crate::calls::{percent, plain};
use crate::error::Error;

const SECRET: &str = "secret.";

/// What may stand in braces.
pub(super) struct Places<'a> {
    /// The names of arguments.
    pub(super) arguments: &'a BTreeSet<String>,
    /// The names of secrets.
    pub(super) secrets: &'a [String],
}

/// A value with places for arguments. Secrets are marks in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Template {
    /// Nothing to fill in.
    Value(Value),
    /// The argument itself, of any type.
    Argument(String),
    Text(Vec<Part>),
    List(Vec<Template>),
    Map(Vec<(String, Template)>),
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    Text(String),
    Argument(String),
}

impl Places<'_> {
    /// Reads a value of a definition.
    pub(super) fn template(&self, value: &Value) -> Result<Template, Error> {
        Ok(match value {
            Value::String(text) => self.text(text)?,
            Value::Array(items) => Template::List(
                items.iter().map(|item| self.template(item)).collect::<Result<_, _>>()?,
            ),
            Value::Object(fields) => Template::Map(
                fields
                    .iter()
                    .map(|(name, field)| Ok((name.clone(), self.template(field)?)))
                    .collect::<Result<_, Error>>()?,
            ),
            other => Template::Value(other.clone()),
        })
    }

    /// The value with marks in the places of secrets, and nothing else to fill in.
    pub(super) fn fixed(&self, value: &Value) -> Result<Value, Error> {
        let none = BTreeSet::new();
        let places = Places { arguments: &none, secrets: self.secrets };
        Ok(places.template(value)?.fill(&Map::new()).unwrap_or_default())
    }

    fn text(&self, text: &str) -> Result<Template, Error> {
        let mut parts: Vec<Part> = Vec::new();
        let mut rest = text;
        while let Some((before, place, after)) = first(rest) {
            let part = self.part(place)?;
            let known = part.is_some();
            push(&mut parts, Part::Text(before.to_owned()));
            push(&mut parts, part.unwrap_or_else(|| Part::Text("{".to_owned())));
            rest = if known { after } else { rest.get(before.len() + 1..).unwrap_or_default() };
        }
        push(&mut parts, Part::Text(rest.to_owned()));
        Ok(match parts.as_slice() {
            [] => Template::Value(Value::String(String::new())),
            [Part::Text(text)] => Template::Value(Value::String(text.clone())),
            [Part::Argument(name)] => Template::Argument(name.clone()),
            _ => Template::Text(parts),
        })
    }

    /// What a place stands for; nothing where it is text.
    fn part(&self, place: &str) -> Result<Option<Part>, Error> {
        let Some(secret) = place.strip_prefix(SECRET) else {
            let known = self.arguments.contains(place);
            return Ok(known.then(|| Part::Argument(place.to_owned())));
        };
        let path: Vec<String> = secret.split('.').map(str::to_owned).collect();
        let name = path.first().cloned().unwrap_or_default();
        if !self.secrets.contains(&name) {
            return Err(Error::Invalid(format!(
                "`with` has {{{place}}}, but `secrets` does not name {name:?}"
            )));
        }
        Ok(Some(Part::Text(marks::mark(&path))))
    }
}

/// What stands before the first braces, in them, and behind them.
fn first(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once('{')?;
    let (inside, after) = rest.split_once('}')?;
    Some((before, inside, after))
}

/// Texts that follow each other are one.
fn push(parts: &mut Vec<Part>, part: Part) {
    match (parts.last_mut(), part) {
        (_, Part::Text(text)) if text.is_empty() => {}
        (Some(Part::Text(before)), Part::Text(text)) => before.push_str(&text),
        (_, part) => parts.push(part),
    }
}

impl Template {
    /// The value with these arguments; what needs one that is absent is left out.
    pub(super) fn fill(&self, arguments: &Map<String, Value>) -> Option<Value> {
        let argument = |name: &String| arguments.get(name).filter(|value| !value.is_null());
        Some(match self {
            Self::Value(value) => value.clone(),
            Self::Argument(name) => argument(name)?.clone(),
            Self::Text(parts) => {
                let mut text = String::new();
                for part in parts {
                    match part {
                        Part::Text(part) => text.push_str(part),
                        Part::Argument(name) => text.push_str(&plain(argument(name)?)),
                    }
                }
                Value::String(text)
            }
            Self::List(items) => items.iter().filter_map(|item| item.fill(arguments)).collect(),
            Self::Map(fields) => {
                let fill =
                    |(name, field): &(String, Self)| Some((name.clone(), field.fill(arguments)?));
                Value::Object(fields.iter().filter_map(fill).collect())
            }
        })
    }

    /// The address with these arguments, each encoded as a part of a path or query.
    pub(super) fn fill_uri(&self, arguments: &Map<String, Value>) -> Result<String, Error> {
        let given = |name: &String| match arguments.get(name) {
            Some(value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))) => {
                Ok(percent(&plain(value)))
            }
            _ => Err(Error::Invalid(format!(
                "the argument {name:?} is a part of the address: it must be there, and a text or a number"
            ))),
        };
        let mut uri = String::new();
        match self {
            Self::Value(value) => uri.push_str(&plain(value)),
            Self::Argument(name) => uri.push_str(&given(name)?),
            Self::Text(parts) => {
                for part in parts {
                    match part {
                        Part::Text(text) => uri.push_str(text),
                        Part::Argument(name) => uri.push_str(&given(name)?),
                    }
                }
            }
            Self::List(_) | Self::Map(_) => {}
        }
        no_way_up(&uri)?;
        Ok(uri)
    }

    /// The names of the arguments that it has places for.
    pub(super) fn names(&self, into: &mut BTreeSet<String>) {
        match self {
            Self::Value(_) => {}
            Self::Argument(name) => drop(into.insert(name.clone())),
            Self::Text(parts) => into.extend(parts.iter().filter_map(|part| match part {
                Part::Argument(name) => Some(name.clone()),
                Part::Text(_) => None,
            })),
            Self::List(items) => items.iter().for_each(|item| item.names(into)),
            Self::Map(fields) => fields.iter().for_each(|(_, field)| field.names(into)),
        }
    }
}

/// A part of a path that is `.` or `..` would lead elsewhere than the definition says.
fn no_way_up(uri: &str) -> Result<(), Error> {
    let path = uri.split(['?', '#']).next().unwrap_or_default();
    if path.split('/').any(|part| matches!(part, "." | "..")) {
        return Err(Error::Invalid(format!("the address {path:.200} has a part `.` or `..`")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template(value: &Value) -> Template {
        let arguments = ["city", "days", "tags"].map(str::to_owned).into();
        let secrets = ["key".to_owned()];
        Places { arguments: &arguments, secrets: &secrets }.template(value).unwrap()
    }

    #[test]
    fn places_are_filled_and_what_needs_an_absent_argument_is_left_out() {
        let given = json!({ "city": "Köln", "tags": ["a", 1], "days": null });
        let given = given.as_object().unwrap();
        let check = |value: Value, expected: Value| {
            assert_eq!(template(&value).fill(given), Some(expected), "{value}");
        };
        check(json!("{city}"), json!("Köln"));
        check(json!("to {city}!"), json!("to Köln!"));
        check(json!("{tags}"), json!(["a", 1]));
        check(
            json!({ "q": "{city}", "d": "{days}", "e": ["{days}", 1] }),
            json!({ "q": "Köln", "e": [1] }),
        );
        check(
            json!("query { user(id: {city}) { name } }"),
            json!("query { user(id: Köln) { name } }"),
        );
        check(json!(7), json!(7));
        check(json!("{unknown} {"), json!("{unknown} {"));
        let mark = marks::mark(&["key".to_owned(), "id".to_owned()]);
        check(json!("Bearer {secret.key.id}"), json!(format!("Bearer {mark}")));
    }

    #[test]
    fn an_address_is_encoded_and_leads_nowhere_else() {
        let at = template(&json!("https://x.example/{city}?d={days}"));
        let fill = |city: Value| {
            at.fill_uri(json!({ "city": city, "days": 2 }).as_object().unwrap())
                .map_err(|error| error.to_string())
        };
        assert_eq!(fill(json!("a/b ?#")).unwrap(), "https://x.example/a%2Fb%20%3F%23?d=2");
        assert!(fill(json!("..")).unwrap_err().contains("has a part `.` or `..`"));
        assert!(fill(json!({})).unwrap_err().contains("must be there"));
        let places = Places { arguments: &BTreeSet::new(), secrets: &[] };
        let unknown = places.template(&json!("{secret.other}")).unwrap_err().to_string();
        assert!(unknown.contains("`secrets` does not name \"other\""), "{unknown}");
    }
}
