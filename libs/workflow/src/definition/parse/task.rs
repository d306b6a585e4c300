//! Tasks and lists of them.

use serde_json::Value;

use super::{Object, Parser, at, is};
use crate::limits;
use crate::model::{Case, For, Kind, Node, NodeId, Then};

/// Keys that every task may have.
const BASE: [&str; 7] = ["if", "input", "output", "export", "timeout", "then", "metadata"];
/// The supported types of tasks: the key that tells the type, and the keys that belong to it.
const TYPES: [(&str, &[&str]); 12] = [
    ("for", &["for", "while", "do"]),
    ("do", &["do"]),
    ("set", &["set"]),
    ("switch", &["switch"]),
    ("fork", &["fork"]),
    ("try", &["try", "catch"]),
    ("raise", &["raise"]),
    ("wait", &["wait"]),
    ("call", &["call", "with"]),
    ("run", &["run"]),
    ("listen", &["listen", "foreach"]),
    ("emit", &["emit"]),
];
/// Bytes of a task's name at most: names are part of the keys in every fact.
const NAME_BYTES: usize = 100;

impl Parser<'_> {
    /// A list of tasks. `owner` is the pointer of the task around it, where their keys begin.
    pub(super) fn list(&mut self, value: &Value, owner: &str, pointer: &str) -> Vec<NodeId> {
        let Some(items) = value.as_array() else {
            self.problem(pointer, format!("must be a list of tasks, not {}", is(value)));
            return Vec::new();
        };
        self.depth += 1;
        let names: Vec<&str> = items.iter().filter_map(single).map(|(name, _)| name).collect();
        let mut nodes = Vec::with_capacity(items.len());
        for (position, item) in items.iter().enumerate() {
            let pointer = format!("{pointer}/{position}");
            let Some((name, task)) = single(item) else {
                let message =
                    format!("must be a map from one task's name to the task, not {}", is(item));
                self.problem(pointer, message);
                continue;
            };
            let place = Place { owner, pointer: at(&pointer, name), name, position, names: &names };
            if names.iter().take(position).any(|earlier| *earlier == name) {
                self.problem(
                    place.pointer.clone(),
                    format!("the name `{name}` stands twice in a list"),
                );
            }
            nodes.extend(self.task(task, &place));
        }
        self.depth -= 1;
        if nodes.len() == items.len() && !pointer.ends_with("/branches") {
            self.not_endless(&nodes);
        }
        nodes
    }

    pub(super) fn task(&mut self, value: &Value, place: &Place<'_>) -> Option<NodeId> {
        let pointer = place.pointer.as_str();
        // A function may be named by its address.
        let longest = if place.owner.is_empty() && pointer.starts_with("/use/") {
            10 * NAME_BYTES
        } else {
            NAME_BYTES
        };
        if place.name.is_empty() || place.name.len() > longest {
            let message = format!("a task's name must have 1 to {longest} bytes");
            self.problem(pointer, message);
            return None;
        }
        if self.nodes.len() >= limits::TASKS || self.depth > limits::TASK_DEPTH {
            let (tasks, depth) = (limits::TASKS, limits::TASK_DEPTH);
            let message = format!("a workflow has {tasks} tasks at most, nested {depth} deep");
            self.problem(pointer, message);
            return None;
        }
        let task = self.object(value, pointer, "a task")?;
        let told = self.problems.0.len();
        let node = self.base(task, place);
        // Reserves the place, so that a task stands before those inside it.
        let id = self.nodes.len();
        self.nodes.push(node);
        let kind = self.kind(task, place);
        if self.problems.0.len() > told {
            self.unclosed_in(value, pointer);
        }
        let kind = kind?;
        if let Some(node) = self.nodes.get_mut(id) {
            node.kind = kind;
        }
        Some(id)
    }

    fn base(&mut self, task: &Object, place: &Place<'_>) -> Node {
        let pointer = place.pointer.as_str();
        let (variables, with_output) = (self.variables(&[]), self.variables(&["$output"]));
        // There is no authorization before a call is made, and no input before `input.from`.
        let before = self.variables_without(&["$authorization"]);
        let before_input = self.variables_without(&["$authorization", "$input"]);
        let condition =
            task.get("if").and_then(|value| self.expression(value, &at(pointer, "if"), &before));
        let timeout = task
            .get("timeout")
            .and_then(|value| self.timeout(value, &at(pointer, "timeout"), &variables));
        let then = task.get("then").and_then(|value| self.then(value, &at(pointer, "then"), place));
        Node {
            pointer: pointer.to_owned(),
            step: pointer.strip_prefix(place.owner).unwrap_or(pointer).to_owned(),
            name: place.name.to_owned(),
            position: place.position,
            condition,
            input: self.transform(task, pointer, "input", &before_input),
            output: self.transform(task, pointer, "output", &variables),
            export: self.transform(task, pointer, "export", &with_output),
            timeout,
            then: then.unwrap_or(Then::Continue),
            kind: Kind::Do(Vec::new()),
            extendable: !self.extending,
            extensions: Vec::new(),
            is_extension: false,
        }
    }

    fn kind(&mut self, task: &Object, place: &Place<'_>) -> Option<Kind> {
        let pointer = place.pointer.as_str();
        let supported = TYPES.map(|(name, _)| name).join(", ");
        let Some((name, keys)) = TYPES.iter().find(|(name, _)| task.contains_key(*name)) else {
            let keys = task.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            let message = format!(
                "this is no known type of task (its keys are: {keys}); supported are {supported}"
            );
            self.problem(pointer, message);
            return None;
        };
        let known: Vec<&str> = keys.iter().chain(&BASE).copied().collect();
        self.only(task, pointer, &format!("a `{name}` task"), &known);
        let value = task.get(*name)?;
        match *name {
            "for" => self.for_(task, value, pointer),
            "do" => Some(Kind::Do(self.list(value, pointer, &at(pointer, "do")))),
            "set" => self.set(value, pointer),
            "switch" => self.switch(value, place),
            "fork" => self.fork(value, pointer),
            "try" => self.try_(task, value, pointer),
            "raise" => self.raise(value, pointer),
            "wait" => {
                let variables = self.variables(&[]);
                self.length(value, &at(pointer, "wait"), &variables).map(Kind::Wait)
            }
            "run" => self.run(value, pointer),
            "listen" => self.listen(task, value, pointer),
            "emit" => self.emit(value, pointer),
            _ => self.call(task, value, pointer),
        }
    }

    fn set(&mut self, value: &Value, pointer: &str) -> Option<Kind> {
        let pointer = at(pointer, "set");
        let variables = self.variables(&[]);
        match value {
            Value::Object(map) if !map.is_empty() => {
                Some(Kind::Set(self.template(value, &pointer, &variables)))
            }
            Value::String(text) if crate::expression::strip(text).is_some() => {
                Some(Kind::Set(self.template(value, &pointer, &variables)))
            }
            other => {
                let message = format!(
                    "`set` must be a map with entries or one `${{ }}` expression, not {}",
                    is(other)
                );
                self.problem(pointer, message);
                None
            }
        }
    }

    fn switch(&mut self, value: &Value, place: &Place<'_>) -> Option<Kind> {
        let pointer = at(&place.pointer, "switch");
        let Some(items) = value.as_array().filter(|items| !items.is_empty()) else {
            self.problem(pointer, format!("`switch` must be a list of cases, not {}", is(value)));
            return None;
        };
        let mut cases = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let pointer = format!("{pointer}/{index}");
            let Some((name, case)) = single(item) else {
                let message =
                    format!("must be a map from one case's name to the case, not {}", is(item));
                self.problem(pointer, message);
                continue;
            };
            cases.extend(self.case(case, &at(&pointer, name), place));
        }
        if cases.iter().filter(|case| case.when.is_none()).count() > 1 {
            self.problem(pointer, "`switch` has more than one default case (without `when`)");
        }
        Some(Kind::Switch(cases))
    }

    fn case(&mut self, value: &Value, pointer: &str, place: &Place<'_>) -> Option<Case> {
        let case = self.object(value, pointer, "a case")?;
        self.only(case, pointer, "a case", &["when", "then"]);
        let variables = self.variables(&[]);
        let when = case.get("when");
        let parsed = when.map(|value| self.expression(value, &at(pointer, "when"), &variables));
        let Some(then) = case.get("then") else {
            self.problem(at(pointer, "then"), "`then` is missing: where the flow goes");
            return None;
        };
        let then = self.then(then, &at(pointer, "then"), place)?;
        match parsed {
            None => Some(Case { when: None, then }),
            Some(when) => Some(Case { when: Some(when?), then }),
        }
    }

    fn then(&mut self, value: &Value, pointer: &str, place: &Place<'_>) -> Option<Then> {
        let text = self.text(value, pointer, "`then`")?;
        match text {
            "continue" => return Some(Then::Continue),
            "exit" => return Some(Then::Exit),
            "end" => return Some(Then::End),
            _ => {}
        }
        let position = place.names.iter().position(|name| *name == text);
        match position {
            Some(position) if !place.is_branch() => {
                Some(Then::Task { position, name: text.to_owned() })
            }
            Some(_) => {
                let message = format!("a branch cannot go to another branch, `{text}`");
                self.problem(pointer, message);
                None
            }
            None => {
                let names = place.names.join(", ");
                let message = format!(
                    "`{text}` is neither continue, exit, end nor a task of the same list ({names})"
                );
                self.problem(pointer, message);
                None
            }
        }
    }

    fn for_(&mut self, task: &Object, value: &Value, pointer: &str) -> Option<Kind> {
        let at_for = at(pointer, "for");
        let map = self.object(value, &at_for, "`for`")?;
        self.only(map, &at_for, "`for`", &["each", "in", "at"]);
        let each = self.variable(map.get("each"), "item", &at(&at_for, "each"));
        let at_name = self.variable(map.get("at"), "index", &at(&at_for, "at"));
        if each == at_name {
            self.problem(at_for.clone(), format!("`each` and `at` are both {each}"));
        }
        let variables = self.variables(&[]);
        let items = match map.get("in") {
            Some(items) => self.expression(items, &at(&at_for, "in"), &variables),
            None => {
                self.problem(at(&at_for, "in"), "`in` is missing: the list to go over");
                None
            }
        };
        self.scope.extend([each.clone(), at_name.clone()]);
        let variables = self.variables(&[]);
        let condition = task
            .get("while")
            .and_then(|value| self.expression(value, &at(pointer, "while"), &variables));
        let body = match task.get("do") {
            Some(tasks) => self.list(tasks, pointer, &at(pointer, "do")),
            None => {
                self.problem(at(pointer, "do"), "`do` is missing: the tasks of the loop");
                Vec::new()
            }
        };
        self.scope.truncate(self.scope.len().saturating_sub(2));
        Some(Kind::For(For { each, at: at_name, items: items?, condition, body }))
    }

    /// The name of a variable, with its dollar sign.
    pub(super) fn variable(
        &mut self,
        value: Option<&Value>,
        default: &str,
        pointer: &str,
    ) -> String {
        let name = match value {
            None => default,
            Some(value) => self.text(value, pointer, "a variable's name").unwrap_or(default),
        };
        let name = name.strip_prefix('$').unwrap_or(name);
        let mut characters = name.chars();
        let first = characters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
        if !first
            || !characters.all(|c| c.is_ascii_alphanumeric() || c == '_')
            || name.starts_with("__")
        {
            let message = format!("`{name}` is not a variable's name such as item_1");
            self.problem(pointer, message);
        }
        let variable = format!("${name}");
        if super::TASK_VARIABLES.contains(&variable.as_str()) || variable == "$output" {
            self.problem(
                pointer,
                format!("{variable} is a variable of the runtime; choose another"),
            );
        }
        variable
    }

    fn fork(&mut self, value: &Value, pointer: &str) -> Option<Kind> {
        let at_fork = at(pointer, "fork");
        let map = self.object(value, &at_fork, "`fork`")?;
        self.only(map, &at_fork, "`fork`", &["branches", "compete"]);
        let compete = match map.get("compete") {
            None => false,
            Some(Value::Bool(compete)) => *compete,
            Some(other) => {
                let message = format!("`compete` must be true or false, not {}", is(other));
                self.problem(at(&at_fork, "compete"), message);
                false
            }
        };
        let at_branches = at(&at_fork, "branches");
        let Some(branches) = map.get("branches") else {
            self.problem(at_branches, "`branches` is missing: the tasks to run side by side");
            return None;
        };
        let count = branches.as_array().map_or(0, Vec::len);
        if count > limits::BRANCHES {
            let message = format!("there are {count} branches, {} at most", limits::BRANCHES);
            self.problem(at_branches, message);
            return None;
        }
        Some(Kind::Fork { branches: self.list(branches, pointer, &at_branches), compete })
    }
}

/// Where a task stands.
pub(super) struct Place<'a> {
    /// Pointer of the task around it; empty for the workflow.
    pub(super) owner: &'a str,
    pub(super) pointer: String,
    pub(super) name: &'a str,
    pub(super) position: usize,
    /// Names of all tasks of its list.
    pub(super) names: &'a [&'a str],
}

impl Place<'_> {
    fn is_branch(&self) -> bool {
        let inside = self.pointer.strip_prefix(self.owner).unwrap_or_default();
        inside.starts_with("/fork/branches/")
    }
}

/// The entry of a map that has exactly one.
pub(super) fn single(item: &Value) -> Option<(&str, &Value)> {
    let map = item.as_object().filter(|map| map.len() == 1)?;
    map.iter().next().map(|(name, value)| (name.as_str(), value))
}
