//! One number for a whole state: two states with the same hash are the same.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Execution, Live, Run};
use crate::document;

/// Goes into each hash: a state that is described in another way has another hash.
const FORMAT: &str = "muster-state-1";

impl Execution {
    /// SHA-256 of the whole state in a canonical form, in lower-case hexadecimal.
    ///
    /// It covers everything that decides what happens next and everything that a client may see:
    /// status, input, output, error, context, every run of a task with its times, data and
    /// position, timers and attempts, the execution's id and its definition's digest. It does not
    /// depend on the order in which runs began, nor on how the state came about: from its journal,
    /// from a snapshot and the rest, or step by step.
    ///
    /// It reads the whole state.
    pub fn hash(&self) -> String {
        let mut digests = Digests::default();
        let mut hash = Sha256::new();
        let mut line = |value: &Value| {
            hash.update(document::canonical_text(value));
            hash.update(b"\n");
        };
        line(&json!([FORMAT, *self.id, self.definition.digest(), self.end, self.error]));
        if let Some(parent) = &self.parent {
            line(&json!(["parent", parent]));
        }
        if let Some(payer) = &self.payer {
            line(&json!(["payer", payer]));
        }
        let (input, context) = (digests.of(&self.input), digests.of(&self.context));
        line(&json!([input, self.output.as_ref().map(|output| digests.of(output)), context]));
        let mut runs: Vec<&Run> = self.runs.iter().collect();
        runs.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        for run in runs {
            line(&self.describe(run, &mut digests));
        }
        let mut attempts: Vec<_> = self.attempts.iter().collect();
        attempts.sort_unstable();
        for (place, attempt) in attempts {
            line(&json!(["attempts", **place, attempt]));
        }
        for (name, timer) in &self.timers {
            line(&json!(["timer", name, self.key_of(timer.run), timer.purpose]));
        }
        if let Some(origin) = &self.origin {
            line(&json!(["fork", origin]));
        }
        if self.hold.is_some() || !self.reason.is_empty() || self.retries > 0 {
            line(&json!(["control", self.hold, self.reason, self.retries]));
        }
        for (run, live) in &self.fallen {
            line(&json!(["fallen", self.key_of(*run), describe_live(live, &mut digests)]));
        }
        document::hex(&hash.finalize())
    }

    fn describe(&self, run: &Run, digests: &mut Digests) -> Value {
        let live = run.live.as_ref().map(|live| describe_live(live, digests));
        json!([
            "run",
            *run.key,
            self.pointer_of(run),
            self.key_of(run.parent),
            run.attempt,
            run.status,
            run.started_at,
            run.ended_at,
            run.error.as_deref(),
            live,
        ])
    }

    pub(crate) fn key_of(&self, run: usize) -> Option<&str> {
        self.runs.get(run).map(|run| &*run.key)
    }

    /// Where a run's task stands in the document; `None` for the workflow itself.
    pub(super) fn pointer_of(&self, run: &Run) -> Option<&str> {
        Some(&self.definition.node(run.node?)?.pointer)
    }
}

fn describe_live(live: &Live, digests: &mut Digests) -> Value {
    let detail = live.detail.map(&mut |value| Some(digests.of(value)));
    json!([digests.of(&live.raw), digests.of(&live.input), digests.of(&live.data), detail])
}

/// Digests of values; each is computed once, though many runs share it.
#[derive(Default)]
struct Digests(HashMap<*const Value, String>);

impl Digests {
    fn of(&mut self, value: &Arc<Value>) -> String {
        self.0.entry(Arc::as_ptr(value)).or_insert_with(|| document::digest(value)).clone()
    }
}
