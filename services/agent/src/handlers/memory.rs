//! What an agent remembers, for people.

use muster_contracts::thread::v1::{
    ForgetMemoryRequest, ListMemoryRequest, MemoryForgotten, MemoryList,
};
use muster_contracts::{Code, Fault};

use crate::Error;
use crate::app::App;
use crate::memory::Place;
use crate::shown;

/// What an agent remembers.
pub(crate) async fn list(app: App, request: ListMemoryRequest) -> Result<MemoryList, Error> {
    let place = place(&app, &request.agent, &request.tenant).await?;
    let memory = app.memories.read(&place).await?;
    Ok(MemoryList { items: memory.items.into_iter().rev().map(shown::item).collect() })
}

/// Lets an agent forget one thing, or everything.
pub(crate) async fn forget(
    app: App,
    request: ForgetMemoryRequest,
) -> Result<MemoryForgotten, Error> {
    let place = place(&app, &request.agent, &request.tenant).await?;
    let items = app.memories.forget(&place, &request.item_id).await?;
    if items == 0 && !request.item_id.is_empty() {
        let (agent, item) = (&request.agent, &request.item_id);
        let text = format!("agent {agent:?} remembers nothing with the id {item:.80?}");
        return Err(Fault::new(Code::NotFound, text).into());
    }
    Ok(MemoryForgotten { items: u32::try_from(items).unwrap_or(u32::MAX) })
}

async fn place(app: &App, agent: &str, tenant: &str) -> Result<Place, Error> {
    let definition = app.registry.get(agent).await?;
    Place::of(&definition, tenant).ok_or_else(|| {
        let text = format!("agent {agent:?} remembers nothing: its definition has no `memory`");
        Fault::new(Code::NotFound, text).into()
    })
}
