//! What a new version of a workflow would change for the executions that run, as the gateway tells it.

use serde_json::Value;

/// How many executions would have gone another way.
pub(super) fn count(check: &Value) -> usize {
    executions(check).iter().filter(|execution| !differences(execution).is_empty()).count()
}

/// A line for each difference; and one that says so where nothing could be checked, or not all.
pub(super) fn lines(check: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for execution in executions(check) {
        for difference in differences(execution) {
            lines.push(format!(
                "{} ({}, {})  transition {}  {} {}: {}",
                text(execution, "execution_id"),
                text(execution, "version"),
                text(execution, "status"),
                text(difference, "position"),
                text(difference, "difference"),
                text(difference, "pointer"),
                text(difference, "message"),
            ));
        }
    }
    let failure = text(check, "failure");
    if !failure.is_empty() {
        lines.push(format!("what runs was not checked: {failure}"));
    }
    lines
}

fn executions(check: &Value) -> &[Value] {
    check.get("executions").and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
}

fn differences(execution: &Value) -> &[Value] {
    execution.get("differences").and_then(Value::as_array).map_or(&[][..], Vec::as_slice)
}

fn text(value: &Value, field: &str) -> String {
    match value.get(field) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_differs_is_told_in_a_line_each() {
        let check = json!({ "executions": [
            { "execution_id": "e1", "version": "1.0.0", "status": "running", "differences": [
                { "position": 2, "difference": "decision", "pointer": "/do/1/two", "message": "decided: a; there: b" } ] },
            { "execution_id": "e2", "version": "1.0.0", "status": "running", "differences": [] },
        ] });
        assert_eq!(count(&check), 1);
        let line = "e1 (1.0.0, running)  transition 2  decision /do/1/two: decided: a; there: b";
        assert_eq!(lines(&check), [line]);
        assert_eq!(lines(&json!({ "failure": "no log" })), ["what runs was not checked: no log"]);
        assert_eq!((count(&Value::Null), lines(&Value::Null).len()), (0, 0));
    }
}
