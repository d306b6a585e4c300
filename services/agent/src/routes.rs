//! What the agent service answers and reads.

use muster_bus::{Consume, Idempotency, Routes};

use crate::app::App;
use crate::config::Config;
use crate::handlers::{definition, requested};

pub(crate) fn routes(app: App, config: &Config) -> Routes<App> {
    let runs = Consume {
        concurrency: config.concurrency,
        // A restart of the service costs a delivery too, and a run may last through many.
        max_deliver: 1000,
        idempotency: Idempotency::Handler("the run's journal says how far it came"),
    };
    Routes::new(app)
        .rpc(definition::put)
        .rpc(definition::get)
        .rpc(definition::list)
        .on_with(runs, requested::run)
}
