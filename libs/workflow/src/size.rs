//! How large JSON is.

use serde_json::Value;

use crate::{Consumed, Fact, Input};

/// Bytes of text in a value, and 8 for each value in it.
pub(crate) fn size(value: &Value) -> u64 {
    8 + match value {
        Value::String(text) => text.len() as u64,
        Value::Array(values) => values.iter().map(size).sum(),
        Value::Object(map) => map.iter().map(|(key, value)| key.len() as u64 + size(value)).sum(),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// Whether a value is nested deeper than `limit` levels.
pub(crate) fn is_deeper_than(value: &Value, limit: usize) -> bool {
    let Some(inner) = limit.checked_sub(1) else { return true };
    match value {
        Value::Array(values) => values.iter().any(|value| is_deeper_than(value, inner)),
        Value::Object(map) => map.values().any(|value| is_deeper_than(value, inner)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether the JSON of a value has more than `limit` bytes.
pub(crate) fn is_longer_than(value: &Value, limit: u64) -> bool {
    // A character becomes six at most, a value with what is around it 32.
    if size(value).saturating_mul(6) <= limit {
        return false;
    }
    let mut count = Count { left: limit };
    serde_json::to_writer(&mut count, value).is_err()
}

/// Counts what is written to it, and fails beyond the limit.
struct Count {
    left: u64,
}

impl std::io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let left = self.left.checked_sub(bytes.len() as u64);
        self.left = left.ok_or_else(|| std::io::Error::other("longer than the limit"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Roughly how many bytes a fact takes: those of its values, and 200.
pub fn weight(fact: &Fact) -> u64 {
    let values: &[&Value] = match fact {
        Fact::ExecutionStarted { input, transformed: Some(other), .. } => &[input, other],
        Fact::ExecutionStarted { input: value, .. }
        | Fact::TaskStarted { input: Some(value), .. }
        | Fact::TaskCompleted { output: Some(value), .. }
        | Fact::CallRequested { arguments: value, .. }
        | Fact::ChildRequested { input: value, .. }
        | Fact::FunctionCalled { arguments: value, .. }
        | Fact::TaskExtended { output: Some(value), .. }
        | Fact::ContextSet { context: value, .. }
        | Fact::DataSet { data: value, .. }
        | Fact::EventConsumed { consumed: Consumed { item: value, .. }, .. }
        | Fact::ItemCompleted { output: Some(value), .. }
        | Fact::SignalKept { event: value, .. }
        | Fact::EventEmitted { event: value, .. }
        | Fact::InputHeld {
            input: Input::Completed { output: value, .. } | Input::Event { event: value, .. },
        }
        | Fact::ExecutionCompleted { output: value, .. } => &[value],
        Fact::LoopStarted { items, .. } => return 100 + items.iter().map(size).sum::<u64>(),
        _ => &[],
    };
    200 + values.iter().map(|value| size(value)).sum::<u64>()
}
