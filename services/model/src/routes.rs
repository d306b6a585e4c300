//! What the service answers.

use muster_bus::Routes;

use crate::app::App;
use crate::handlers::complete::complete;

pub(crate) fn routes(app: App) -> Routes<App> {
    Routes::new(app).rpc(complete)
}
