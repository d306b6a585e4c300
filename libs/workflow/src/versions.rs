//! What another version of a definition would have changed for an execution, as far as it has come.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::pointer::escape;
use crate::{Definition, Fact};

/// One thing that would have been different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The transition in which it would have shown first, counted from 1.
    pub position: u64,
    /// Key of the run of the task; empty where it is about the workflow or a task that did not run.
    pub task: String,
    /// Where it stands: in the execution's own definition, and for what is new in the other one.
    pub pointer: String,
    /// What kind of difference.
    pub change: Change,
    /// The same in words.
    pub message: String,
}

/// How a definition differs from the one that an execution is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// A task that has begun is not there.
    Missing,
    /// A task that has begun stands on the other side of another one that has.
    Moved,
    /// A task that has begun, or what it uses, is another one.
    Changed,
    /// A task stands where the execution has come past, and would have run.
    Inserted,
}

impl Change {
    /// The word for programs.
    pub fn name(self) -> &'static str {
        match self {
            Change::Missing => "missing",
            Change::Moved => "moved",
            Change::Changed => "changed",
            Change::Inserted => "inserted",
        }
    }
}

/// What would have been different for an execution on `own` if it had run on `other`: the facts of
/// its transitions are followed through both documents. None: every task that has begun is the same
/// there, in the same order and with nothing new between, so that the engine, which is a function
/// of definition and inputs, would have come to where it stands.
pub fn differences<'f>(
    own: &Definition,
    other: &Definition,
    transitions: impl IntoIterator<Item = &'f [Fact]>,
) -> Vec<Difference> {
    if own.digest() == other.digest() {
        return Vec::new();
    }
    let mut comparison = Comparison::new(own.document(), other.document());
    for (index, facts) in transitions.into_iter().enumerate() {
        facts.iter().for_each(|fact| comparison.note(index as u64 + 1, fact));
    }
    comparison.end()
}

struct Comparison<'d> {
    own: &'d Value,
    other: &'d Value,
    /// Where each task that has begun stands in both documents, by its key.
    places: HashMap<String, (String, Option<String>)>,
    /// Pointers that have been looked at.
    seen: BTreeSet<String>,
    /// Of each list of tasks that was entered, by its pointer.
    lists: BTreeMap<String, List>,
    /// Texts in the tasks that have begun: they may be names in `use`.
    texts: BTreeSet<&'d str>,
    found: Vec<Difference>,
}

/// A list of tasks, as far as it was gone through.
#[derive(Default)]
struct List {
    /// Its pointer in the other document.
    other: Option<String>,
    /// Name, index here, index there, key and position of each task that has begun.
    begun: Vec<Begun>,
}

#[derive(Clone)]
struct Begun {
    index: usize,
    there: usize,
    task: String,
    pointer: String,
    position: u64,
}

impl<'d> Comparison<'d> {
    fn new(own: &'d Value, other: &'d Value) -> Comparison<'d> {
        let places = HashMap::from([(String::new(), (String::new(), Some(String::new())))]);
        Comparison {
            own,
            other,
            places,
            seen: BTreeSet::new(),
            lists: BTreeMap::new(),
            texts: BTreeSet::new(),
            found: Vec::new(),
        }
    }

    fn note(&mut self, position: u64, fact: &Fact) {
        match fact {
            Fact::ExecutionStarted { .. } => self.workflow(position),
            Fact::TaskStarted { task, pointer, name, parent, .. }
            | Fact::TaskSkipped { task, pointer, name, parent, .. } => {
                self.begun(position, task, pointer, (name, parent));
            }
            _ => {}
        }
    }

    /// The parts that every execution has read.
    fn workflow(&mut self, position: u64) {
        for key in ["input", "timeout", "evaluate"] {
            if self.own.get(key) != self.other.get(key) {
                let message = format!("the workflow's `{key}` is another one");
                self.add(position, "", format!("/{key}"), (Change::Changed, message));
            }
        }
    }

    fn begun(&mut self, position: u64, task: &str, pointer: &str, (name, parent): (&str, &str)) {
        if pointer.starts_with("/use/") {
            // What stands there is compared as a whole, where something that has begun names it.
            if let Some(own) = self.own.pointer(pointer) {
                texts(own, &mut self.texts);
            }
            return;
        }
        let around = self.places.get(parent).cloned().unwrap_or_default();
        let Some((list, index)) = list_of(pointer) else { return };
        let list_there = around
            .1
            .and_then(|there| Some(format!("{there}{}", list.strip_prefix(around.0.as_str())?)));
        let tasks = list_there.as_deref().and_then(|list| self.other.pointer(list));
        let there = tasks.and_then(|tasks| find(tasks, name, index));
        let place = there
            .and_then(|index| Some(format!("{}/{index}/{}", list_there.as_ref()?, escape(name))));
        self.places.insert(task.to_owned(), (pointer.to_owned(), place.clone()));
        if !self.seen.insert(pointer.to_owned()) {
            return;
        }
        let entry = self.lists.entry(list.to_owned()).or_default();
        entry.other.clone_from(&list_there);
        match (there, place) {
            (Some(there), Some(place)) => {
                let (task, pointer) = (task.to_owned(), pointer.to_owned());
                entry.begun.push(Begun {
                    index,
                    there,
                    task: task.clone(),
                    pointer: pointer.clone(),
                    position,
                });
                self.compare(position, &task, &pointer, &place);
            }
            _ => {
                // What is inside of a missing task is missing with it.
                if list_there.is_some() {
                    let message = format!("the task `{name}` is not there");
                    self.add(position, task, pointer.to_owned(), (Change::Missing, message));
                }
            }
        }
    }

    fn compare(&mut self, position: u64, task: &str, pointer: &str, place: &str) {
        let (Some(own), Some(other)) = (self.own.pointer(pointer), self.other.pointer(place))
        else {
            return;
        };
        texts(own, &mut self.texts);
        let (own, other) = (without_tasks(own), without_tasks(other));
        let keys: BTreeSet<&String> = own.keys().chain(other.keys()).collect();
        let changed: Vec<String> = keys
            .into_iter()
            .filter(|key| key.as_str() != "metadata" && own.get(*key) != other.get(*key))
            .map(|key| format!("`{key}`"))
            .collect();
        if !changed.is_empty() {
            let verb = if changed.len() == 1 { "is another one" } else { "are other ones" };
            let message = format!("its {} {verb}", changed.join(", "));
            self.add(position, task, pointer.to_owned(), (Change::Changed, message));
        }
    }

    fn end(mut self) -> Vec<Difference> {
        for list in std::mem::take(&mut self.lists).into_values() {
            self.order(&list);
            self.inserted(&list);
        }
        self.reused();
        self.found.sort_by_key(|found| (found.position, found.change));
        self.found
    }

    /// Tasks that stand in another order.
    fn order(&mut self, list: &List) {
        let mut begun = list.begun.clone();
        begun.sort_by_key(|begun| begun.index);
        let mut furthest = None;
        for task in begun {
            if furthest.is_some_and(|furthest| task.there < furthest) {
                let message = "it stands before a task that it stood behind".to_owned();
                self.add(task.position, &task.task, task.pointer.clone(), (Change::Moved, message));
            }
            furthest = furthest.max(Some(task.there));
        }
    }

    /// Tasks that are new between those that have begun.
    fn inserted(&mut self, list: &List) {
        let Some(pointer) = &list.other else { return };
        let Some(Value::Array(tasks)) = self.other.pointer(pointer) else { return };
        let own: Vec<&str> = self.own_names(list);
        let mut new = Vec::new();
        for (index, name) in
            tasks.iter().enumerate().filter_map(|(index, task)| Some((index, name(task)?)))
        {
            // The first task behind it that has begun shows when it would have run.
            let behind = list.begun.iter().filter(|begun| begun.there > index);
            let behind = behind.map(|begun| begun.position).min();
            if let (Some(position), false) = (behind, own.contains(&name)) {
                new.push((position, format!("{pointer}/{index}/{}", escape(name)), name));
            }
        }
        for (position, pointer, name) in new {
            let message = format!("the task `{name}` is new, where the execution has come past");
            self.add(position, "", pointer, (Change::Inserted, message));
        }
    }

    fn own_names(&self, list: &List) -> Vec<&'d str> {
        let first = list.begun.first().and_then(|begun| list_of(&begun.pointer));
        let tasks = first.and_then(|(list, _)| self.own.pointer(list)).and_then(Value::as_array);
        tasks.into_iter().flatten().filter_map(name).collect()
    }

    /// What stands under `use` and is named in a task that has begun.
    fn reused(&mut self) {
        let sections = |document: &'d Value| document.get("use").and_then(Value::as_object);
        let (own, other) = (sections(self.own), sections(self.other));
        let entries = |of: Option<&'d Map<String, Value>>, section: &str| {
            of.and_then(|of| of.get(section)).and_then(Value::as_object)
        };
        let mut changed = Vec::new();
        for (section, named) in own.into_iter().flatten() {
            for (name, value) in named.as_object().into_iter().flatten() {
                let there = entries(other, section).and_then(|entries| entries.get(name));
                if there != Some(value) && self.names(name) {
                    changed.push((
                        format!("/use/{}/{}", escape(section), escape(name)),
                        there.is_some(),
                    ));
                }
            }
        }
        let extensions =
            |of: Option<&'d Map<String, Value>>| of.and_then(|of| of.get("extensions"));
        if extensions(own) != extensions(other) {
            let message = "the workflow's extensions, which are around its tasks, are other ones";
            self.add(1, "", "/use/extensions".to_owned(), (Change::Changed, message.to_owned()));
        }
        for (pointer, is_there) in changed {
            let what = if is_there { "is another one" } else { "is not there" };
            let message = format!("a task that has begun may use it, and it {what}");
            self.add(1, "", pointer, (Change::Changed, message));
        }
    }

    /// Whether something that has begun says this name; a function of a catalogue is said as
    /// `name:version@catalogue`.
    fn names(&self, name: &str) -> bool {
        let in_catalogue =
            |text: &&str| text.strip_suffix(name).is_some_and(|rest| rest.ends_with('@'));
        self.texts.contains(name) || self.texts.iter().any(in_catalogue)
    }

    fn add(
        &mut self,
        position: u64,
        task: &str,
        pointer: String,
        (change, message): (Change, String),
    ) {
        self.found.push(Difference { position, task: task.to_owned(), pointer, change, message });
    }
}

/// The pointer of the list that holds a task, and its index there.
fn list_of(pointer: &str) -> Option<(&str, usize)> {
    let (rest, _name) = pointer.rsplit_once('/')?;
    let (list, index) = rest.rsplit_once('/')?;
    Some((list, index.parse().ok()?))
}

/// The task of this name: at the same index if it is there.
fn find(tasks: &Value, wanted: &str, index: usize) -> Option<usize> {
    let tasks = tasks.as_array()?;
    let is = |task: &Value| name(task) == Some(wanted);
    if tasks.get(index).is_some_and(is) {
        return Some(index);
    }
    tasks.iter().position(is)
}

fn name(task: &Value) -> Option<&str> {
    task.as_object()?.keys().next().map(String::as_str)
}

/// A task without the tasks inside it, which are compared for themselves.
fn without_tasks(task: &Value) -> Map<String, Value> {
    let mut task = task.as_object().cloned().unwrap_or_default();
    for (key, inner) in [
        ("do", None),
        ("try", None),
        ("fork", Some("branches")),
        ("catch", Some("do")),
        ("foreach", Some("do")),
    ] {
        match (inner, task.get_mut(key)) {
            (Some(inner), Some(Value::Object(map))) => {
                map.remove(inner);
            }
            (None, Some(Value::Array(_))) => {
                task.remove(key);
            }
            _ => {}
        }
    }
    task
}

fn texts<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
    match value {
        Value::String(text) => {
            found.insert(text);
        }
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(map) => map.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}
