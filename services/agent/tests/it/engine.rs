//! Orchestration, as far as threads need it, played by the test.

use muster_bus::{Delivery, MessageId, Routes};
use muster_contracts::agent::v1::AgentExecutionRequested;
use muster_contracts::workflow::v1::{
    CallCancelled, CancelExecutionRequest, ExecutionState, GetExecutionRequest, PutWorkflowRequest,
    StartExecution, WorkflowDefinition,
};
use muster_contracts::{Fault, Json};
use serde_json::Value;

use crate::world::Peers;

/// The task of the workflow by which threads answer.
pub(crate) const ANSWER: &str = "/do/0/answer@1";

pub(crate) fn routes(routes: Routes<Peers>) -> Routes<Peers> {
    routes.rpc(put).rpc(get).rpc(cancel).on(start)
}

async fn put(_peers: Peers, request: PutWorkflowRequest) -> Result<WorkflowDefinition, Fault> {
    assert!(request.source.contains("call: agent"), "{}", request.source);
    Ok(WorkflowDefinition {
        name: "muster-thread".into(),
        version: "1.0.0".into(),
        digest: "d".into(),
        ..Default::default()
    })
}

async fn start(peers: Peers, command: Delivery<StartExecution>) -> Result<(), Fault> {
    let input = command.input.clone().unwrap_or_default().0;
    let text = |field: &str| input[field].as_str().unwrap_or_default().to_owned();
    let request = AgentExecutionRequested {
        execution_id: command.execution_id.clone(),
        task: ANSWER.into(),
        agent: text("agent"),
        input: Some(Json(Value::String(text("message")))),
        thread_id: text("thread_id"),
        message_id: text("message_id"),
        ..Default::default()
    };
    let id = MessageId::derived(["requested", &command.execution_id]);
    peers.bus().publish(&request, &id).await.map(drop)
}

async fn cancel(peers: Peers, request: CancelExecutionRequest) -> Result<ExecutionState, Fault> {
    let execution_id = request.execution_id;
    peers.unwanted(&execution_id);
    let event = CallCancelled {
        execution_id: execution_id.clone(),
        task: ANSWER.into(),
        ..Default::default()
    };
    peers.bus().publish(&event, &MessageId::random()).await?;
    Ok(ExecutionState { execution_id, status: "cancelled".into(), ..Default::default() })
}

async fn get(peers: Peers, request: GetExecutionRequest) -> Result<ExecutionState, Fault> {
    let cancelled = peers.is_unwanted(&request.execution_id);
    let status = if cancelled { "cancelled" } else { "running" };
    Ok(ExecutionState {
        execution_id: request.execution_id,
        status: status.into(),
        ..Default::default()
    })
}
