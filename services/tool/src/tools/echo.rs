//! Gives back what it gets.

use futures::FutureExt;
use serde_json::{Value, json};

use super::{Tool, Work};
use crate::domain::call::{Call, Definition, Effect};

pub(super) struct Echo;

impl Tool for Echo {
    fn definition(&self) -> Definition {
        Definition {
            name: "echo".into(),
            description: "Returns its argument `value` unchanged.".into(),
            parameters: json!({
                "type": "object",
                "properties": { "value": { "description": "Any JSON value." } },
                "required": ["value"],
                "additionalProperties": false,
            }),
            effect: Effect::Computed,
        }
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        let value = call.arguments.get("value").cloned().unwrap_or(Value::Null);
        std::future::ready(Ok(value)).boxed()
    }
}
