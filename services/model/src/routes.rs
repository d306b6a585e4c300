//! What the service answers.

use muster_bus::Routes;

use crate::app::App;
use crate::handlers::complete::complete;
use crate::handlers::{definition, embed};

pub(crate) fn routes(app: App) -> Routes<App> {
    Routes::new(app)
        .rpc(complete)
        .rpc(embed::embed)
        .rpc(definition::put)
        .rpc(definition::get)
        .rpc(definition::list)
}
