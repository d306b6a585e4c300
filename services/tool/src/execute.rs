//! Executes a call: checked, limited, recorded. Both doors of the service lead here.

use std::panic::AssertUnwindSafe;

use anyhow::anyhow;
use futures::FutureExt;
use muster_bus::trace::Trace;
use muster_contracts::{Fault, HasCode};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout};

use crate::app::{App, Recorded};
use crate::domain::call::{Call, Effect, Outcome};
use crate::error::Error;
use crate::tools::{Kind, Registered};

/// The largest result, in bytes of its JSON.
const MAX_RESULT: usize = 10_000_000;
/// The deepest result, in lists and objects inside each other: a journal's entry holds it a few levels further down, and 127 can be read.
const MAX_DEPTH: usize = 120;

/// Executes a call of any tool.
pub(crate) async fn execute(app: &App, call: &Call) -> Result<Outcome, Error> {
    let tool = app.registry.find(&call.name).await?;
    // On the heap: it is large, and moved with whatever waits for it.
    match Box::pin(execute_with(app, &tool, call)).await {
        // Not recorded as the end of the call: whoever asks again may find a worker.
        Err(error) if tool.kind == Kind::Unregistered && is_unserved(&error) => {
            let (name, known) = (&call.name, app.registry.names().await);
            Err(Error::NotFound(format!(
                "there is no tool {name:?}: it is not registered, and nobody serves tools.{name}; there are: {known}"
            )))
        }
        outcome => outcome,
    }
}

/// The record of a call makes a fault of every error.
fn is_unserved(error: &Error) -> bool {
    error.details().get("unserved").is_some()
}

async fn execute_with(app: &App, tool: &Registered, call: &Call) -> Result<Outcome, Error> {
    tool.check(&call.arguments)?;
    let open = app.calls.begin(&call.execution_id, &call.task);
    let effect = tokio::select! {
        biased;
        () = open.cancelled() => return Err(Error::Cancelled(call.name.clone())),
        prepared = timeout(tool.timeout, tool.tool.prepare(call)) => match prepared {
            Ok(effect) => effect?,
            Err(_elapsed) => {
                return Err(Error::Deadline { tool: call.name.clone(), limit: tool.timeout });
            }
        },
    };
    let run = || async {
        let done = tokio::select! {
            biased;
            // Dropping the call drops what it has open to the outside.
            () = open.cancelled() => Err(Error::Cancelled(call.name.clone())),
            done = run(tool, call, effect) => done,
        };
        done.map_err(|error| fault(call, &error))
    };
    // What is computed from the arguments alone is the same every time: nothing to record.
    let (done, replayed) = if call.idempotency_key.is_empty() || effect == Effect::Computed {
        (run().await?, false)
    } else {
        let key = format!("{}/{}", call.name, call.idempotency_key);
        // On the heap: what is computed would have room for it.
        let (done, replayed) = Box::pin(app.results.run(&key, effect.repeat(), run)).await?;
        if replayed && !done.arguments.is_empty() && done.arguments != digest(call) {
            return Err(Error::Conflict(format!(
                "the idempotency key {:?} belongs to a call of {} with other arguments; repeat that one unchanged or use a new key",
                call.idempotency_key, call.name
            )));
        }
        (done, replayed)
    };
    Ok(Outcome {
        result: done.result,
        duration_ms: done.duration_ms,
        effect: effect.name(),
        is_computed: effect == Effect::Computed,
        replayed,
    })
}

async fn run(tool: &Registered, call: &Call, effect: Effect) -> Result<Recorded, Error> {
    let _place = tool.limits.enter(&call.name).await?;
    let started = Instant::now();
    let work = AssertUnwindSafe(tool.tool.call(call)).catch_unwind();
    let result = match timeout(tool.timeout, work).await {
        Ok(Ok(result)) => result?,
        Ok(Err(_panic)) => return Err(anyhow!("the tool {} panicked", call.name).into()),
        // Nobody knows how far it came.
        Err(_elapsed) if effect == Effect::Once => {
            let text =
                format!("{} did not answer within {} ms", call.name, tool.timeout.as_millis());
            return Err(Error::Interrupted(text));
        }
        Err(_elapsed) => {
            return Err(Error::Deadline { tool: call.name.clone(), limit: tool.timeout });
        }
    };
    check_result(&call.name, &result)?;
    let duration_ms = u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX);
    let arguments = if effect == Effect::Computed { String::new() } else { digest(call) };
    Ok(Recorded { result, duration_ms, arguments })
}

fn digest(call: &Call) -> String {
    format!("{:x}", Sha256::digest(Value::Object(call.arguments.clone()).to_string()))
}

/// Not INVALID: what a tool answers is no mistake of who asks.
fn check_result(tool: &str, result: &Value) -> Result<(), Error> {
    let size = result.to_string().len();
    if size > MAX_RESULT {
        return Err(Error::Conflict(format!(
            "the tool {tool} answered {size} bytes, but a result must have at most {MAX_RESULT}"
        )));
    }
    if depth(result) > MAX_DEPTH {
        return Err(Error::Conflict(format!(
            "the tool {tool} answered a result that nests deeper than {MAX_DEPTH} levels"
        )));
    }
    Ok(())
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or_default(),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or_default(),
        _ => 0,
    }
}

/// The fault that is recorded and goes outside; what is inside an internal error stays in the log.
fn fault(call: &Call, error: &Error) -> Fault {
    if let Error::Internal(inner) = error {
        tracing::error!(
            tool = call.name,
            execution.id = call.execution_id,
            trace_id = Trace::current_id(),
            error = format!("{inner:#}"),
            "tool failed"
        );
        return Fault::new(muster_contracts::Code::Internal, "internal error");
    }
    error.fault()
}
