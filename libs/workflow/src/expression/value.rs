//! JSON to jq's values and back.

use jaq_json::{Map, Num, Rc, Val};
use serde_json::{Number, Value};

pub(super) fn to_val(value: &Value) -> Val {
    match value {
        Value::Null => Val::Null,
        Value::Bool(value) => Val::from(*value),
        Value::Number(number) => number_to_val(number),
        Value::String(text) => Val::from(text.clone()),
        Value::Array(values) => values.iter().map(to_val).collect(),
        Value::Object(map) => {
            let entry = |(key, value): (&String, &Value)| (Val::from(key.clone()), to_val(value));
            let map: Map = map.iter().map(entry).collect();
            Val::Obj(Rc::new(map))
        }
    }
}

fn number_to_val(number: &Number) -> Val {
    if let Some(integer) = number.as_i64().and_then(|integer| isize::try_from(integer).ok()) {
        return Val::from(integer);
    }
    match number.as_u64() {
        Some(integer) => Val::Num(Num::from_integral(integer)),
        None => Val::from(number.as_f64().unwrap_or(f64::NAN)),
    }
}

/// The JSON of a value; the error says what has no JSON.
pub(super) fn from_val(value: &Val) -> Result<Value, String> {
    Ok(match value {
        Val::Null => Value::Null,
        Val::Bool(value) => Value::Bool(*value),
        Val::Num(number) => number_from_val(number)?,
        Val::TStr(text) => Value::String(String::from_utf8_lossy(text).into_owned()),
        Val::BStr(_) => return Err("the result holds bytes, which JSON cannot say".to_owned()),
        Val::Arr(values) => Value::Array(values.iter().map(from_val).collect::<Result<_, _>>()?),
        Val::Obj(map) => {
            let entry = |(key, value): (&Val, &Val)| match key {
                Val::TStr(key) => Ok((String::from_utf8_lossy(key).into_owned(), from_val(value)?)),
                other => Err(format!("{other} is a key of an object; only strings may be")),
            };
            Value::Object(map.iter().map(entry).collect::<Result<_, _>>()?)
        }
    })
}

fn number_from_val(number: &Num) -> Result<Value, String> {
    let float = match number {
        Num::Int(integer) => return Ok(Value::from(*integer)),
        Num::BigInt(integer) => {
            let text = integer.to_string();
            return match text.parse::<u64>() {
                Ok(integer) => Ok(Value::from(integer)),
                Err(_) => Err(format!("{text} is beyond the integers from -2^63 to 2^64 - 1")),
            };
        }
        Num::Float(float) => *float,
        Num::Dec(text) => text.parse().unwrap_or(f64::NAN),
    };
    // Division gives floats, and who divides 10 by 2 wants 5. Beyond 2^53 the float is kept,
    // since the integer that it stands for is not known.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if float.fract() == 0.0 && float.abs() < EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "integral and below 2^53")]
        return Ok(Value::from(float as i64));
    }
    if float.is_nan() {
        return Ok(Value::Null);
    }
    // As jq prints it: JSON has no infinity.
    Ok(Value::from(float.clamp(f64::MIN, f64::MAX)))
}
