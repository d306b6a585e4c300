//! Functions of the document, and extensions: tasks before and after others.

use std::sync::Arc;

use serde_json::Value;

use super::arguments::Scope;
use super::{Machine, Move};
use crate::execution::Detail;
use crate::model::{Extension, Node, NodeId, Then};
use crate::{Error, ErrorType, Fact};

impl Machine<'_> {
    /// Gives a function its arguments.
    pub(super) fn call_function(
        &mut self,
        run: usize,
        arguments: Option<Value>,
        there: bool,
    ) -> Result<(), Error> {
        if !there {
            let detail = "the function was not fetched when the workflow was registered";
            return Err(Error::new(ErrorType::Configuration, detail));
        }
        if let Some(arguments) = arguments {
            self.emit(Fact::FunctionCalled { task: self.key(run), arguments });
        }
        Ok(())
    }

    /// The tasks of the first extension, from the `from`th on, that applies to a task.
    pub(super) fn extension(
        &self,
        run: usize,
        task: &Node,
        from: usize,
        side: fn(&Extension) -> Option<NodeId>,
    ) -> Result<Option<NodeId>, Error> {
        if task.extensions.is_empty() || self.extended_by(run).is_some() {
            return Ok(None);
        }
        let extensions = &self.state.definition.model().extensions;
        let input = self.live(run).map(|live| live.input.clone()).unwrap_or_default();
        for extension in task.extensions.iter().skip(from).filter_map(|at| extensions.get(*at)) {
            let Some(node) = side(extension) else { continue };
            let applies = extension.when.as_ref().map_or(Ok(true), |when| {
                let scope = match self.detail(run) {
                    Detail::Extended { raw, .. } => Scope::of(self, run).with_raw_output(raw),
                    _ => Scope::of(self, run),
                };
                when.test(&input, &scope)
            })?;
            if applies {
                return Ok(Some(node));
            }
        }
        Ok(None)
    }

    /// Whether extensions run after a task that has its output; they are begun then.
    pub(super) fn extended_after(
        &mut self,
        run: usize,
        raw: &Arc<Value>,
        output: &Arc<Value>,
        then: &Then,
    ) -> Result<bool, Error> {
        let definition = self.state.definition.clone();
        let node = self.get(run).and_then(|run| run.node).and_then(|node| definition.node(node));
        let Some(task) = node.filter(|node| !node.extensions.is_empty()) else { return Ok(false) };
        let Some(node) = self.extension(run, task, 0, |extension| extension.after)? else {
            return Ok(false);
        };
        let held = **output == *self.data(run);
        self.emit(Fact::TaskExtended {
            task: self.key(run),
            raw: (raw != output).then(|| raw.as_ref().clone()),
            output: (!held).then(|| output.as_ref().clone()),
            then: then.directive(),
        });
        self.later(Move::Enter { parent: run, node });
        Ok(true)
    }

    /// The tasks of an extension have ended: those of the next one, the task itself, or its end.
    pub(super) fn extension_ended(
        &mut self,
        run: usize,
        node: NodeId,
        output: &Arc<Value>,
        exit: bool,
    ) {
        let definition = self.state.definition.clone();
        let id = self.get(run).and_then(|run| run.node);
        let (Some(id), Some(task)) = (id, id.and_then(|id| definition.node(id))) else { return };
        let then = match self.detail(run) {
            Detail::Extended { then, .. } => Some(self.directive(run, then.as_deref())),
            _ => None,
        };
        match (then, exit) {
            (Some(then), true) => self.close(run, id, output, &then),
            (None, true) => {
                let (output, then) = (output.clone(), task.then.clone());
                self.later(Move::Finish { run, output, then });
            }
            (then, false) => {
                let side: fn(&Extension) -> Option<NodeId> =
                    if then.is_some() { |it| it.after } else { |it| it.before };
                let extensions = &definition.model().extensions;
                let mut own = task.extensions.iter().map(|at| extensions.get(*at).and_then(side));
                let next =
                    own.position(|known| known == Some(node)).map_or(usize::MAX, |at| at + 1);
                match self.extension(run, task, next, side) {
                    Ok(Some(node)) => self.later(Move::Enter { parent: run, node }),
                    Ok(None) => self.after_extensions(run, id, then),
                    Err(error) => self.later(Move::Fault { run, error }),
                }
            }
        }
    }

    /// No more extensions on this side of a task: it is done, or it ends as `then` says.
    fn after_extensions(&mut self, run: usize, id: NodeId, then: Option<Then>) {
        if let Some(then) = then {
            let output = self.data(run);
            return self.close(run, id, &output, &then);
        }
        let definition = self.state.definition.clone();
        let Some(task) = definition.node(id) else { return };
        if let Err(error) = self.act(run, task, &definition) {
            self.later(Move::Fault { run, error });
        }
    }

    /// The directive that a fact recorded of a task.
    fn directive(&self, run: usize, then: Option<&str>) -> Then {
        match then {
            None => Then::Continue,
            Some("exit") => Then::Exit,
            Some("end") => Then::End,
            Some(name) => {
                let list = self.list(self.parent(run)).iter();
                let mut nodes = list.filter_map(|node| self.state.definition.node(*node));
                nodes.find(|node| node.name == name).map_or(Then::Continue, |node| Then::Task {
                    position: node.position,
                    name: name.to_owned(),
                })
            }
        }
    }

    /// The run of the task that an extension extends, where a run belongs to the extension.
    pub(super) fn extended_by(&self, mut run: usize) -> Option<usize> {
        while run != 0 {
            let parent = self.parent(run);
            if self.with_node(run, |node| node.is_extension) == Some(true) {
                return Some(parent);
            }
            run = parent;
        }
        None
    }

    /// Whether a run stands for the tasks of an extension: its errors are none of the task's own.
    pub(super) fn is_extension(&self, run: usize) -> bool {
        self.with_node(run, |node| node.is_extension) == Some(true)
    }
}
