//! Answers with executions and how they stand.

use muster_contracts::log::v1::{ExecutionList, ListExecutionsRequest};
use muster_contracts::time;

use crate::app::App;
use crate::domain::{Cursor, Listing};
use crate::error::Error;

pub(crate) async fn list_executions(
    app: App,
    request: ListExecutionsRequest,
) -> Result<ExecutionList, Error> {
    let listing = Listing::parse(request)?;
    let mut executions = app.store.executions(&listing).await?;
    let is_more = executions.len() > listing.limit as usize;
    executions.truncate(listing.limit as usize);
    let last = executions.last().filter(|_| is_more);
    let next = last.map_or_else(String::new, |last| {
        let started_at = time(last.started_at.as_ref());
        Cursor { started_at, execution_id: last.execution_id.clone() }.to_string()
    });
    Ok(ExecutionList { executions, next })
}
