//! What an expression uses.

use std::collections::BTreeSet;

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Pattern, Term};
use jaq_core::path::{Part, Path};

use crate::expression::natives;

/// The variable that holds the secrets.
pub(in crate::expression) const SECRETS: &str = "$secrets";

/// How many problems of an expression are told.
pub(super) const LISTED: usize = 10;

/// A filter's name and number of arguments.
pub(super) type Signature<'s> = (&'s str, usize);

#[derive(Debug, Default)]
pub(super) struct Inspection<'s> {
    pub(super) calls: BTreeSet<Signature<'s>>,
    pub(super) variables: BTreeSet<&'s str>,
    /// The secrets that it reads, each with the fields that lead into it.
    pub(super) secrets: BTreeSet<Vec<String>>,
    /// Whether it defines filters of its own.
    pub(super) defines: bool,
    pub(super) depth: usize,
    problems: Vec<String>,
}

impl<'s> Inspection<'s> {
    /// Inspects an expression; the error says what it may not use.
    pub(super) fn of(term: &Term<&'s str>) -> Result<Inspection<'s>, String> {
        let mut inspection = Inspection::default();
        inspection.term(term, 1);
        if inspection.problems.is_empty() {
            Ok(inspection)
        } else {
            Err(inspection.problems.join("; "))
        }
    }

    fn term(&mut self, term: &Term<&'s str>, depth: usize) {
        self.depth = self.depth.max(depth);
        let depth = depth + 1;
        match term {
            Term::Id | Term::Recurse | Term::Num(_) | Term::Arr(None) => {}
            Term::Break(name) => self.name(name),
            Term::Var(SECRETS) => self.fail(format!(
                "{SECRETS} must be followed by the name of a secret: write {SECRETS}.name"
            )),
            Term::Var(name) => {
                self.name(name);
                self.variables.insert(name);
            }
            Term::Str(format, parts) => {
                if let Some(format) = format {
                    self.call(format, 0);
                }
                for part in parts {
                    if let StrPart::Term(inner) = part {
                        self.term(inner, depth);
                    }
                }
            }
            Term::Arr(Some(inner)) | Term::Neg(inner) => self.term(inner, depth),
            Term::Label(name, inner) => {
                self.name(name);
                self.term(inner, depth);
            }
            Term::Obj(entries) => {
                for (key, value) in entries {
                    self.term(key, depth);
                    self.terms(value, depth);
                }
            }
            Term::BinOp(left, operator, right) => {
                self.term(left, depth);
                if let BinaryOp::Pipe(Some(pattern)) = operator {
                    self.pattern(pattern, depth);
                }
                self.term(right, depth);
            }
            other => self.compound(other, depth),
        }
    }

    fn compound(&mut self, term: &Term<&'s str>, depth: usize) {
        match term {
            Term::Fold(_, over, pattern, arguments) => {
                self.term(over, depth);
                self.pattern(pattern, depth);
                self.terms(arguments, depth);
            }
            Term::TryCatch(inner, handler) => {
                self.term(inner, depth);
                if let Some(handler) = handler {
                    self.term(handler, depth);
                }
            }
            Term::IfThenElse(cases, otherwise) => {
                for (condition, then) in cases {
                    self.term(condition, depth);
                    self.term(then, depth);
                }
                if let Some(otherwise) = otherwise {
                    self.term(otherwise, depth);
                }
            }
            Term::Def(definitions, inner) => {
                self.defines = true;
                for definition in definitions {
                    self.name(definition.name);
                    definition.args.iter().for_each(|name| self.name(name));
                    self.term(&definition.body, depth);
                }
                self.term(inner, depth);
            }
            Term::Call(name, arguments) => {
                self.call(name, arguments.len());
                self.terms(arguments, depth);
            }
            Term::Path(inner, path) => {
                match secret(inner, path) {
                    Some(secret) => {
                        self.variables.insert(SECRETS);
                        self.secrets.insert(secret);
                    }
                    None => self.term(inner, depth),
                }
                for (part, _) in &path.0 {
                    match part {
                        Part::Index(index) => self.term(index, depth),
                        Part::Range(from, to) => {
                            self.terms(from, depth);
                            self.terms(to, depth);
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn terms<'t>(&mut self, terms: impl IntoIterator<Item = &'t Term<&'s str>>, depth: usize)
    where
        's: 't,
    {
        terms.into_iter().for_each(|term| self.term(term, depth));
    }

    fn pattern(&mut self, pattern: &Pattern<&'s str>, depth: usize) {
        match pattern {
            Pattern::Var(name) => self.name(name),
            Pattern::Arr(patterns) => {
                patterns.iter().for_each(|pattern| self.pattern(pattern, depth));
            }
            Pattern::Obj(entries) => {
                for (key, pattern) in entries {
                    self.term(key, depth);
                    self.pattern(pattern, depth);
                }
            }
        }
    }

    fn call(&mut self, name: &'s str, arguments: usize) {
        self.name(name);
        if let Some(why) = natives::absent(name) {
            self.fail(format!("{name} is not available: {why}"));
        }
        if name.contains("::") {
            self.fail(format!("{name} is of a module, and there are no modules"));
        }
        self.calls.insert((name, arguments));
    }

    fn name(&mut self, name: &str) {
        if name.trim_start_matches('$').starts_with("__") {
            self.fail(format!("names with two leading underscores, as {name}, are reserved"));
        }
    }

    fn fail(&mut self, problem: String) {
        if self.problems.len() < LISTED && !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// The secret that `$secrets.name.field` reads.
fn secret(inner: &Term<&str>, path: &Path<Term<&str>>) -> Option<Vec<String>> {
    let Term::Var(SECRETS) = inner else { return None };
    let steps = path.0.iter().map_while(|(part, _)| match part {
        Part::Index(Term::Str(None, parts)) => text(parts),
        _ => None,
    });
    let steps: Vec<String> = steps.collect();
    (!steps.is_empty()).then_some(steps)
}

/// A string that nothing is put into.
fn text(parts: &[StrPart<&str, Term<&str>>]) -> Option<String> {
    let piece = |part: &StrPart<&str, Term<&str>>| match part {
        StrPart::Str(text) => Some((*text).to_owned()),
        StrPart::Char(character) => Some(character.to_string()),
        StrPart::Term(_) => None,
    };
    parts.iter().map(piece).collect()
}
