//! Ending tasks and the execution.

use std::sync::Arc;

use serde_json::Value;

use super::arguments::Scope;
use super::bounds::{check_outgoing, short};
use super::{Machine, Move};
use crate::execution::Detail;
use crate::model::{Kind, NodeId, Then};
use crate::{Error, Fact};

impl Machine<'_> {
    /// Ends a run well: output, export, and on to what follows.
    pub(super) fn finish(&mut self, run: usize, raw: &Arc<Value>, then: &Then) {
        let Some(node) = self.get(run).and_then(|run| run.node) else { return };
        match self.transformed(run, node, raw) {
            Err(error) => self.fault(run, error),
            Ok((output, context)) => {
                let task = self.key(run);
                if let Some(context) = context {
                    self.emit(Fact::ContextSet { task: task.clone(), context });
                }
                match self.extended_after(run, raw, &output, then) {
                    Err(error) => self.fault(run, error),
                    Ok(true) => {}
                    Ok(false) => self.close(run, node, &output, then),
                }
            }
        }
    }

    /// Ends a run whose output is what goes on from it.
    pub(super) fn close(&mut self, run: usize, node: NodeId, output: &Arc<Value>, then: &Then) {
        self.cancel_timers(run);
        let (task, parent, data) = (self.key(run), self.parent(run), self.data(run));
        let held = Arc::ptr_eq(output, &data) || **output == *data;
        let kept = (!held).then(|| output.as_ref().clone());
        let then_fact = then.directive();
        self.emit(Fact::TaskCompleted { task, output: kept, then: then_fact, at: self.now });
        if self.with_node(run, |node| node.is_extension) == Some(true) && *then != Then::End {
            return self.extension_ended(parent, node, output, *then == Then::Exit);
        }
        self.next(parent, node, then);
    }

    /// A task's output after `output.as`, and the new context if it exports one.
    fn transformed(
        &self,
        run: usize,
        node: NodeId,
        raw: &Arc<Value>,
    ) -> Result<(Arc<Value>, Option<Value>), Error> {
        let definition = &self.state.definition;
        let Some(task) = definition.node(node) else { return Ok((raw.clone(), None)) };
        let output = match &task.output.template {
            None => raw.clone(),
            Some(template) => {
                let scope = Scope::of(self, run).with_output(raw).with_raw_output(raw);
                Arc::new(template.evaluate(raw, &scope)?)
            }
        };
        self.check_schema(task.output.schema.as_ref(), &output, "the task's output")?;
        let context = match &task.export.template {
            None => None,
            Some(template) => {
                let scope = Scope::of(self, run).with_output(&output).with_raw_output(raw);
                Some(template.evaluate(&output, &scope)?)
            }
        };
        let exported = context.as_ref().unwrap_or(&self.state.context);
        self.check_schema(task.export.schema.as_ref(), exported, "the exported context")?;
        Ok((output, context))
    }

    /// Goes where a task that ended (or was skipped) leads.
    pub(super) fn next(&mut self, parent: usize, node: NodeId, then: &Then) {
        if *then == Then::End {
            let output = self.ended_output(parent, node);
            return self.end(parent, output);
        }
        if let Detail::Fork { .. } = self.detail(parent) {
            return self.branch_ended(parent, node);
        }
        let list = self.list(parent);
        let position = self.state.definition.node(node).map_or(0, |node| node.position);
        let following = match then {
            Then::Continue => list.get(position + 1),
            Then::Task { position, .. } => list.get(*position),
            Then::Exit | Then::End => None,
        };
        match following.copied() {
            Some(node) => self.later(Move::Enter { parent, node }),
            None => self.list_ended(parent, *then == Then::Exit),
        }
    }

    fn list_ended(&mut self, run: usize, exit: bool) {
        if run == 0 {
            return self.complete();
        }
        if !exit && matches!(self.detail(run), Detail::Loop { .. }) {
            return self.later(Move::Iterate { run });
        }
        if matches!(self.detail(run), Detail::Listen(_)) {
            return self.item_ended(run, exit);
        }
        let then = match self.with_node(run, |node| (node.is_extension, node.then.clone())) {
            // It tells the task that it extends to end as well.
            Some((true, _)) if exit => Then::Exit,
            Some((_, then)) => then,
            None => Then::Continue,
        };
        let output = self.data(run);
        self.later(Move::Finish { run, output, then });
    }

    fn branch_ended(&mut self, fork: usize, node: NodeId) {
        let Some((compete, then)) = self.with_node(fork, |node| {
            (matches!(node.kind, Kind::Fork { compete: true, .. }), node.then.clone())
        }) else {
            return;
        };
        let Detail::Fork { outputs, won, .. } = self.detail(fork) else { return };
        let output = if compete {
            let position = self.state.definition.node(node).map_or(0, |node| node.position);
            let output = outputs.get(position).cloned().flatten().unwrap_or_default();
            self.cancel_inside(fork);
            output
        } else if *won < outputs.len() {
            return;
        } else {
            Arc::new(outputs.iter().flatten().map(|output| output.as_ref().clone()).collect())
        };
        self.later(Move::Finish { run: fork, output, then });
    }

    /// The output of the task with which `then: end` ends the workflow.
    fn ended_output(&self, parent: usize, node: NodeId) -> Arc<Value> {
        let position = self.state.definition.node(node).map_or(0, |node| node.position);
        match self.detail(parent) {
            Detail::Fork { outputs, .. } => {
                outputs.get(position).cloned().flatten().unwrap_or_default()
            }
            _ => self.data(parent),
        }
    }

    /// Ends the workflow from inside `run`: the tasks around it end well, all others are stopped.
    fn end(&mut self, run: usize, output: Arc<Value>) {
        let mut around = run;
        while around != 0 {
            self.cancel_inside(around);
            self.cancel_timers(around);
            let value = Some(output.as_ref().clone());
            let (task, then) = (self.key(around), Then::End.directive());
            self.emit(Fact::TaskCompleted { task, output: value, then, at: self.now });
            around = self.parent(around);
        }
        self.cancel_inside(0);
        self.complete_with(&output);
    }

    /// Ends the workflow with what its last task left.
    pub(super) fn complete(&mut self) {
        let output = self.data(0);
        self.complete_with(&output);
    }

    fn complete_with(&mut self, raw: &Arc<Value>) {
        let definition = self.state.definition.clone();
        let model = definition.model();
        let output = match &model.output.template {
            None => Ok(raw.as_ref().clone()),
            Some(template) => {
                let scope = Scope::of(self, 0).with_output(raw);
                template.evaluate(raw, &scope)
            }
        };
        let checked = output.and_then(|output| {
            let schema = model.output.schema.as_ref();
            self.check_schema(schema, &output, "the workflow's output")?;
            check_outgoing(&output, "the workflow's output").map(|()| output)
        });
        match checked {
            Ok(output) => {
                self.cancel_timers(0);
                self.emit(Fact::ExecutionCompleted { output, at: self.now });
            }
            Err(error) => self.fail(error.or_instance("/output")),
        }
    }

    /// Ends the workflow with an error that nothing can catch.
    pub(super) fn fail(&mut self, error: Error) {
        self.cancel_inside(0);
        self.cancel_timers(0);
        let error = short(error);
        self.emit(Fact::ExecutionFaulted { error, at: self.now });
    }

    /// Stops everything that is under way inside a run.
    pub(super) fn cancel_inside(&mut self, run: usize) {
        // The innermost first: they began last.
        for other in self.inside(run).into_iter().rev() {
            self.cancel_call(other);
            self.cancel_timers(other);
            self.emit(Fact::TaskCancelled { task: self.key(other), at: self.now });
        }
    }

    /// The runs under way inside a run, at any depth, in the order in which they began.
    pub(super) fn inside(&self, run: usize) -> Vec<usize> {
        let (mut found, mut open) = (Vec::new(), vec![run]);
        while let Some(around) = open.pop() {
            let Some(live) = self.live(around) else { continue };
            found.extend(&live.inside);
            open.extend(&live.inside);
        }
        found.sort_unstable();
        found
    }

    pub(super) fn cancel_call(&mut self, run: usize) {
        if self.waits_for_child(run) {
            self.emit(Fact::ChildCancelled { task: self.key(run) });
        } else if *self.detail(run) == Detail::Call {
            self.emit(Fact::CallCancelled { task: self.key(run) });
        }
    }

    /// Its timers, and what it listens for.
    pub(super) fn cancel_timers(&mut self, run: usize) {
        self.stop_listening(run, false);
        let timers = self.live(run).map(|live| live.timers.clone()).unwrap_or_default();
        for timer in timers {
            self.emit(Fact::TimerCancelled { timer });
        }
    }
}
