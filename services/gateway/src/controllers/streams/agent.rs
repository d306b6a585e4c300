//! What an agent has delivered lately.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{Path, State},
};
use muster_contracts::{
    Addressed, Code, Durable, Fault, deliverable::v1::TeamDeliverable, subject,
};
use muster_deliverable::{Address, Deliverables, Entry, Listing, TEAM};

use crate::{
    app::App,
    error::Error,
    problem::Problem,
    wire::{AgentStream, StreamStatus},
};

/// How many deliverables are told.
const RECENT: usize = 10;
/// How many are read at once.
const PAGE: usize = 1000;

/// The stream of an agent where it has one of its own, and what it delivered lately.
#[utoipa::path(get, path = "/v1/streams/agents/{agent}", tag = "streams", operation_id = "get_agent_stream",
    params(("agent" = String, Path, description = "The agent's name")),
    responses((status = 200, body = AgentStream), (status = 404, body = Problem)))]
pub(crate) async fn agent(
    State(app): State<App>,
    Path(agent): Path<String>,
) -> Result<Json<AgentStream>, Error> {
    subject::token("agent", &agent)?;
    let stream = stream(&app, &agent).await?;
    let mut entries = entries(&app, "", &agent).await?;
    if stream.is_some() {
        entries.extend(self::entries(&app, TEAM, &agent).await?);
    }
    if stream.is_none() && entries.is_empty() {
        let error = format!("no agent {agent:?} has delivered anything (in the last 7 days)");
        return Err(Fault::new(Code::NotFound, error).into());
    }
    entries.sort_by_key(|entry| entry.time);
    let mut types = BTreeMap::new();
    for entry in &entries {
        *types.entry(entry.address.kind.clone()).or_insert(0) += 1;
    }
    let deliverables = entries.len();
    let recent = entries.into_iter().skip(deliverables.saturating_sub(RECENT));
    let recent = recent.map(Into::into).collect();
    Ok(Json(AgentStream { agent, stream, deliverables, types, recent }))
}

/// The stream that is the agent's own.
async fn stream(app: &App, agent: &str) -> Result<Option<StreamStatus>, Error> {
    if Address::new(TEAM, agent, "any", "any").is_err() {
        return Ok(None);
    }
    let message = TeamDeliverable {
        agent: agent.to_owned(),
        r#type: "any".to_owned(),
        feature: "any".to_owned(),
        ..TeamDeliverable::default()
    };
    let address = message.subject()?;
    let keeps = |pattern: &String| subject::covers(pattern, &address);
    let own = TeamDeliverable::STREAMS.iter().find(|stream| stream.subjects().iter().any(keeps));
    let Some(own) = own else { return Ok(None) };
    Ok(app.bus.streams().info(own.name()).await?.map(Into::into))
}

async fn entries(app: &App, team: &str, agent: &str) -> Result<Vec<Entry>, Error> {
    let deliverables = Deliverables::new(&app.bus);
    let mut listing = Listing {
        team: team.to_owned(),
        agent: agent.to_owned(),
        versions: true,
        limit: PAGE,
        ..Listing::default()
    };
    let mut entries = Vec::new();
    loop {
        let page = deliverables.list(&listing).await?;
        entries.extend(page.entries);
        match page.next {
            Some(next) => listing.after = next,
            None => return Ok(entries),
        }
    }
}
