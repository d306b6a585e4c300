//! Answers with the events of an execution.

use muster_contracts::log::v1::{GetTimelineRequest, Timeline};

use crate::app::App;
use crate::domain::{MAX_PAGE, key};
use crate::error::Error;

pub(crate) async fn get_timeline(app: App, request: GetTimelineRequest) -> Result<Timeline, Error> {
    let limit = match request.limit {
        0 => MAX_PAGE,
        limit if limit <= MAX_PAGE => limit,
        limit => return Err(Error::Limit(limit)),
    };
    let execution_id = key(&request.execution_id);
    let entries = app.store.timeline(&execution_id, request.after, limit).await?;
    let last = entries.last().map_or(0, |entry| entry.sequence);
    if last == 0 && !app.store.is_more(&execution_id, 0).await? {
        return Err(Error::UnknownExecution(request.execution_id));
    }
    let more = last > 0 && app.store.is_more(&execution_id, last).await?;
    Ok(Timeline { entries, next_after: if more { last } else { 0 } })
}
