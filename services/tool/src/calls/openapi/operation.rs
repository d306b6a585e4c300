//! An operation: its parameters become a request.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::parameters::{Parameter, Place};
use crate::calls::answer::is_json;
use crate::calls::raised;
use crate::error::Error;

/// An operation as it can be called.
pub(super) struct Operation {
    pub(super) id: String,
    pub(super) method: Method,
    /// With `{names}` of parameters in its path.
    pub(super) uri: String,
    pub(super) parameters: Vec<Parameter>,
    pub(super) body: Option<Body>,
}

/// What is written into the request's body, and as what.
pub(super) struct Body {
    kind: Option<String>,
    required: bool,
}

/// The parts of a request.
#[derive(Default)]
pub(super) struct Made {
    pub(super) uri: String,
    pub(super) query: Vec<(String, Value)>,
    pub(super) headers: Map<String, Value>,
    pub(super) body: Value,
}

impl Body {
    /// A `requestBody` of OpenAPI 3.
    pub(super) fn parse(value: &Value) -> Self {
        let kinds = value.get("content").and_then(Value::as_object);
        let required = value.get("required").and_then(Value::as_bool).unwrap_or_default();
        Self::of(kinds.into_iter().flatten().map(|(kind, _)| kind.as_str()), required)
    }

    /// One of several content types: JSON where that is among them, else a form, else the first.
    pub(super) fn of<'k>(kinds: impl Iterator<Item = &'k str>, required: bool) -> Self {
        let kinds: Vec<&str> = kinds.collect();
        let json = kinds.iter().find(|kind| is_json(kind));
        let form = kinds.iter().find(|kind| **kind == "application/x-www-form-urlencoded");
        let kind = json.or(form).or_else(|| kinds.first()).map(|kind| (*kind).to_owned());
        Self { kind, required }
    }
}

impl Operation {
    /// The request with these arguments, by the names of the parameters. What is not a parameter belongs to the body: `body` is the whole of it.
    pub(super) fn fill(&self, mut arguments: Map<String, Value>) -> Result<Made, Error> {
        let mut made = Made { uri: self.uri.clone(), ..Made::default() };
        made.headers.insert("accept".to_owned(), json!("application/json, */*;q=0.8"));
        let (mut cookies, mut form) = (Vec::new(), Map::new());
        for parameter in &self.parameters {
            let given = arguments.remove(&parameter.name).filter(|value| !value.is_null());
            let Some(value) = given else {
                if parameter.required {
                    return Err(self.missing(&parameter.name));
                }
                // An optional part of the path does not exist, but documents err.
                made.uri = made.uri.replace(&format!("{{{}}}", parameter.name), "");
                continue;
            };
            match parameter.place {
                Place::Path => {
                    let place = format!("{{{}}}", parameter.name);
                    let part = parameter.in_path(&value);
                    if matches!(part.as_str(), "." | "..") {
                        return Err(self.upward(&parameter.name));
                    }
                    made.uri = made.uri.replace(&place, &part);
                }
                Place::Query => made.query.extend(parameter.in_query(value)),
                Place::Header => {
                    let name = parameter.name.to_ascii_lowercase();
                    made.headers.insert(name, Value::String(parameter.joined(&value, ",")));
                }
                Place::Cookie => {
                    cookies.push(format!("{}={}", parameter.name, parameter.in_path(&value)));
                }
                Place::Body => made.body = value,
                Place::Form => drop(form.insert(parameter.name.clone(), value)),
            }
        }
        if !cookies.is_empty() {
            made.headers.insert("cookie".to_owned(), Value::String(cookies.join("; ")));
        }
        if !form.is_empty() {
            made.body = Value::Object(form);
        }
        self.body(arguments, &mut made)?;
        Ok(made)
    }

    fn body(&self, mut rest: Map<String, Value>, made: &mut Made) -> Result<(), Error> {
        let own = self.parameters.iter().any(|p| matches!(p.place, Place::Body | Place::Form));
        match &self.body {
            Some(body) if !own && (self.takes_body() || body.required) => {
                if let Some(whole) = rest.remove("body") {
                    made.body = whole;
                } else if !rest.is_empty() {
                    made.body = Value::Object(std::mem::take(&mut rest));
                } else if body.required {
                    return Err(self.missing("body"));
                }
            }
            _ => {}
        }
        if let Some(unknown) = rest.keys().next() {
            return Err(self.unknown(unknown));
        }
        let kind = self.body.as_ref().and_then(|body| body.kind.clone());
        let form = self.parameters.iter().any(|p| p.place == Place::Form);
        let kind = match kind {
            None if form => Some("application/x-www-form-urlencoded".to_owned()),
            kind => kind,
        };
        if let Some(kind) = kind.filter(|_| !made.body.is_null()) {
            made.headers.entry("content-type").or_insert(Value::String(kind));
        }
        Ok(())
    }

    /// A body of Swagger 2 is always a parameter; there `consumes` says nothing about whether there is one.
    fn takes_body(&self) -> bool {
        !matches!(self.method, Method::GET | Method::HEAD | Method::DELETE)
    }

    fn missing(&self, name: &str) -> Error {
        let detail =
            format!("the operation {:?} needs the parameter {name:?}; {}", self.id, self.known());
        raised("validation", 400, detail)
    }

    /// It would lead to another path than the document says.
    fn upward(&self, name: &str) -> Error {
        let detail =
            format!("the parameter {name:?} of the operation {:?} is `.` or `..`", self.id);
        raised("validation", 400, detail)
    }

    fn unknown(&self, name: &str) -> Error {
        let detail =
            format!("the operation {:?} has no parameter {name:?}; {}", self.id, self.known());
        raised("validation", 400, detail)
    }

    fn known(&self) -> String {
        let name =
            |p: &Parameter| format!("{}{}", p.name, if p.required { " (required)" } else { "" });
        let mut names: Vec<String> = self.parameters.iter().map(name).collect();
        let own = self.parameters.iter().any(|p| matches!(p.place, Place::Body | Place::Form));
        if self.body.is_some() && !own && self.takes_body() {
            names.push("body".to_owned());
        }
        format!("its parameters are: {}", names.join(", "))
    }
}
