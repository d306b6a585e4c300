//! JSON with expressions in it.

use serde_json::{Map, Value};

use super::uri::UriTemplate;
use super::{Expression, Surroundings, strip, unclosed};
use crate::{Error, ErrorType, limits, size};

/// A value whose strings may be expressions in `${ }`.
#[derive(Debug, Clone)]
pub(crate) enum Template {
    Literal(Value),
    Expression(Expression),
    /// An expression that stands for its own text where it fails: `evaluate.mode` is loose.
    Loose(Expression, String),
    /// A text with `{names}` in it.
    Uri(UriTemplate),
    Array(Vec<Template>),
    Object(Vec<(String, Template)>),
}

impl Template {
    /// Parses `value`; problems are reported with the pointer of their place below `pointer`.
    pub(crate) fn parse(
        value: &Value,
        pointer: &str,
        variables: &[String],
        problem: &mut dyn FnMut(String, String),
    ) -> Template {
        match value {
            Value::String(text) => Template::parse_text(text, pointer, variables, problem),
            Value::Array(values) => {
                let parse = |(index, value)| {
                    Template::parse(value, &format!("{pointer}/{index}"), variables, problem)
                };
                let templates: Vec<_> = values.iter().enumerate().map(parse).collect();
                match templates.iter().all(Template::is_literal) {
                    true => Template::Literal(value.clone()),
                    false => Template::Array(templates),
                }
            }
            Value::Object(map) => {
                let mut templates = Vec::with_capacity(map.len());
                for (key, value) in map {
                    let pointer = format!("{pointer}/{}", crate::pointer::escape(key));
                    let template = Template::parse(value, &pointer, variables, problem);
                    templates.push((key.clone(), template));
                }
                match templates.iter().all(|(_, template)| template.is_literal()) {
                    true => Template::Literal(value.clone()),
                    false => Template::Object(templates),
                }
            }
            literal => Template::Literal(literal.clone()),
        }
    }

    fn parse_text(
        text: &str,
        pointer: &str,
        variables: &[String],
        problem: &mut dyn FnMut(String, String),
    ) -> Template {
        let literal = Template::Literal(Value::String(text.to_owned()));
        if strip(text).is_some() {
            return match Expression::parse(text, variables) {
                Ok(expression) => Template::Expression(expression),
                Err(message) => {
                    problem(pointer.to_owned(), message);
                    literal
                }
            };
        }
        if let Some(message) = unclosed(text) {
            problem(pointer.to_owned(), message);
        } else if text.contains("${") {
            // The specification gives it no meaning, and who wrote it expects one.
            problem(
                pointer.to_owned(),
                "an expression must be the whole string: write `${ \"text \\(.field) text\" }` \
                 instead of `text ${ .field } text`"
                    .to_owned(),
            );
        }
        literal
    }

    /// The same in the loose mode: each text that can be an expression is one.
    pub(crate) fn loose(value: &Value, variables: &[String]) -> Template {
        match value {
            Value::String(text) => match Expression::parse(text, variables) {
                Ok(expression) => Template::Loose(expression, text.clone()),
                Err(_message) => Template::Literal(value.clone()),
            },
            Value::Array(values) => Template::Array(
                values.iter().map(|value| Template::loose(value, variables)).collect(),
            ),
            Value::Object(map) => {
                let entries = map.iter();
                let entry = |(key, value): (&String, &Value)| {
                    (key.clone(), Template::loose(value, variables))
                };
                Template::Object(entries.map(entry).collect())
            }
            literal => Template::Literal(literal.clone()),
        }
    }

    /// The value, with every expression evaluated for `input`.
    pub(crate) fn evaluate(
        &self,
        input: &Value,
        around: &dyn Surroundings,
    ) -> Result<Value, Error> {
        // Each result is bounded by itself; a hundred of them could still be too much.
        let mut room = limits::VALUE_SIZE;
        self.fill(input, around, &mut room, 0)
    }

    fn fill(
        &self,
        input: &Value,
        around: &dyn Surroundings,
        room: &mut u64,
        level: usize,
    ) -> Result<Value, Error> {
        let mut fits = |value: Value| {
            *room = room.checked_sub(size::size(&value)).ok_or_else(too_large)?;
            if size::is_deeper_than(&value, limits::VALUE_DEPTH.saturating_sub(level)) {
                return Err(too_deep());
            }
            Ok(value)
        };
        match self {
            Template::Literal(value) => Ok(value.clone()),
            Template::Loose(expression, text) => {
                let value = expression.evaluate(input, around);
                fits(value.unwrap_or_else(|_error| Value::String(text.clone())))
            }
            Template::Expression(expression) => fits(expression.evaluate(input, around)?),
            Template::Uri(template) => template.expand(input).map(Value::String),
            Template::Array(templates) => templates
                .iter()
                .map(|template| template.fill(input, around, room, level + 1))
                .collect::<Result<_, _>>()
                .map(Value::Array),
            Template::Object(templates) => templates
                .iter()
                .map(|(key, template)| {
                    Ok((key.clone(), template.fill(input, around, room, level + 1)?))
                })
                .collect::<Result<Map<_, _>, _>>()
                .map(Value::Object),
        }
    }

    pub(crate) fn is_literal(&self) -> bool {
        matches!(self, Template::Literal(_))
    }
}

fn too_deep() -> Error {
    let detail =
        format!("the expressions made a value nested deeper than {} levels", limits::VALUE_DEPTH);
    Error::new(ErrorType::Expression, detail)
}

fn too_large() -> Error {
    let detail = format!("the expressions made more than {} bytes", limits::VALUE_SIZE);
    Error::new(ErrorType::Expression, detail)
}
