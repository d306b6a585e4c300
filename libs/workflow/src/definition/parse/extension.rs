//! Extensions: tasks that run before and after others.

use serde_json::Value;

use super::task::single;
use super::{Object, Parser, at, is};
use crate::limits;
use crate::model::{Extension, Kind, Node, NodeId};

/// What an extension may extend: the types of tasks, `composite` for those that hold tasks, `all`.
const TARGETS: [&str; 12] = [
    "all",
    "call",
    "composite",
    "emit",
    "for",
    "listen",
    "raise",
    "run",
    "set",
    "switch",
    "try",
    "wait",
];

impl Parser<'_> {
    /// Parses the extensions of `use`.
    pub(super) fn extensions(&mut self, value: &Value) {
        let Some(items) = value.as_array() else {
            let message = format!("`extensions` must be a list, not {}", is(value));
            return self.problem("/use/extensions", message);
        };
        if items.len() > limits::EXTENSIONS {
            let (count, limit) = (items.len(), limits::EXTENSIONS);
            return self.problem("/use/extensions", format!("there are {count}, {limit} at most"));
        }
        for (index, item) in items.iter().enumerate() {
            let pointer = format!("/use/extensions/{index}");
            let Some((name, extension)) = single(item) else {
                let message = format!(
                    "must be a map from one extension's name to the extension, not {}",
                    is(item)
                );
                self.problem(pointer, message);
                continue;
            };
            let pointer = at(&pointer, name);
            let Some(map) = self.object(extension, &pointer, "an extension") else { continue };
            if let Some(extension) = self.extension(map, name, &pointer) {
                self.extensions.push(extension);
            }
        }
    }

    fn extension(&mut self, map: &Object, name: &str, pointer: &str) -> Option<Extension> {
        self.only(map, pointer, "an extension", &["extend", "when", "before", "after"]);
        let at_extend = at(pointer, "extend");
        let target = match map.get("extend") {
            None => {
                let message = format!("`extend` is missing: one of {}", TARGETS.join(", "));
                self.problem(at_extend, message);
                return None;
            }
            Some(value) => self.text(value, &at_extend, "`extend`")?,
        };
        let Some(target) = TARGETS.iter().find(|known| **known == target) else {
            let message = format!("`{target}` cannot be extended; {} can", TARGETS.join(", "));
            self.problem(at_extend, message);
            return None;
        };
        let variables = self.variables(&[]);
        let when =
            map.get("when").map(|value| self.expression(value, &at(pointer, "when"), &variables));
        self.extending = true;
        let before = map.get("before").map(|tasks| self.woven(tasks, name, &at(pointer, "before")));
        let after = map.get("after").map(|tasks| self.woven(tasks, name, &at(pointer, "after")));
        self.extending = false;
        let when = match when {
            Some(when) => Some(when?),
            None => None,
        };
        Some(Extension { target, when, before, after })
    }

    /// The tasks of an extension, as one task that all that it extends share.
    fn woven(&mut self, tasks: &Value, name: &str, pointer: &str) -> NodeId {
        let id = self.nodes.len();
        self.nodes.push(Node::around(pointer, name));
        let tasks = self.list(tasks, pointer, pointer);
        if let Some(node) = self.nodes.get_mut(id) {
            node.kind = Kind::Do(tasks);
        }
        id
    }

    /// Says of each task which extensions extend it; those of extensions are not extended.
    pub(super) fn weave(&mut self) {
        for node in self.nodes.iter_mut().filter(|node| node.extendable) {
            let kind = node.kind.name();
            let fits = |target: &str| match target {
                "all" => true,
                "composite" => matches!(kind, "do" | "fork"),
                target => target == kind,
            };
            let all = self.extensions.iter().enumerate();
            node.extensions = all
                .filter(|(_, extension)| fits(extension.target))
                .map(|(index, _)| index)
                .collect();
        }
    }
}
