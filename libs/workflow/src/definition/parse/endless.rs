//! Lists of tasks that would go round for ever.

use super::{Parser, at};
use crate::model::{Kind, NodeId, Then};

impl Parser<'_> {
    /// Refuses a list whose flow certainly comes back to where it was, with nothing on the way
    /// that waits, decides or ends. Where it is not certain, the limits of an execution end it.
    pub(super) fn not_endless(&mut self, list: &[NodeId]) {
        let extended = self.reusable.is_some_and(|reusable| reusable.contains_key("extensions"));
        // What extends a task may wait.
        let back = if extended { None } else { self.way_back(list) };
        let Some((from, to)) = back else { return };
        let (Some(from), Some(to)) = (self.nodes.get(from), self.nodes.get(to)) else { return };
        let message = format!(
            "the flow comes back to `{}` for ever: nothing on the way waits, decides or ends",
            to.name
        );
        let pointer = at(&from.pointer, "then");
        self.problem(pointer, message);
    }

    /// The task that leads back, and the one that it leads to.
    fn way_back(&self, list: &[NodeId]) -> Option<(NodeId, NodeId)> {
        let mut seen = vec![false; list.len()];
        let (mut position, mut before) = (0, *list.first()?);
        loop {
            let id = *list.get(position)?;
            if std::mem::replace(seen.get_mut(position)?, true) {
                return Some((before, id));
            }
            before = id;
            position = match self.certain(id)? {
                Then::Continue => position + 1,
                Then::Task { position, .. } => *position,
                Then::Exit | Then::End => return None,
            };
        }
    }

    /// Where the flow certainly goes after a task that certainly runs and ends at once.
    fn certain(&self, id: NodeId) -> Option<&Then> {
        let node = self.nodes.get(id)?;
        if node.condition.is_some() {
            return None;
        }
        match &node.kind {
            Kind::Set(_) | Kind::Emit(_) => Some(&node.then),
            Kind::Do(tasks) => {
                let ends = |id: &NodeId| !matches!(self.certain(*id), None | Some(Then::End));
                tasks.iter().all(ends).then_some(&node.then)
            }
            Kind::Switch(cases) => match cases.as_slice() {
                [only] if only.when.is_none() => Some(&only.then),
                _ => None,
            },
            Kind::For(_)
            | Kind::Fork { .. }
            | Kind::Try(_)
            | Kind::Raise(_)
            | Kind::Wait(_)
            | Kind::Call { .. }
            | Kind::Function { .. }
            | Kind::Child(_)
            | Kind::Listen(_) => None,
        }
    }
}
