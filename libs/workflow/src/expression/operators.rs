//! Arithmetic and comparison with a meter: they stand for jq's operators in guarded expressions.

use jaq_core::box_iter::box_once;
use jaq_core::native::{Fun, v};
use jaq_core::ops::{Cmp, Math};
use jaq_core::{Cv, Error, Exn, Native, ValXs};
use jaq_json::{Num, Val};

use super::meter::{Guarded, Meter, Stop};
use crate::limits;

/// Bits of the largest integer that arithmetic makes.
const INTEGER_BITS: u64 = 4096;

pub(super) fn math(operator: Math) -> &'static str {
    match operator {
        Math::Add => "__add",
        Math::Sub => "__sub",
        Math::Mul => "__mul",
        Math::Div => "__div",
        Math::Rem => "__rem",
    }
}

pub(super) fn cmp(operator: Cmp) -> &'static str {
    match operator {
        Cmp::Lt => "__lt",
        Cmp::Le => "__le",
        Cmp::Gt => "__gt",
        Cmp::Ge => "__ge",
        Cmp::Eq => "__eq",
        Cmp::Ne => "__ne",
    }
}

pub(super) fn operators() -> Vec<Fun<Guarded>> {
    vec![
        (math(Math::Add), v(2), Native::new(|cv| calculate(cv, Math::Add))),
        (math(Math::Sub), v(2), Native::new(|cv| calculate(cv, Math::Sub))),
        (math(Math::Mul), v(2), Native::new(|cv| calculate(cv, Math::Mul))),
        (math(Math::Div), v(2), Native::new(|cv| calculate(cv, Math::Div))),
        (math(Math::Rem), v(2), Native::new(|cv| calculate(cv, Math::Rem))),
        (cmp(Cmp::Lt), v(2), Native::new(|cv| compare(cv, Cmp::Lt))),
        (cmp(Cmp::Le), v(2), Native::new(|cv| compare(cv, Cmp::Le))),
        (cmp(Cmp::Gt), v(2), Native::new(|cv| compare(cv, Cmp::Gt))),
        (cmp(Cmp::Ge), v(2), Native::new(|cv| compare(cv, Cmp::Ge))),
        (cmp(Cmp::Eq), v(2), Native::new(|cv| compare(cv, Cmp::Eq))),
        (cmp(Cmp::Ne), v(2), Native::new(|cv| compare(cv, Cmp::Ne))),
    ]
}

fn calculate<'a>(mut cv: Cv<'a, Guarded>, operator: Math) -> ValXs<'a, Val> {
    let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
    let meter = *cv.0.data();
    let result = pay(meter, operator, &left, &right)
        .and_then(|()| Ok(operator.run(left, right)?))
        .and_then(|value| meter.measure(&value).map(|()| value));
    box_once(result)
}

/// Pays before the work is done: a product may be far larger than its factors.
fn pay<'a>(meter: &Meter<'a>, operator: Math, left: &Val, right: &Val) -> Result<(), Exn<'a, Val>> {
    for value in [left, right] {
        match operator {
            _ if is_small(value) => {}
            // A text divided by a text is split.
            Math::Div if matches!(value, Val::BStr(_) | Val::TStr(_)) => meter.scatter(value)?,
            Math::Add => meter.measure(value)?,
            Math::Sub | Math::Mul | Math::Div | Math::Rem => meter.charge(value)?,
        }
    }
    if bits(left) + bits(right) > INTEGER_BITS {
        let message = format_args!("integers of more than {INTEGER_BITS} bits are not supported");
        return Err(Exn::from(Error::str(message)));
    }
    let repeated = match (operator, left, right) {
        (Math::Mul, Val::BStr(text) | Val::TStr(text), Val::Num(times))
        | (Math::Mul, Val::Num(times), Val::BStr(text) | Val::TStr(text)) => {
            (text.len() as u64).saturating_mul(count(times))
        }
        _ => 0,
    };
    if repeated > limits::VALUE_SIZE {
        return Err(meter.stop(Stop::Size));
    }
    meter.spend(1 + repeated / 256)
}

/// Whether work on a value costs nothing beyond the operation itself.
fn is_small(value: &Val) -> bool {
    matches!(value, Val::Null | Val::Bool(_) | Val::Num(Num::Int(_) | Num::Float(_)))
}

fn bits(value: &Val) -> u64 {
    match value {
        Val::Num(Num::BigInt(number)) => number.bits(),
        _ => 0,
    }
}

fn count(number: &Num) -> u64 {
    match number {
        Num::Int(number) => u64::try_from(*number).unwrap_or(0),
        // jq repeats no text by a fraction, and by a huge integer as by the largest.
        Num::BigInt(_) => u64::MAX,
        Num::Float(_) | Num::Dec(_) => 0,
    }
}

fn compare<'a>(mut cv: Cv<'a, Guarded>, operator: Cmp) -> ValXs<'a, Val> {
    let (right, left) = (cv.0.pop_var(), cv.0.pop_var());
    let meter = *cv.0.data();
    let paid = match (&left, &right) {
        (Val::Arr(_) | Val::Obj(_), Val::Arr(_) | Val::Obj(_)) => {
            meter.charge(&left).and_then(|()| meter.charge(&right))
        }
        (Val::BStr(_) | Val::TStr(_), Val::BStr(_) | Val::TStr(_)) => meter.spread(&left),
        _ => meter.spend(1),
    };
    box_once(paid.map(|()| Val::from(operator.run(&left, &right))))
}
