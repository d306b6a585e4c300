//! What the service answers and reads.

use muster_bus::{Consume, Idempotency, Routes};
use muster_contracts::Fault;
use muster_contracts::tool::v1::CallToolRequest;

use crate::app::App;
use crate::handlers::call_tool::call_tool;
use crate::handlers::list_tools::list_tools;
use crate::handlers::requested::requested;

pub(crate) fn routes(app: App) -> Result<Routes<App>, Fault> {
    // Our own names only: workers in other languages serve theirs.
    let ours: Vec<CallToolRequest> = app
        .registry
        .all()
        .map(|tool| CallToolRequest { name: tool.definition.name.to_owned(), ..Default::default() })
        .collect();
    let commands = Consume {
        concurrency: 128,
        max_deliver: 32,
        idempotency: Idempotency::Handler("results are recorded by key, events have derived ids"),
    };
    Ok(Routes::new(app).rpc_for(&ours, call_tool)?.rpc(list_tools).on_with(commands, requested))
}
