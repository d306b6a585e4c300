//! What orchestration answers and reads.

use muster_bus::{Consume, Idempotency, Routes};

use crate::app::App;
use crate::config::Config;
use crate::handlers::{call, completion, definition, execution};

pub(crate) fn routes(app: App, config: &Config) -> Routes<App> {
    let inputs = Consume {
        concurrency: config.concurrency,
        idempotency: Idempotency::Handler(
            "an execution's journal holds the id of each of its inputs",
        ),
        ..Default::default()
    };
    Routes::new(app)
        .rpc(definition::put)
        .rpc(definition::get)
        .rpc(definition::list)
        .rpc(execution::get)
        .on_with(inputs.clone(), execution::start)
        .on_with(inputs.clone(), completion::agent_completed)
        .on_with(inputs.clone(), completion::agent_failed)
        .on_with(inputs.clone(), completion::tool_completed)
        .on_with(inputs.clone(), completion::tool_failed)
        .on_with(inputs.clone(), completion::call_completed)
        .on_with(inputs.clone(), completion::timer_fired)
        .on_with(inputs, completion::dead_letter)
        .on(call::requested)
}
