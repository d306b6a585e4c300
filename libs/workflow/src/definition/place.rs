//! Where in the document a run of a task has its task.

use super::Definition;
use crate::model::Node;

/// How many ways of reading a key are tried: names of tasks may look like parts of keys.
const TRIES: usize = 50_000;

impl Definition {
    /// The pointer in the document of the task that a run with this key runs. For a key that no run
    /// of this definition has it means nothing, and mostly is `None`.
    pub fn pointer_of(&self, task: &str) -> Option<&str> {
        let mut tries = TRIES;
        self.place(task, "", &mut tries).map(|node| node.pointer.as_str())
    }

    /// The task at the end of what is left of a key, inside of a task.
    fn place(&self, rest: &str, around: &str, tries: &mut usize) -> Option<&Node> {
        let rest = after_index(rest);
        let mut candidates: Vec<(&Node, &str)> = Vec::new();
        for node in &self.model().nodes {
            *tries = tries.checked_sub(1)?;
            if let Some(behind) = rest.strip_prefix(node.step.as_str()) {
                candidates.push((node, after_attempt(behind)));
            }
        }
        // What a task has inside stands right below it, but for functions and extensions.
        candidates.sort_by_key(|(node, _)| {
            let below = node.pointer.strip_prefix(around);
            (!below.is_some_and(|below| below.starts_with('/')), node.pointer.len())
        });
        for (node, behind) in candidates {
            if behind.is_empty() {
                return Some(node);
            }
            if behind.starts_with(['/', '['])
                && let Some(found) = self.place(behind, &node.pointer, tries)
            {
                return Some(found);
            }
        }
        None
    }
}

/// Without the index of an iteration: `[3]/do/0/a` is `/do/0/a`.
fn after_index(text: &str) -> &str {
    let inside = text.strip_prefix('[').and_then(|text| text.split_once(']'));
    match inside {
        Some((index, behind)) if is_number(index) => behind,
        _ => text,
    }
}

/// Without the number of an attempt: `@2/do/0/a` is `/do/0/a`.
fn after_attempt(text: &str) -> &str {
    let Some(behind) = text.strip_prefix('@') else { return text };
    let end = behind.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(behind.len());
    match behind.split_at_checked(end) {
        Some((number, behind)) if is_number(number) => behind,
        _ => text,
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}
