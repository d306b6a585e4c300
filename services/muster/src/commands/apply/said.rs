//! What of a definition is said, and what is left to the platform.

use serde_json::{Map, Value};

use super::kind::Kind;

/// Parts that are tried at most: each costs a reading of the whole definition.
const MOST: usize = 500;

/// A definition without the parts that mean the same when they are left out.
pub(super) fn said(kind: Kind, whole: &Value) -> Value {
    if kind == Kind::Workflow {
        return whole.clone();
    }
    let mut parts = Vec::new();
    collect(whole, &mut Vec::new(), &mut parts);
    let mut shown = whole.clone();
    for part in parts.into_iter().take(MOST) {
        let mut without = shown.clone();
        remove(&mut without, &part);
        if kind.canonical(without.clone()).is_ok_and(|canonical| canonical == *whole) {
            shown = without;
        }
    }
    shown
}

/// Puts back what the file says and means as if it were left out, where what is registered says otherwise.
pub(super) fn restore(before: &Value, file: &Value, after: &mut Value) {
    let (Some(before), Some(file), Some(after)) =
        (before.as_object(), file.as_object(), after.as_object_mut())
    else {
        return;
    };
    for (key, value) in file {
        let Some(registered) = before.get(key) else { continue };
        let nested = registered.is_object() && value.is_object();
        if !after.contains_key(key) {
            let empty = Value::Object(Map::new());
            after.insert(key.clone(), if nested { empty } else { value.clone() });
        }
        if let (true, Some(inner)) = (nested, after.get_mut(key)) {
            restore(registered, value, inner);
        }
    }
}

/// The parts that may be left out, each behind those inside of it: all fields of a definition, and what is empty in them.
fn collect(value: &Value, path: &mut Vec<String>, parts: &mut Vec<Vec<String>>) {
    let entries: Vec<(String, &Value)> = match value {
        Value::Object(map) => map.iter().map(|(key, value)| (key.clone(), value)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, value)| (index.to_string(), value)).collect()
        }
        _ => return,
    };
    for (key, inner) in entries {
        path.push(key);
        collect(inner, path, parts);
        // The items of a list are counted: none is left out.
        if value.is_object() && (path.len() == 1 || is_empty(inner)) {
            parts.push(path.clone());
        }
        path.pop();
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_empty),
    }
}

fn remove(value: &mut Value, path: &[String]) {
    let Some((last, around)) = path.split_last() else { return };
    let around = around.iter().try_fold(value, |value, step| match value {
        Value::Object(map) => map.get_mut(step),
        Value::Array(items) => items.get_mut(step.parse::<usize>().ok()?),
        _ => None,
    });
    if let Some(Value::Object(map)) = around {
        map.remove(last);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(kind: Kind, file: &Value, expected: &Value) {
        let canonical = kind.canonical(file.clone()).unwrap();
        assert_eq!(said(kind, &canonical), *expected);
    }

    #[test]
    fn what_means_the_same_when_it_is_left_out_is_not_said() {
        check(
            Kind::Agent,
            &json!({"name": "a", "instructions": "Do.", "limits": {"turns": 4}, "digest": "d",
                "output_schema": {"properties": {"n": {"default": 0}}}, "model": {"temperature": 0.0}}),
            &json!({"name": "a", "instructions": "Do.", "limits": {"turns": 4},
                "output_schema": {"properties": {"n": {"default": 0}}}, "model": {"temperature": 0.0}}),
        );
        check(Kind::Tool, &json!({"name": "t"}), &json!({"name": "t"}));
        let target =
            json!({"name": "m", "targets": [{"provider": "p"}, {"provider": "q", "weight": 2}]});
        check(Kind::Model, &target, &target);
    }

    #[test]
    fn a_default_that_the_file_says_is_shown_where_it_changes_something() {
        let before = json!({"limits": {"turns": 4}});
        let file = json!({"name": "a", "limits": {"turns": 16, "tokens": 200_000}, "tags": []});
        let mut after = json!({"name": "a"});
        restore(&before, &file, &mut after);
        assert_eq!(after, json!({"name": "a", "limits": {"turns": 16}}));
    }
}
