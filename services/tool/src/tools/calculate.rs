//! Exact arithmetic.

use futures::FutureExt;
use serde_json::{Value, json};

use super::{Tool, Work};
use crate::domain::call::{Call, Definition, Effect};
use crate::domain::number;
use crate::error::Error;

pub(super) struct Calculate;

impl Tool for Calculate {
    fn definition(&self) -> Definition {
        Definition {
            name: "calculate".into(),
            description: "Computes an arithmetic expression exactly: + - * / % ^ ( ) and abs, min, max, round(x, decimals), floor, ceil. `value` is the nearest number, `exact` the exact one as text.".into(),
            parameters: json!({
                "type": "object",
                "properties": {
                    "expression": { "type": "string", "minLength": 1, "maxLength": 1000, "description": "Such as `round(1999 * 1.19, 2)`." },
                },
                "required": ["expression"],
                "additionalProperties": false,
            }),
            effect: Effect::Computed,
        }
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        let expression =
            call.arguments.get("expression").and_then(Value::as_str).unwrap_or_default();
        std::future::ready(number::calculate(expression).map_err(Error::Invalid)).boxed()
    }
}
