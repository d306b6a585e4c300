//! Facts of two executions side by side: the places of tasks may be others, and clocks do not count.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::Keys;
use crate::{Fact, Input};

/// Milliseconds by which the length of a timer may differ: where no fact of a transition says when it was, its entry's
/// time is a moment later.
const TOLERANCE_MS: i64 = 1_000;
/// Characters of a decision in words.
const WORDS: usize = 300;

/// How tasks of one execution are called in another one, by their keys and their pointers.
#[derive(Debug, Default)]
pub(super) struct Names {
    keys: Keys,
    pointers: Keys,
}

impl Names {
    pub(super) fn task(&self, key: &str) -> String {
        self.keys.get(key).map_or(key, String::as_str).to_owned()
    }

    fn timer(&self, timer: &str) -> String {
        match timer.rsplit_once('#') {
            Some((task, name)) => format!("{}#{name}", self.task(task)),
            None => timer.to_owned(),
        }
    }

    /// Two tasks that begin at the same moment under the same name are the same.
    pub(super) fn pair(&mut self, was: &Fact, would_be: &Fact) {
        if let (
            Fact::TaskStarted { task, pointer, name, .. },
            Fact::TaskStarted { task: there, pointer: place, name: other, .. },
        ) = (was, would_be)
            && name == other
        {
            self.keys.insert(task.clone(), there.clone());
            self.pointers.insert(pointer.clone(), place.clone());
        }
    }

    /// The same input for the other execution.
    pub(super) fn input(&self, input: Input) -> Input {
        match input {
            Input::Completed { task, output } => {
                Input::Completed { task: self.task(&task), output }
            }
            Input::Failed { task, mut error } => {
                if let Some(place) = self.pointers.get(&error.instance) {
                    error.instance.clone_from(place);
                }
                Input::Failed { task: self.task(&task), error }
            }
            Input::TimerFired { timer } => Input::TimerFired { timer: self.timer(&timer) },
            Input::Event { task, position, event } => {
                Input::Event { task: task.map(|task| self.task(&task)), position, event }
            }
            Input::RetryWith { anew, is_child } => {
                let anew = anew.iter().map(|task| self.task(task)).collect();
                Input::RetryWith { anew, is_child }
            }
            other => other,
        }
    }
}

/// What counts of a fact. With names: as the other execution would say it.
pub(super) fn comparable(fact: &Fact, now: DateTime<Utc>, names: Option<&Names>) -> Value {
    let mut value = serde_json::to_value(fact).unwrap_or_default();
    let Some(map) = value.as_object_mut() else { return value };
    map.remove("pointer");
    match fact {
        Fact::TimerSet { at, .. } => {
            let lasts = (*at - now).num_milliseconds();
            // Half a tolerance on each side rounds to the same.
            map.insert("at".to_owned(), json!((lasts + TOLERANCE_MS / 2) / TOLERANCE_MS));
        }
        _ => {
            map.remove("at");
        }
    }
    if let Some(names) = names {
        rename(map, names);
        if let (Fact::InputHeld { .. }, Some(Value::Object(input))) = (fact, map.get_mut("input")) {
            rename(input, names);
        }
    }
    value
}

fn rename(map: &mut Map<String, Value>, names: &Names) {
    for name in ["task", "parent"] {
        if let Some(Value::String(key)) = map.get_mut(name) {
            *key = names.task(key);
        }
    }
    if let Some(Value::String(timer)) = map.get_mut("timer") {
        *timer = names.timer(timer);
    }
    for name in ["tasks", "revived"] {
        for key in map.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten() {
            if let Value::String(key) = key {
                *key = names.task(key);
            }
        }
    }
    if let Some(Value::String(instance)) =
        map.get_mut("error").and_then(|error| error.get_mut("instance"))
        && let Some(place) = names.pointers.get(instance)
    {
        instance.clone_from(place);
    }
}

/// A decision in words.
pub(super) fn told(fact: &Fact) -> String {
    let text = match fact {
        Fact::TaskStarted { name, kind, input: None, .. } => format!("begins `{name}` ({kind})"),
        Fact::TaskStarted { name, kind, input: Some(input), .. } => {
            format!("begins `{name}` ({kind}) with {input}")
        }
        Fact::TaskCompleted { output, then, .. } => {
            let output = output.as_ref().map_or_else(|| "what it had".to_owned(), Value::to_string);
            let then = then.as_ref().map(|then| format!(", then `{then}`")).unwrap_or_default();
            format!("ends with {output}{then}")
        }
        Fact::TaskFaulted { error, .. } | Fact::ExecutionFaulted { error, .. } => {
            format!("fails: {error}")
        }
        Fact::CallRequested { function, arguments, .. } => {
            format!("calls `{}` with {arguments}", function.name())
        }
        Fact::ChildRequested { name, version, input, .. } => {
            format!("runs the workflow {name}:{version} with {input}")
        }
        Fact::TimerSet { purpose, at, .. } => format!("sets a timer ({purpose:?}) to {at}"),
        Fact::IterationStarted { index, .. } => format!("begins the round {index}"),
        Fact::ContextSet { context, .. } => format!("exports {context}"),
        Fact::ExecutionCompleted { output, .. } => format!("completes with {output}"),
        other => plainly(other),
    };
    match text.char_indices().nth(WORDS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// A fact by its name and what else it says.
fn plainly(fact: &Fact) -> String {
    let mut value = serde_json::to_value(fact).unwrap_or_default();
    let Some(map) = value.as_object_mut() else { return String::new() };
    for known in ["task", "at", "pointer", "parent"] {
        map.remove(known);
    }
    let kind = match map.remove("type") {
        Some(Value::String(kind)) => kind.replace('_', " "),
        _ => String::new(),
    };
    if map.is_empty() { kind } else { format!("{kind}: {value}") }
}
