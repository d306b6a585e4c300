//! What the service answers.

use muster_bus::Routes;

use crate::app::App;
use crate::handlers::complete::complete;
use crate::handlers::{
    allowances, definition, embed, handed_out, invalidate, provider_keys, virtual_keys,
};

pub(crate) fn routes(app: App) -> Routes<App> {
    Routes::new(app)
        .rpc(complete)
        .rpc(embed::embed)
        .rpc(definition::put)
        .rpc(definition::get)
        .rpc(definition::list)
        .rpc(definition::delete)
        .rpc(handed_out::key)
        .rpc(handed_out::config)
        .rpc(provider_keys::put)
        .rpc(provider_keys::list)
        .rpc(provider_keys::delete)
        .rpc(provider_keys::rewrap)
        .rpc(virtual_keys::create)
        .rpc(virtual_keys::list)
        .rpc(virtual_keys::get)
        .rpc(virtual_keys::delete)
        .rpc(virtual_keys::check)
        .rpc(allowances::put)
        .rpc(allowances::get)
        .rpc(allowances::delete)
        .rpc(allowances::list)
        .on(invalidate::invalidate)
}
