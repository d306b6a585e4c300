//! Consuming events: a `listen` task from its beginning to its end.
//!
//! What comes in is an item: an event, or a message of another source. Which items a task wants is
//! its strategy's; what happens to them (one after the other through `foreach`, then into the list
//! that is the output) is the same for all.

use std::sync::Arc;

use serde_json::Value;

use super::arguments::Scope;
use super::begin::length;
use super::{Machine, Move};
use crate::event::{Foreach, Listen, Until, expected};
use crate::execution::{Detail, Listening};
use crate::model::{Kind, Then};
use crate::size::size;
use crate::{Consumed, Error, ErrorType, Fact, Purpose, limits};

impl Machine<'_> {
    /// Begins to listen. Signals that came before are heard now.
    pub(super) fn listen(&mut self, run: usize, listen: &Listen) -> Result<(), Error> {
        let input = self.data(run);
        let correlations = expected(&listen.to, &input, &Scope::of(self, run))?;
        let interests = listen.to.interests();
        self.emit(Fact::ListeningStarted { task: self.key(run), interests, correlations });
        self.limit_listening(run, listen)?;
        if listen.is_called
            && let Some(Until::Condition(condition)) = &listen.to.until
            && condition.test(&Value::Array(Vec::new()), &Scope::of(self, run))?
        {
            self.listened_enough(run);
            return Ok(());
        }
        let Detail::Kept { signals } = self.detail(0) else { return Ok(()) };
        for (position, signal) in signals.clone() {
            self.offer(run, position, &signal);
        }
        Ok(())
    }

    /// Consumes for a time only, where the task says so.
    fn limit_listening(&mut self, run: usize, listen: &Listen) -> Result<(), Error> {
        if let Some(lasting) = &listen.lasting {
            let input = self.live(run).map(|live| live.input.clone()).unwrap_or_default();
            let length = length(lasting, &input, &Scope::of(self, run))?;
            self.set_timer(run, Purpose::Listen, length);
        }
        Ok(())
    }

    /// Wants nothing more; what waits for its turn still has it.
    pub(super) fn listened_enough(&mut self, run: usize) {
        self.stop_listening(run, false);
        self.later(Move::Iterate { run });
    }

    /// An event for one listening task, or for all of them.
    pub(super) fn heard(&mut self, task: Option<&str>, position: u64, event: &Value) {
        if size(event) > limits::VALUE_SIZE {
            return;
        }
        if let Some(task) = task {
            if let Some(run) = self.state.find(task) {
                self.offer(run, position, event);
            }
            return;
        }
        // A signal: all that listen may hear it, and where nobody does it is kept.
        let mut taken = false;
        for run in self.inside(0) {
            taken |= self.offer(run, position, event);
        }
        let kept = match self.detail(0) {
            Detail::Kept { signals } => signals.len(),
            _ => 0,
        };
        if !taken && kept < limits::KEPT_SIGNALS {
            self.emit(Fact::SignalKept { position, event: event.clone() });
        }
    }

    /// Offers an event to a run that listens; true where it takes it.
    fn offer(&mut self, run: usize, position: u64, event: &Value) -> bool {
        let definition = self.state.definition.clone();
        let Some(Kind::Listen(listen)) = definition.kind(self.get(run).and_then(|run| run.node))
        else {
            return false;
        };
        let Detail::Listen(listening) = self.detail(run) else { return false };
        if listening.closed {
            return false;
        }
        let all = self.steps.get();
        let means = all.min(limits::FILTER_STEPS + size(event) / 32);
        self.steps.set(means);
        let taken = listen.to.take(&listening.progress, event, &Scope::of(self, run));
        self.steps.set(all - means + self.steps.get());
        let Some(taken) = taken else { return false };
        let item = if taken.until { Value::Null } else { listen.read.of(event) };
        let consumed = Consumed {
            position,
            filter: taken.filter,
            until: taken.until,
            correlations: taken.correlations,
            waits: !taken.until && listen.foreach.is_some(),
            item,
        };
        self.emit(Fact::EventConsumed { task: self.key(run), consumed });
        self.go_on(run, listen);
        true
    }

    /// Goes on after an item was consumed or finished: asks whether that was enough, begins with
    /// the next item, or ends the task.
    pub(super) fn go_on(&mut self, run: usize, listen: &Listen) {
        let Detail::Listen(listening) = self.detail(run) else { return };
        if listening.count > limits::ITERATIONS {
            let limit = limits::ITERATIONS;
            let detail = format!("the task has consumed more than {limit} events");
            let error = Error::new(ErrorType::Runtime, detail);
            return self.later(Move::Fault { run, error });
        }
        let results = listening.results.len();
        let done = listening.progress.is_done(&listen.to);
        let idle = listening.current.is_none();
        match &listen.to.until {
            _ if done => self.stop_listening(run, false),
            Some(Until::Amount(amount)) if listening.count >= *amount => {
                self.stop_listening(run, false);
            }
            Some(until @ (Until::Condition(condition) | Until::Unless(condition)))
                if results > 0 && idle =>
            {
                let ends = matches!(until, Until::Condition(_));
                match condition.test(&list(listening), &Scope::of(self, run)) {
                    Ok(holds) if holds == ends => self.stop_listening(run, true),
                    Ok(_) => {}
                    Err(error) => return self.later(Move::Fault { run, error }),
                }
            }
            _ => {}
        }
        if idle {
            self.later(Move::Iterate { run });
        }
    }

    /// Begins with the next item, or ends the task where none will come.
    pub(super) fn next_item(&mut self, run: usize) {
        let Detail::Listen(listening) = self.detail(run) else { return };
        if listening.current.is_some() {
            return;
        }
        if listening.waiting.is_empty() {
            if listening.closed {
                self.heard_all(run);
            }
            return;
        }
        let index = listening.next;
        self.emit(Fact::ItemStarted { task: self.key(run), index });
        match self.list(run).first().copied() {
            Some(first) => self.later(Move::Enter { parent: run, node: first }),
            None => self.item_ended(run, false),
        }
    }

    /// The tasks of `foreach` have ended for the current item.
    pub(super) fn item_ended(&mut self, run: usize, exit: bool) {
        let definition = self.state.definition.clone();
        let Some(Kind::Listen(listen)) = definition.kind(self.get(run).and_then(|run| run.node))
        else {
            return;
        };
        let Some(foreach) = &listen.foreach else { return };
        if let Err(error) = self.finish_item(run, foreach) {
            return self.later(Move::Fault { run, error });
        }
        if exit {
            self.stop_listening(run, true);
        }
        self.go_on(run, listen);
    }

    /// What has come of an item, after `foreach.output` and `foreach.export`.
    fn finish_item(&mut self, run: usize, foreach: &Foreach) -> Result<(), Error> {
        let Detail::Listen(listening) = self.detail(run) else { return Ok(()) };
        let Some(current) = &listening.current else { return Ok(()) };
        let (index, item) = (current.index, current.item.clone());
        let raw = self.data(run);
        let output = match &foreach.output.template {
            None => raw.clone(),
            Some(template) => {
                let scope = Scope::of(self, run).with_output(&raw);
                Arc::new(template.evaluate(&raw, &scope)?)
            }
        };
        self.check_schema(foreach.output.schema.as_ref(), &output, "the output of an item")?;
        if let Some(template) = &foreach.export.template {
            let scope = Scope::of(self, run).with_output(&output);
            let context = template.evaluate(&output, &scope)?;
            let schema = foreach.export.schema.as_ref();
            self.check_schema(schema, &context, "the exported context")?;
            self.emit(Fact::ContextSet { task: self.key(run), context });
        }
        let output = (*output != *item).then(|| output.as_ref().clone());
        self.emit(Fact::ItemCompleted { task: self.key(run), index, output });
        Ok(())
    }

    fn heard_all(&mut self, run: usize) {
        let Detail::Listen(listening) = self.detail(run) else { return };
        let output = Arc::new(list(listening));
        let then = self.with_node(run, |node| node.then.clone()).unwrap_or(Then::Continue);
        self.later(Move::Finish { run, output, then });
    }

    /// A run is under way again that an error had ended: it wants what it still wanted.
    pub(super) fn listen_again(&mut self, run: usize) {
        let definition = self.state.definition.clone();
        let Some(Kind::Listen(listen)) = definition.kind(self.get(run).and_then(|run| run.node))
        else {
            return;
        };
        let Detail::Listen(listening) = self.detail(run) else { return };
        if listening.closed && !listening.progress.is_done(&listen.to) {
            let interests = listen.to.interests();
            self.emit(Fact::ListeningResumed { task: self.key(run), interests });
            if let Err(error) = self.limit_listening(run, listen) {
                self.later(Move::Fault { run, error });
            }
        }
    }

    /// Wants no more events; `discard`: nor those that wait for their turn.
    pub(super) fn stop_listening(&mut self, run: usize, discard: bool) {
        let Detail::Listen(listening) = self.detail(run) else { return };
        if !listening.closed {
            let interests = listening.interests.clone();
            self.emit(Fact::ListeningEnded { task: self.key(run), interests, discard });
        }
    }
}

/// What has come of the items, in their order.
fn list(listening: &Listening) -> Value {
    listening.results.iter().map(|(_, result)| result.as_ref().clone()).collect()
}
