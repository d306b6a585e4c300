//! Filling a template.

use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use muster_contracts::JsonObject;
use muster_contracts::template::v1::TemplateDefinition;

use super::definition::canonical;
use super::variables::Variables;
use super::{Flaw, places};

/// Steps that a template may take.
const FUEL: u64 = 200_000;
/// How deep conditions and loops may stand in each other.
const MAX_DEPTH: usize = 64;
/// The longest text that a template may give, in bytes.
pub(crate) const MAX_OUTPUT: usize = 256 << 10;

/// The text of a checked template with these values. The same values give the same text.
///
/// # Errors
/// A variable that is missing, unknown or unfit, a field that is not there, a text that is too long.
pub(crate) fn render(template: &TemplateDefinition, vars: &JsonObject) -> Result<String, Flaw> {
    let values = Variables::of(template.variables.as_ref())?.values(vars)?;
    // What is registered was checked, but by whom is not known here.
    places::check(&template.text)?;
    let mut text = Bounded(Vec::new());
    let scope = Value::from(Serde(canonical(serde_json::Value::Object(values))));
    environment()
        .template_from_str(&template.text)
        .and_then(|parsed| parsed.render_captured_to(scope, &mut text).map(drop))
        .map_err(|error| flaw(&error))?;
    String::from_utf8(text.0).map_err(|error| Flaw(format!("`text` gives no text: {error}")))
}

/// Checks a template's text, and gives the names that it uses.
///
/// # Errors
/// What is wrong, and on which line.
pub(super) fn names(source: &str) -> Result<Vec<String>, Flaw> {
    places::check(source)?;
    let environment = environment();
    let parsed = environment.template_from_str(source).map_err(|error| flaw(&error))?;
    let mut names: Vec<String> = parsed.undeclared_variables(false).into_iter().collect();
    names.sort();
    Ok(names)
}

/// An engine without filters, tests and functions, and without other templates.
fn environment() -> Environment<'static> {
    let mut environment = Environment::empty();
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(MAX_DEPTH);
    // What is not there must not silently become an empty text in what a model is told.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_auto_escape_callback(|_name| AutoEscape::None);
    // A tag that stands alone on a line leaves no line behind. The marks are the usual ones, which are always accepted.
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_formatter(write);
    environment
}

/// Texts as they are, nothing for null, and all else as JSON.
fn write(out: &mut Output<'_>, _state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if value.is_undefined() {
        return Err(Error::from(ErrorKind::UndefinedError));
    }
    if value.is_none() {
        return Ok(());
    }
    match value.as_str() {
        Some(text) => out.write_str(text),
        None => {
            let json = serde_json::to_string(value)
                .map_err(|error| Error::new(ErrorKind::BadSerialization, error.to_string()))?;
            out.write_str(&json)
        }
    }
    .map_err(Error::from)
}

fn flaw(error: &Error) -> Flaw {
    let line = error.line().map(|line| format!(" on line {line}")).unwrap_or_default();
    let detail = error.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    let cause = cause.unwrap_or_default();
    let kind = match error.kind() {
        ErrorKind::OutOfFuel => {
            return Flaw(format!(
                "`text` takes more than {FUEL} steps{line}: its loops stand in each other, or their lists are too long"
            ));
        }
        ErrorKind::UndefinedError => "a field or item that is not there".to_owned(),
        other => other.to_string(),
    };
    Flaw(format!("`text` cannot be filled{line}: {kind}{detail}{cause}"))
}

/// Refuses to grow beyond the longest text.
struct Bounded(Vec<u8>);

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            let error = format!("the filled text has more than {MAX_OUTPUT} bytes");
            return Err(io::Error::other(error));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
