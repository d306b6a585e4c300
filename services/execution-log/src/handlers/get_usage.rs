//! Answers with what an execution used.

use muster_contracts::log::v1::{ExecutionUsage, GetUsageRequest};

use crate::app::App;
use crate::domain::{key, total};
use crate::error::Error;

pub(crate) async fn get_usage(app: App, request: GetUsageRequest) -> Result<ExecutionUsage, Error> {
    let execution_id = key(&request.execution_id);
    let Some(summary) = app.store.summary(&execution_id).await? else {
        return Err(Error::UnknownExecution(request.execution_id));
    };
    let runs = app.store.runs(&execution_id).await?;
    Ok(total(request.execution_id, &summary, &runs))
}
