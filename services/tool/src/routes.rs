//! What the service answers and reads.

use muster_bus::{Consume, Idempotency, Routes};
use muster_contracts::Fault;
use muster_contracts::tool::v1::CallToolRequest;

use crate::app::App;
use crate::handlers::call_tool::{call_tool, execute_tool};
use crate::handlers::fetch_resource::fetch_resource;
use crate::handlers::list_secrets::list_secrets;
use crate::handlers::list_tools::list_tools;
use crate::handlers::register_tool::{register_tool, unregister_tool};
use crate::handlers::requested::requested;

pub(crate) fn routes(app: App) -> Result<Routes<App>, Fault> {
    // Our own names only: workers in other languages serve theirs.
    let ours: Vec<CallToolRequest> = app
        .registry
        .built_in()
        .keys()
        .map(|name| CallToolRequest { name: name.clone(), ..Default::default() })
        .collect();
    let commands = Consume {
        concurrency: 128,
        max_deliver: 32,
        idempotency: Idempotency::Handler("results are recorded by key, events have derived ids"),
        // A record lasts a day, the command in its stream a month: a lost acknowledgement and a service that is away for a day would call a tool of the class `once` again.
        confirm_acks: true,
        ..Consume::default()
    };
    Ok(Routes::new(app)
        .rpc(execute_tool)
        .rpc_for(&ours, call_tool)?
        .rpc(list_tools)
        .rpc(list_secrets)
        .rpc(fetch_resource)
        .rpc(register_tool)
        .rpc(unregister_tool)
        .on_with(commands, requested))
}
