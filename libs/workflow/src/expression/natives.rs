//! The native filters that expressions have: those of jaq that give the same result every time,
//! and those that meter.

use std::sync::LazyLock;

use jaq_core::box_iter::{BoxIter, box_once};
use jaq_core::native::{Fun, v};
use jaq_core::{Cv, Error, Exn, Native, ValXs};
use jaq_json::Val;

use super::meter::{Guarded, Meter};
use super::operators::operators;
use super::value;

pub(super) const TICK: &str = "__tick";
pub(super) const LINK: &str = "__link";
pub(super) const MEASURE: &str = "__measure";
pub(super) const CHARGE: &str = "__charge";
pub(super) const SPREAD: &str = "__spread";
pub(super) const INSERT: &str = "__insert";
pub(super) const SCATTER: &str = "__scatter";
pub(super) const INDEX: &str = "__index";
pub(super) const CONTAINS: &str = "__contains";
pub(super) const INDICES: &str = "__indices";
pub(super) const REGEX: &str = "__regex";

/// Filters that expressions do not have, and why not.
const ABSENT: [(&[&str], &str); 4] = [
    (
        &["now", "localtime", "strflocaltime"],
        "an expression cannot read the clock or the time zone",
    ),
    (&["env", "input", "inputs"], "an expression has only its input and its variables"),
    (
        &["debug", "debug_empty", "stderr", "stderr_empty", "halt", "halt_error"],
        "an expression cannot print or stop the process",
    ),
    (&["jn", "yn"], "its running time is not bounded"),
];

/// Why expressions do not have the filter `name`, if they do not.
pub(super) fn absent(name: &str) -> Option<&'static str> {
    ABSENT.iter().find(|(names, _)| names.contains(&name)).map(|(_, why)| *why)
}

/// Names of native filters of jaq that expressions have, with their number of arguments.
pub(super) static NAMES: LazyLock<Vec<(&'static str, usize)>> =
    LazyLock::new(|| jaq().map(|(name, arguments, _)| (name, arguments.len())).collect());

/// All native filters.
pub(super) fn all() -> impl Iterator<Item = Fun<Guarded>> {
    // Ours come first, since the first of a name wins.
    ours().into_iter().chain(jaq())
}

fn jaq() -> impl Iterator<Item = Fun<Guarded>> {
    let replaced = |name: &str| matches!(name, "range" | "fromjson");
    let all = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let ours = ours().into_iter().filter(move |(name, ..)| replaced(name));
    all.filter(move |(name, ..)| absent(name).is_none() && !replaced(name)).chain(ours)
}

type Toll<'a> = Result<(), Exn<'a, Val>>;

/// A filter that passes its input on after paying for it; paths and updates go through as well.
macro_rules! toll {
    ($name:expr, $pay:path) => {
        (
            $name,
            v(0),
            Native::<Guarded>::new(|cv| passed($pay(cv.0.data(), &cv.1), cv.1))
                .with_paths(|cv| passed(cv.0.data().spend(1), cv.1))
                .with_update(|cv, update| match $pay(cv.0.data(), &cv.1) {
                    Ok(()) => update(cv.1),
                    Err(error) => box_once(Err(error)),
                }),
        )
    };
}

/// A filter that passes its input on after paying for it and for its argument.
macro_rules! toll_with {
    ($name:expr, $pay:path) => {
        (
            $name,
            v(1),
            Native::<Guarded>::new(|mut cv| {
                let argument = cv.0.pop_var();
                passed($pay(cv.0.data(), &cv.1, &argument), cv.1)
            }),
        )
    };
}

fn ours() -> Vec<Fun<Guarded>> {
    let mut all: Vec<Fun<Guarded>> = vec![
        toll!(TICK, tick),
        toll!(LINK, link),
        toll!(MEASURE, Meter::measure),
        toll!(CHARGE, Meter::charge),
        toll!(SPREAD, Meter::spread),
        toll!(INSERT, Meter::insert),
        toll!(SCATTER, Meter::scatter),
        toll!(INDEX, index),
        toll_with!(CONTAINS, contains),
        toll_with!(INDICES, indices),
        toll_with!(REGEX, regex),
        ("range", v(3), Native::new(|cv| range(cv))),
        ("fromjson", v(0), Native::new(|cv| from_json(cv))),
    ];
    all.extend(operators());
    all
}

fn passed<'a, T: 'a>(toll: Toll<'a>, value: T) -> BoxIter<'a, Result<T, Exn<'a, Val>>> {
    box_once(toll.map(|()| value))
}

fn tick<'a>(meter: &Meter<'a>, _: &Val) -> Toll<'a> {
    meter.spend(1)
}

/// Pays for a recursive call with filters as arguments: each such call holds on to the one before,
/// and this bounds how long the chain gets, for dropping it recurses.
fn link<'a>(meter: &Meter<'a>, _: &Val) -> Toll<'a> {
    meter.spend(20)
}

/// Pays for an index, and refuses an array: jq would search for it, at a quadratic price.
fn index<'a>(meter: &Meter<'a>, value: &Val) -> Toll<'a> {
    match value {
        Val::Arr(_) => Err(Exn::from(Error::str("an array is not an index; use indices(...)"))),
        other => meter.charge(other),
    }
}

fn contains<'a>(meter: &Meter<'a>, value: &Val, part: &Val) -> Toll<'a> {
    let (size, of) = (meter.size(value)?, meter.size(part)?);
    let texts = size.bytes.saturating_mul(of.values) + of.bytes.saturating_mul(size.values);
    meter.spend(1 + size.values.saturating_mul(of.values) / 16 + texts / 1024)
}

fn indices<'a>(meter: &Meter<'a>, value: &Val, part: &Val) -> Toll<'a> {
    let (size, of) = (meter.size(value)?, meter.size(part)?);
    let texts = size.bytes.saturating_mul(of.bytes);
    let values = size.values.saturating_mul(of.values);
    meter.spend(1 + values / 16 + size.bytes / 16 + texts / 16_384)
}

/// Pays for a regular expression: its engine is linear for one match, quadratic for all.
fn regex<'a>(meter: &Meter<'a>, value: &Val, pattern: &Val) -> Toll<'a> {
    let (text, pattern) = (meter.size(value)?.bytes, meter.size(pattern)?.bytes);
    let once = text.saturating_mul(pattern);
    meter.spend(20 + pattern / 4 + once / 256 + text.saturating_mul(text) / 262_144)
}

/// `range(from; to; by)` over numbers, a step for each.
fn range<'a>(mut cv: Cv<'a, Guarded>) -> ValXs<'a, Val> {
    let (by, to, from) = (cv.0.pop_var(), cv.0.pop_var(), cv.0.pop_var());
    let meter = *cv.0.data();
    if let Some(other) = [&from, &to, &by].into_iter().find(|value| !matches!(value, Val::Num(_))) {
        return box_once(Err(Exn::from(Error::typ(other.clone(), "number"))));
    }
    let zero = Val::from(0_usize);
    let mut next = Some(from);
    Box::new(std::iter::from_fn(move || {
        let now = next.take()?;
        let more = if by > zero { now < to } else { by < zero && now > to };
        if !more {
            return None;
        }
        if let Err(error) = meter.spend(1) {
            return Some(Err(error));
        }
        match now.clone() + by.clone() {
            Ok(following) => next = Some(following),
            Err(error) => return Some(Err(Exn::from(error))),
        }
        Some(Ok(now))
    }))
}

/// `fromjson` by a reader that bounds the depth.
fn from_json(cv: Cv<'_, Guarded>) -> ValXs<'_, Val> {
    let Val::TStr(text) = &cv.1 else {
        return box_once(Err(Exn::from(Error::typ(cv.1, "string"))));
    };
    if let Err(error) = cv.0.data().scatter(&cv.1) {
        return box_once(Err(error));
    }
    box_once(match serde_json::from_slice(text) {
        Ok(json) => Ok(value::to_val(&json)),
        Err(error) => Err(Exn::from(Error::str(format_args!("fromjson: {error}")))),
    })
}
