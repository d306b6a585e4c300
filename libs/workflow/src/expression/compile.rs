//! From source to a guarded filter.

mod inspect;
mod library;

use std::collections::BTreeSet;

use jaq_core::Compiler;
use jaq_core::load::lex::{StrPart, Tok, Token};
use jaq_core::load::parse::{Def, Parser, Term};
use jaq_core::load::{Arena, File, Lexer, Loader};
use muster_document::marks;
use serde_json::{Map, Value};

pub(super) use self::inspect::SECRETS;
use self::inspect::{Inspection, LISTED};
use super::guard::Guard;
use super::{Compiled, natives};
use crate::limits;

/// Name under which the whole expression is defined; source cannot use it.
const MAIN: &str = "__main";
/// Begins the entry of a declared secret among the variables of a place.
const DECLARED: &str = "$secrets.";
/// Nesting of terms up to which an expression counts as shallow.
const SHALLOW: usize = 32;
/// Nesting of terms beyond which an expression is refused; a pipe of n filters nests n deep.
const DEEP: usize = 300;

pub(super) fn compile(source: &str, variables: &[String]) -> Result<Compiled, String> {
    check_source(source)?;
    crate::stack::with_deep_stack(|| compile_deep(source, variables))
        .and_then(|result| result)
        .map_err(|message| format!("{message}: `{}`", excerpt(source)))
}

fn compile_deep(source: &str, variables: &[String]) -> Result<Compiled, String> {
    let term = parse(source)?;
    let inspection = Inspection::of(&term)?;
    if inspection.depth > DEEP {
        return Err(format!("the expression nests {} deep, {DEEP} at most", inspection.depth));
    }
    let secrets = secrets(&inspection.secrets, variables);
    let used = variables.iter().filter(|name| inspection.variables.contains(name.as_str()));
    let used: Vec<String> = used.cloned().collect();
    let library = library::reachable(&inspection.calls);
    let shallow = inspection.depth <= SHALLOW && !inspection.defines && !library.recursive;
    let guard = Guard { links: inspection.defines };
    let main = guard.definition(Def { name: MAIN, args: Vec::new(), body: term });
    let definitions = library.definitions.into_iter().chain([main]);
    let arena = Arena::default();
    let modules = Loader::new(definitions)
        .load(&arena, File { code: MAIN, path: () })
        .map_err(|_errors| "the expression cannot be read".to_owned())?;
    let filter = Compiler::default()
        .with_funs(natives::all())
        .with_global_vars(used.iter().map(String::as_str))
        .compile(modules)
        .map_err(|errors| undefined(&errors, variables));
    let (filter, secrets) = match (filter, secrets) {
        (Ok(filter), Ok(secrets)) => (filter, secrets),
        (Err(message), Ok(_)) | (Ok(_), Err(message)) => return Err(message),
        (Err(message), Err(other)) => return Err(format!("{message}; {other}")),
    };
    Ok(Compiled { source: source.to_owned(), filter, variables: used, secrets, shallow })
}

/// What `$secrets` is here: a mark for each secret that is read.
fn secrets(read: &BTreeSet<Vec<String>>, variables: &[String]) -> Result<Value, String> {
    let declared = |name: &str| {
        let declared = variables.iter().filter_map(|name| name.strip_prefix(DECLARED));
        declared.into_iter().any(|declared| declared == name)
    };
    let mut secrets = Value::Object(Map::new());
    let unknown = read.iter().filter_map(|path| path.first()).filter(|name| !declared(name));
    let unknown: BTreeSet<String> = unknown.take(LISTED).map(|name| format!("{name:?}")).collect();
    if !unknown.is_empty() {
        let unknown = unknown.into_iter().collect::<Vec<_>>().join(", ");
        return Err(format!("there is no secret {unknown} in use.secrets"));
    }
    for path in read {
        // The set is ordered: a field of a secret comes after the whole, and stands for more.
        let mut place = &mut secrets;
        for step in path {
            if !place.is_object() {
                *place = Value::Object(Map::new());
            }
            let Value::Object(fields) = place else { break };
            place = fields.entry(step.as_str()).or_insert(Value::Null);
        }
        *place = Value::String(marks::mark(path));
    }
    Ok(secrets)
}

fn parse(source: &str) -> Result<Term<&str>, String> {
    let tokens = Lexer::new(source).lex().map_err(|errors| match errors.first() {
        Some((expected, rest)) => syntax(expected.as_str(), rest),
        None => "the expression cannot be read".to_owned(),
    })?;
    let nesting = tokens.iter().map(nesting).sum::<usize>();
    if nesting > DEEP {
        return Err(format!("the expression has {nesting} pipes and keywords, {DEEP} at most"));
    }
    Parser::new(&tokens).parse(|parser| parser.term()).map_err(|errors| match errors.first() {
        Some((expected, found)) => syntax(expected.as_str(), found.map_or("", |token| token.0)),
        None => "the expression cannot be read".to_owned(),
    })
}

/// How many tokens nest what comes after them: a bound for the depth of the parser's recursion.
fn nesting(token: &Token<&str>) -> usize {
    let inside = match &token.1 {
        Tok::Block(tokens) => tokens.iter().map(nesting).sum(),
        Tok::Str(parts) => parts
            .iter()
            .map(|part| if let StrPart::Term(token) = part { nesting(token) } else { 0 })
            .sum(),
        _ => 0,
    };
    let own = match token.0 {
        "|" | "-" | "try" | "catch" | "if" | "elif" | "label" | "def" | "reduce" | "foreach"
        | "as" => 1,
        other => usize::from(other.ends_with('=')),
    };
    own + inside
}

fn syntax(expected: &str, found: &str) -> String {
    let found = match found {
        "" => "its end".to_owned(),
        found => format!("`{}`", excerpt(found)),
    };
    format!("syntax error in the jq expression: expected {expected} but found {found}")
}

type Undefined<'a> = [(File<&'a str, ()>, Vec<(&'a str, jaq_core::compile::Undefined)>)];

fn undefined(errors: &Undefined<'_>, variables: &[String]) -> String {
    use jaq_core::compile::Undefined;
    let (mut unknown, mut others) = (BTreeSet::new(), BTreeSet::new());
    for (name, kind) in errors.iter().flat_map(|(_, errors)| errors) {
        match kind {
            Undefined::Var => unknown.insert(*name),
            Undefined::Filter(arity) => {
                others.insert(format!("there is no function {name}/{arity} in jq"))
            }
            other => others.insert(format!("there is no {} {name}", other.as_str())),
        };
    }
    let mut told: Vec<String> = others.into_iter().take(LISTED).collect();
    if !unknown.is_empty() {
        let unknown: Vec<&str> = unknown.into_iter().take(LISTED).collect();
        let there = variables.join(", ");
        told.push(format!("there is no variable {} here; there are {there}", unknown.join(", ")));
    }
    if told.is_empty() {
        return "the expression cannot be compiled".to_owned();
    }
    told.join("; ")
}

/// Bounds what the parser must go through, before it does.
fn check_source(source: &str) -> Result<(), String> {
    let limit = limits::EXPRESSION_BYTES;
    if source.len() > limit {
        return Err(format!("the expression has {} bytes, {limit} at most", source.len()));
    }
    if source.trim().is_empty() {
        return Err("the expression is empty; `.` is the whole input".to_owned());
    }
    let mut depth = 0_usize;
    for character in source.chars() {
        match character {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limits::EXPRESSION_DEPTH {
            let limit = limits::EXPRESSION_DEPTH;
            return Err(format!("the expression nests its brackets deeper than {limit} levels"));
        }
    }
    Ok(())
}

pub(super) fn excerpt(text: &str) -> String {
    const LENGTH: usize = 80;
    match text.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or(text)),
        None => text.to_owned(),
    }
}
