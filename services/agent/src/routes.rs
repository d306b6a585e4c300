//! What the agent service answers and reads.

use muster_bus::{Consume, Idempotency, Routes};

use crate::app::App;
use crate::config::Config;
use crate::handlers::{definition, memory, requested, thread};

pub(crate) fn routes(app: App, config: &Config) -> Routes<App> {
    let runs = Consume {
        concurrency: config.concurrency,
        // A restart of the service costs a delivery too, and a run may last through many.
        max_deliver: 1000,
        idempotency: Idempotency::Handler("the run's journal says how far it came"),
    };
    let advances = Consume {
        idempotency: Idempotency::Handler(
            "what a thread asks for is done under the ids of its messages",
        ),
        ..Default::default()
    };
    Routes::new(app)
        .rpc(definition::put)
        .rpc(definition::get)
        .rpc(definition::list)
        .rpc(definition::versions)
        .rpc(definition::delete)
        .rpc(thread::create)
        .rpc(thread::send)
        .rpc(thread::get)
        .rpc(thread::list)
        .rpc(thread::delete)
        .rpc(memory::list)
        .rpc(memory::forget)
        .on_with(runs, requested::run)
        .on_with(advances, thread::advance)
}
