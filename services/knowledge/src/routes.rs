//! What the service answers.

use muster_bus::Routes;

use crate::app::App;
use crate::handlers::{definition, render, stage};

pub(crate) fn routes(app: App) -> Routes<App> {
    Routes::new(app)
        .rpc(definition::put)
        .rpc(definition::get)
        .rpc(definition::list)
        .rpc(definition::versions)
        .rpc(definition::delete)
        .rpc(render::render)
        .rpc(stage::template)
        .rpc(stage::pseudocode)
        .rpc(stage::architecture)
}
