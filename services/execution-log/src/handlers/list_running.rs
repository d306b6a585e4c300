//! Answers with the executions of a workflow that have begun and not ended.

use muster_contracts::log::v1::{ListRunningRequest, RunningExecutions};

use crate::app::App;
use crate::domain::MAX_PAGE;
use crate::error::Error;

pub(crate) async fn list_running(
    app: App,
    request: ListRunningRequest,
) -> Result<RunningExecutions, Error> {
    let limit = match request.limit {
        0 => MAX_PAGE,
        limit if limit <= MAX_PAGE => limit,
        limit => return Err(Error::Limit(limit)),
    };
    let running = app.store.running(&request.workflow, request.after, limit).await?;
    let full = running.len() == limit as usize;
    let next_after = running.last().filter(|_| full).map_or(0, |(_, sequence)| *sequence);
    Ok(RunningExecutions {
        execution_ids: running.into_iter().map(|(id, _)| id).collect(),
        next_after,
    })
}
