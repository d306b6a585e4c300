//! What the service answers. What it reads is in `recording`.

use muster_bus::Routes;

use crate::app::App;
use crate::handlers::get_timeline::get_timeline;
use crate::handlers::get_usage::get_usage;
use crate::handlers::list_executions::list_executions;
use crate::handlers::list_running::list_running;

pub(crate) fn routes(app: App) -> Routes<App> {
    Routes::new(app).rpc(get_timeline).rpc(get_usage).rpc(list_executions).rpc(list_running)
}
