//! Rewrites expressions so that they meter themselves.
//!
//! Everything in jq that can go on without end, or grow without bound, goes through one of a few
//! kinds of terms: calls, pipes, iteration, collection, operators. Each of these gets a filter
//! beside it that pays for the work ([`super::meter`]) and ends the evaluation when the means are
//! used up. The filters pass values, paths and updates through, so that the meaning stays the
//! same. Definitions of jq's own library are rewritten in the same way.

use jaq_core::load::lex::StrPart;
use jaq_core::load::parse::{BinaryOp, Def, Pattern, Term};
use jaq_core::path::{Opt, Part, Path};

use super::natives::{
    CHARGE, CONTAINS, INDEX, INDICES, INSERT, LINK, MEASURE, NAMES, REGEX, SCATTER, SPREAD, TICK,
};
use super::operators;

/// A variable that source cannot name, since names with two leading underscores are refused.
const ARGUMENT: &str = "$__argument";
const INPUT: &str = "$__input";

/// How to rewrite.
#[derive(Clone, Copy)]
pub(super) struct Guard {
    /// Whether calls with arguments may recurse: only where an expression defines filters itself,
    /// since the library does that with values as arguments only.
    pub(super) links: bool,
}

impl Guard {
    pub(super) fn definition(self, definition: Def<&str>) -> Def<&str> {
        let Def { name, args, body } = definition;
        // Recursion is by definitions, so that each call must cost.
        Def { name, args, body: pipe(call(TICK), self.term(body)) }
    }

    pub(super) fn term(self, source: Term<&str>) -> Term<&str> {
        match source {
            Term::Id | Term::Num(_) | Term::Var(_) | Term::Break(_) => source,
            Term::Recurse => pipe(Term::Recurse, call(TICK)),
            Term::Str(format, parts) => self.text(format, parts),
            Term::Arr(None) => Term::Arr(None),
            Term::Arr(Some(inner)) => {
                let inner = pipe(self.term(*inner), call(TICK));
                pipe(Term::Arr(Some(Box::new(inner))), call(MEASURE))
            }
            Term::Obj(entries) => {
                // An object is the sum of its entries, so that a large one costs more than to look
                // at it once.
                let toll = if entries.len() > 4 { CHARGE } else { MEASURE };
                let entries = entries
                    .into_iter()
                    .map(|(key, value)| (self.term(key), value.map(|value| self.term(value))));
                let large = entries.len() > 16;
                let object = pipe(Term::Obj(entries.collect()), call(toll));
                if large { pipe(object, call(LINK)) } else { object }
            }
            Term::Neg(inner) => Term::Neg(Box::new(self.term(*inner))),
            Term::BinOp(left, operator, right) => self.binary(*left, operator, *right),
            Term::Label(name, inner) => Term::Label(name, Box::new(self.term(*inner))),
            Term::Fold(name, over, pattern_, arguments) => {
                self.fold(name, *over, pattern_, arguments)
            }
            Term::TryCatch(inner, handler) => {
                // The step makes the end of the means impossible to catch.
                let handler = pipe(
                    call(TICK),
                    match handler {
                        Some(handler) => self.term(*handler),
                        None => empty(),
                    },
                );
                Term::TryCatch(Box::new(self.term(*inner)), Some(Box::new(handler)))
            }
            Term::IfThenElse(cases, otherwise) => {
                let case = |(if_, then)| (pipe(self.term(if_), call(TICK)), self.term(then));
                let otherwise = otherwise.map(|otherwise| Box::new(self.term(*otherwise)));
                Term::IfThenElse(cases.into_iter().map(case).collect(), otherwise)
            }
            Term::Def(definitions, inner) => {
                let definitions =
                    definitions.into_iter().map(|definition| self.definition(definition)).collect();
                Term::Def(definitions, Box::new(self.term(*inner)))
            }
            Term::Call(name, arguments) => self
                .native(name, arguments.into_iter().map(|argument| self.term(argument)).collect()),
            Term::Path(inner, path_) => self.path(*inner, path_),
        }
    }

    fn text<'s>(
        self,
        format: Option<&'s str>,
        parts: Vec<StrPart<&'s str, Term<&'s str>>>,
    ) -> Term<&'s str> {
        let plain = parts.iter().all(|part| !matches!(part, StrPart::Term(_)));
        // A format such as @html rewrites even a text; without one it is only copied.
        let toll = if format.is_some() { CHARGE } else { INSERT };
        let part = |part| match part {
            StrPart::Term(inner) => StrPart::Term(pipe(self.term(inner), call(toll))),
            other => other,
        };
        let text = Term::Str(format, parts.into_iter().map(part).collect());
        if plain { text } else { pipe(text, call(MEASURE)) }
    }

    fn binary<'s>(
        self,
        left: Term<&'s str>,
        operator: BinaryOp<&'s str>,
        right: Term<&'s str>,
    ) -> Term<&'s str> {
        let (left, right) = (self.term(left), self.term(right));
        match operator {
            BinaryOp::Pipe(None) => pipe(left, pipe(call(TICK), right)),
            BinaryOp::Pipe(Some(names)) => bind(left, self.pattern(names), pipe(call(TICK), right)),
            BinaryOp::Comma | BinaryOp::Alt => {
                Term::BinOp(Box::new(left), operator, Box::new(right))
            }
            BinaryOp::Or | BinaryOp::And => {
                pipe(Term::BinOp(Box::new(left), operator, Box::new(right)), call(TICK))
            }
            BinaryOp::Math(operator) => Term::Call(operators::math(operator), vec![left, right]),
            BinaryOp::Cmp(operator) => Term::Call(operators::cmp(operator), vec![left, right]),
            BinaryOp::Assign | BinaryOp::Update | BinaryOp::UpdateAlt => {
                pipe(Term::BinOp(Box::new(left), operator, Box::new(right)), call(MEASURE))
            }
            BinaryOp::UpdateMath(operator) => {
                // `l += r` is `r as $x | l |= . + $x`; the addition must be the metered one.
                let arguments = vec![Term::Id, Term::Var(ARGUMENT)];
                let change = Term::Call(operators::math(operator), arguments);
                let update = Term::BinOp(Box::new(left), BinaryOp::Update, Box::new(change));
                bind(right, Pattern::Var(ARGUMENT), pipe(update, call(MEASURE)))
            }
        }
    }

    fn fold<'s>(
        self,
        name: &'s str,
        over: Term<&'s str>,
        names: Pattern<&'s str>,
        arguments: Vec<Term<&'s str>>,
    ) -> Term<&'s str> {
        let step = |(index, argument)| match index {
            0 => self.term(argument),
            _ => pipe(call(TICK), self.term(argument)),
        };
        let arguments = arguments.into_iter().enumerate().map(step).collect();
        Term::Fold(name, Box::new(self.term(over)), self.pattern(names), arguments)
    }

    fn pattern(self, names: Pattern<&str>) -> Pattern<&str> {
        match names {
            Pattern::Var(name) => Pattern::Var(name),
            Pattern::Arr(patterns) => {
                Pattern::Arr(patterns.into_iter().map(|names| self.pattern(names)).collect())
            }
            Pattern::Obj(entries) => {
                let entry = |(key, names)| (pipe(self.term(key), call(INDEX)), self.pattern(names));
                Pattern::Obj(entries.into_iter().map(entry).collect())
            }
        }
    }

    /// A call: of a native filter with its price, of a definition as it is (its body pays).
    fn native<'s>(self, name: &'s str, mut arguments: Vec<Term<&'s str>>) -> Term<&'s str> {
        if !NAMES.contains(&(name, arguments.len())) {
            // Nothing may stand behind the call of a definition, or a tail call would be none.
            let links = self.links && !arguments.is_empty();
            let call_ = Term::Call(name, arguments);
            return if links { pipe(call(LINK), call_) } else { call_ };
        }
        let toll = match name {
            "first" | "last" | "limit" | "skip" | "error_empty" | "path" | "path_value"
            | "range" => {
                return pipe(Term::Call(name, arguments), call(TICK));
            }
            "contains" => Some(CONTAINS),
            "indices" => Some(INDICES),
            "matches" | "split_matches" | "split_" => Some(REGEX),
            _ => None,
        };
        if let Some(toll) = toll {
            let mut rest = arguments.split_off(1);
            let Some(first) = arguments.pop() else { return Term::Call(name, rest) };
            rest.insert(0, Term::Var(ARGUMENT));
            let toll = Term::Call(toll, vec![Term::Var(ARGUMENT)]);
            let paid = pipe(toll, pipe(Term::Call(name, rest), call(MEASURE)));
            return bind(first, Pattern::Var(ARGUMENT), paid);
        }
        let toll = match name {
            "sort" | "sort_by" | "group_by" | "min_by_or_empty" | "max_by_or_empty" | "bsearch"
            | "tojson" | "tobytes" | "implode" => CHARGE,
            "explode" => SCATTER,
            _ => SPREAD,
        };
        if name == "has" {
            arguments = arguments.into_iter().map(|key| pipe(key, call(INDEX))).collect();
        }
        pipe(call(toll), pipe(Term::Call(name, arguments), call(MEASURE)))
    }

    /// A path such as `.a[].b`: iteration and slices copy what they go over, and pay for it.
    fn path<'s>(self, inner: Term<&'s str>, Path(parts): Path<Term<&'s str>>) -> Term<&'s str> {
        let plain = |(part, _): &(Part<Term<_>>, Opt)| matches!(part, Part::Index(index) if is_literal(index));
        let computed = |(part, _): &(Part<Term<_>>, Opt)| match part {
            Part::Index(index) => !is_literal(index),
            Part::Range(from, to) => {
                [from, to].into_iter().flatten().any(|index| !is_literal(index))
            }
        };
        let inner = self.term(inner);
        if parts.iter().all(plain) {
            return Term::Path(Box::new(inner), Path(parts));
        }
        let bound = parts.iter().any(computed);
        let mut result = inner;
        let mut segment = Vec::new();
        for (part, optional) in parts {
            if let Part::Range(..) = part {
                result = pipe(close(result, std::mem::take(&mut segment)), call(SPREAD));
            }
            // Indices are evaluated for the input of the whole path, wherever they stand in it.
            let index = |index: Term<&'s str>| match is_literal(&index) {
                true => index,
                false => pipe(Term::Var(INPUT), pipe(self.term(index), call(INDEX))),
            };
            let part = match part {
                Part::Index(at) => Part::Index(index(at)),
                Part::Range(from, to) => Part::Range(from.map(index), to.map(index)),
            };
            segment.push((part, optional));
        }
        let result = pipe(close(result, segment), call(TICK));
        if bound { bind(Term::Id, Pattern::Var(INPUT), result) } else { result }
    }
}

/// `inner` followed by the path parts `segment`.
fn close<'s>(inner: Term<&'s str>, segment: Vec<(Part<Term<&'s str>>, Opt)>) -> Term<&'s str> {
    match (inner, segment.is_empty()) {
        (inner, true) => inner,
        (Term::Id, false) => Term::Path(Box::new(Term::Id), Path(segment)),
        (inner, false) => pipe(inner, Term::Path(Box::new(Term::Id), Path(segment))),
    }
}

fn is_literal(term: &Term<&str>) -> bool {
    match term {
        Term::Num(_) => true,
        Term::Str(None, parts) => parts.iter().all(|part| !matches!(part, StrPart::Term(_))),
        _ => false,
    }
}

fn pipe<'s>(left: Term<&'s str>, right: Term<&'s str>) -> Term<&'s str> {
    match left {
        Term::Id => right,
        left => Term::BinOp(Box::new(left), BinaryOp::Pipe(None), Box::new(right)),
    }
}

fn bind<'s>(value: Term<&'s str>, to: Pattern<&'s str>, then: Term<&'s str>) -> Term<&'s str> {
    Term::BinOp(Box::new(value), BinaryOp::Pipe(Some(to)), Box::new(then))
}

fn call(name: &'static str) -> Term<&'static str> {
    Term::Call(name, Vec::new())
}

/// `{}[]`, which has no results; `empty` could be defined anew.
fn empty() -> Term<&'static str> {
    let all = (Part::Range(None, None), Opt::Essential);
    Term::Path(Box::new(Term::Obj(Vec::new())), Path(vec![all]))
}
