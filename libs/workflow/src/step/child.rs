//! Workflows that tasks run.

use serde_json::Value;

use super::arguments::Scope;
use super::{Machine, Move};
use crate::execution::Detail;
use crate::expression::Template;
use crate::model::{Child, Kind, Node};
use crate::{Error, ErrorType, Fact, limits};

impl Machine<'_> {
    /// Starts another workflow.
    pub(super) fn run_child(
        &mut self,
        run: usize,
        task: &Node,
        child: &Child,
    ) -> Result<(), Error> {
        let depth = self.state.parent.as_ref().map_or(0, |parent| parent.depth);
        if depth >= limits::WORKFLOW_DEPTH {
            let detail = format!(
                "workflows run workflows more than {} deep; this one would be one too many",
                limits::WORKFLOW_DEPTH
            );
            return Err(Error::new(ErrorType::Runtime, detail));
        }
        let input = self.data(run);
        let scope = Scope::of(self, run);
        let text = |template: &Template, what: &str| match template.evaluate(&input, &scope)? {
            Value::String(text) if !text.is_empty() => Ok(text),
            other => {
                let detail = format!("the {what} of a workflow to run is {other:.100}, no name");
                Err(Error::new(ErrorType::Expression, detail))
            }
        };
        let fact = Fact::ChildRequested {
            task: self.key(run),
            // A function of the default catalog is found by its name alone.
            namespace: match child.is_called {
                true => String::new(),
                false => text(&child.namespace, "namespace")?,
            },
            name: text(&child.name, "name")?,
            version: text(&child.version, "version")?,
            input: match &child.input {
                Some(template) => template.evaluate(&input, &scope)?,
                None => Value::Null,
            },
            wait: child.wait,
        };
        if let Fact::ChildRequested { input, .. } = &fact {
            super::bounds::check_outgoing(input, "the input of the workflow to run")?;
            super::call::no_secrets(input, "the data for the workflow to run")?;
        }
        self.emit(fact);
        if !child.wait {
            self.later(Move::Finish { run, output: input, then: task.then.clone() });
        }
        Ok(())
    }

    /// Whether a run waits for the end of a workflow that it started.
    pub(super) fn waits_for_child(&self, run: usize) -> bool {
        *self.detail(run) == Detail::Call
            && self.with_node(run, |node| matches!(node.kind, Kind::Child(_))) == Some(true)
    }
}
