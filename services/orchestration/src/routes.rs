//! What orchestration answers and reads.

use muster_bus::{Consume, Feed, Idempotency, Routes};
use muster_contracts::workflow::v1::{JournalEntry, StartExecution};
use muster_contracts::{Addressed, Stream, subject};

use crate::app::App;
use crate::config::Config;
use crate::domain::lifecycle::Lifecycle;
use crate::handlers::{
    call, completion, control, dead_letter, definition, event, execution, lifecycle, time_travel,
};

pub(crate) fn routes(app: App, config: &Config) -> Routes<App> {
    let inputs = Consume {
        concurrency: config.concurrency,
        // Where many have expressions that take long, some wait outside.
        postpone: 100,
        idempotency: Idempotency::Handler(
            "an execution's journal holds the id of each of its inputs",
        ),
        ..Default::default()
    };
    // A question to a model is paid: that it was answered is recorded for a day, the command lies in its stream for a month, so its end must have arrived. All else here asks nobody outside, and a
    // second delivery finds its id in the journal.
    let calls = Consume { confirm_acks: true, ..Consume::default() };
    let told = config.lifecycle;
    let routes = Routes::new(app)
        .rpc(definition::put)
        .rpc(definition::get)
        .rpc(definition::list)
        .rpc(definition::delete)
        .rpc(execution::get)
        .rpc(time_travel::replay)
        .rpc(time_travel::fork)
        .rpc(time_travel::diff)
        .rpc(time_travel::export)
        .rpc(time_travel::import)
        .rpc(time_travel::check)
        .rpc(control::cancel)
        .rpc(control::suspend)
        .rpc(control::resume)
        .rpc(control::retry)
        .rpc(control::wanted)
        .on_with(inputs.clone(), execution::start)
        .on_with(inputs.clone(), control::controlled)
        .on_with(inputs.clone(), completion::agent_completed)
        .on_with(inputs.clone(), completion::agent_failed)
        .on_with(inputs.clone(), completion::agent_cancelled)
        .on_with(inputs.clone(), completion::tool_completed)
        .on_with(inputs.clone(), completion::tool_failed)
        .on_with(inputs.clone(), completion::tool_cancelled)
        .on_with(inputs.clone(), completion::call_completed)
        .on_with(inputs.clone(), completion::timer_fired)
        .on_with(inputs.clone(), event::published)
        .on_with(inputs.clone(), event::delivered)
        .on_with(inputs.clone(), event::signalled)
        .on_with(inputs.clone(), event::due)
        .on_with(inputs, dead_letter::dead_letter)
        .on_with(calls, call::requested);
    match told {
        Lifecycle::Off => routes,
        Lifecycle::Workflow | Lifecycle::All => routes.feed(journals(), lifecycle::recorded),
    }
}

/// What the lifecycle events are made from.
fn journals() -> Feed {
    Feed {
        name: "log",
        stream: Stream::Executions,
        patterns: vec![
            subject::pattern(StartExecution::SUBJECT),
            subject::pattern(JournalEntry::SUBJECT),
        ],
        settings: Consume {
            concurrency: 64,
            idempotency: Idempotency::Handler("the ids of events follow from their place"),
            ..Default::default()
        },
    }
}
