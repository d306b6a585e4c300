//! What the agent service answers and reads.

use muster_bus::{Consume, Idempotency, Routes};

use crate::app::App;
use crate::config::Config;
use crate::handlers::{approval, continued, definition, memory, requested, team, thread};

pub(crate) fn routes(app: App, config: &Config) -> Routes<App> {
    // Plain acknowledgements are enough where a second delivery finds in the journal of the run, or under the key of a record that stays, that nothing is left to do.
    let runs = || Consume {
        concurrency: config.concurrency,
        // A restart of the service costs a delivery too, and a run may last through many.
        max_deliver: 1000,
        idempotency: Idempotency::Handler("the run's journal says how far it came"),
        ..Default::default()
    };
    let records = || Consume {
        idempotency: Idempotency::Handler("what is written down has a key of its own"),
        ..Default::default()
    };
    let advances = Consume {
        idempotency: Idempotency::Handler(
            "what a thread asks for is done under the ids of its messages",
        ),
        ..Default::default()
    };
    // A message that was taken out of its inbox is gone from there with its key: delivered again it would be read a second time. So its id is recorded, and its end confirmed.
    let letters = || Consume { confirm_acks: true, ..Default::default() };
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
        .rpc(approval::list)
        .rpc(approval::get)
        .rpc(approval::decide)
        .rpc(team::register)
        .rpc(team::status)
        .rpc(team::task)
        .on_with(runs(), requested::run)
        .on_with(runs(), continued::continued)
        .on_with(runs(), continued::woken)
        .on_with(records(), continued::cancelled)
        .on_with(records(), team::said)
        .on_with(letters(), team::message)
        .on_with(letters(), team::broadcast)
        .on_with(records(), team::assigned)
        .on_with(records(), team::completed)
        .on_with(records(), team::failed)
        .on_with(advances, thread::advance)
}
