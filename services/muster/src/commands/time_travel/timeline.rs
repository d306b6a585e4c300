//! Facts for people.

use serde_json::Value;

use super::{short, text};

/// A fact in one line: what happened, to which task, and with which data.
pub(super) fn told(fact: &Value) -> String {
    let kind = text(fact, "/type").replace('_', " ");
    let mut line = format!("{kind:<20}");
    for name in ["task", "timer"] {
        let value = text(fact, &format!("/{name}"));
        if !value.is_empty() {
            line.push(' ');
            line.push_str(&value);
            break;
        }
    }
    let shown = ["task", "timer", "type", "at", "pointer", "name", "parent", "kind"];
    let mut rest: Vec<String> = Vec::new();
    for (name, value) in fact.as_object().into_iter().flatten() {
        let goes_without_saying = name == "attempt" && value == 1;
        if !goes_without_saying && !shown.contains(&name.as_str()) {
            rest.push(format!("{name}: {}", short(Some(value))));
        }
    }
    if !rest.is_empty() {
        line.push_str("  ");
        line.push_str(&rest.join(", "));
    }
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_fact_is_told_in_a_line() {
        let check = |fact: Value, expected: &str| assert_eq!(told(&fact), expected);
        check(
            json!({"type": "task_started", "task": "/do/0/a", "pointer": "/do/0/a", "name": "a", "kind": "set", "parent": "", "attempt": 1, "at": "2026-01-01T12:00:00Z"}),
            "task started         /do/0/a",
        );
        check(
            json!({"type": "task_completed", "task": "/do/0/a", "output": {"x": 1}, "at": "2026-01-01T12:00:00Z"}),
            "task completed       /do/0/a  output: {\"x\":1}",
        );
        check(
            json!({"type": "timer_set", "timer": "/do/0/a#wait", "task": "/do/0/a", "purpose": "wait", "at": "2026-01-01T12:00:00Z"}),
            "timer set            /do/0/a  purpose: \"wait\"",
        );
    }
}
