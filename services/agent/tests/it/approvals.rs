//! Calls that wait for somebody's approval.

use muster_contracts::agent::v1::{
    AgentApprovalDecided, AgentApprovalRequested, AgentDefinition, AgentExecutionCancelled,
    Approval, ApprovalSettings, DecideApprovalRequest, GetApprovalRequest, ListApprovalsRequest,
};
use muster_contracts::workflow::v1::CallCancelled;
use muster_contracts::{Code, Fault, JsonObject};
use muster_testkit::eventually;
use serde_json::{Value, json};

use crate::world::{LONG, TASK, World, agent, serve};

/// Registers the agent that does what it is asked to, with this rule for calls of `double`.
async fn register(world: &World, settings: ApprovalSettings) {
    let rules = JsonObject::wrap(json!({"double": "always"}));
    let approval = Some(ApprovalSettings { tools: Some(rules), ..settings });
    let tools = vec!["double".into(), "fail".into(), "guarded".into()];
    world.put(AgentDefinition { tools, approval, ..agent("do") }).await.unwrap();
}

async fn pending(world: &World) -> Vec<Approval> {
    let request = ListApprovalsRequest { status: "pending".into(), ..Default::default() };
    world.bus.request(&request).await.unwrap().approvals
}

async fn first_pending(world: &World) -> Approval {
    eventually(LONG, "somebody is asked", || async { !pending(world).await.is_empty() }).await;
    pending(world).await.remove(0)
}

async fn standing(world: &World) {
    eventually(LONG, "the run stands still", || async {
        world.facts("do").await.last().is_some_and(|fact| fact == "run_suspended")
    })
    .await;
}

async fn decide(world: &World, request: DecideApprovalRequest) -> Result<Approval, Fault> {
    world.bus.request(&request).await
}

fn approve(approval: &Approval) -> DecideApprovalRequest {
    DecideApprovalRequest {
        approval_id: approval.approval_id.clone(),
        decision: "approve".into(),
        by: "ann".into(),
        ..Default::default()
    }
}

async fn content(world: &World) -> String {
    let event = world.completed().await;
    world.deliverable(&event.output.unwrap().0).await.content
}

#[tokio::test]
async fn what_ran_before_the_pause_never_runs_again_whatever_crashes() {
    let mut world = World::new().await;
    register(&world, ApprovalSettings::default()).await;
    world.request("do", "e1", json!([["double", {"n": 1}], ["fail", {}]])).await;
    let approval = first_pending(&world).await;
    assert_eq!((approval.tool.as_str(), approval.agent.as_str()), ("double", "do"));
    assert_eq!(approval.arguments.as_ref().unwrap()["n"], json!(1));
    standing(&world).await;
    let event: AgentApprovalRequested = world.first("agent.approval.requested").await;
    assert_eq!(event.approval_id, approval.approval_id);
    world.service.take().unwrap().crash();
    world.nats.kill();
    world.nats.restart().await;
    world.service = Some(serve(&world.nats));
    eventually(LONG, "the service answers", || async {
        world.bus.request(&ListApprovalsRequest::default()).await.is_ok()
    })
    .await;
    let decided = decide(&world, approve(&approval)).await.unwrap();
    assert_eq!((decided.status.as_str(), decided.by.as_str()), ("approved", "ann"));
    let content = content(&world).await;
    assert!(content.contains("\"doubled\":2") && content.contains("`x` is missing"), "{content}");
    let facts = [
        "run_started",
        "model_replied",
        "approval_requested",
        "tool_returned",
        "run_suspended",
        "approval_decided",
        "run_resumed",
        "tool_returned",
        "model_replied",
        "run_completed",
    ];
    let mut found = world.facts("do").await;
    // A command whose acknowledgement went with the server comes again, finds nothing decided, and lets the run stand as it did.
    let again = ["run_resumed", "run_suspended"];
    while let Some(at) = found.windows(2).position(|pair| pair == again) {
        found.drain(at..at + 2);
    }
    assert_eq!(found, facts);
    // Two turns and two calls, each once.
    assert_eq!(world.peers.asked().into_values().collect::<Vec<_>>(), [1, 1, 1, 1]);
    assert_eq!(world.ends().await, 1);
    let event: AgentApprovalDecided = world.first("agent.approval.decided").await;
    assert_eq!((event.status.as_str(), event.by.as_str()), ("approved", "ann"));
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_first_decision_holds_and_a_second_one_hears_of_it() {
    let world = World::new().await;
    register(&world, ApprovalSettings::default()).await;
    world.request("do", "e1", json!([["double", {"n": 1}]])).await;
    let approval = first_pending(&world).await;
    let rejected = DecideApprovalRequest {
        decision: "reject".into(),
        reason: "too dear".into(),
        decision_id: "first".into(),
        ..approve(&approval)
    };
    assert_eq!(decide(&world, rejected.clone()).await.unwrap().status, "rejected");
    // The same decision again is the same.
    assert_eq!(decide(&world, rejected).await.unwrap().status, "rejected");
    let fault = decide(&world, approve(&approval)).await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict);
    assert_eq!(fault.details["status"], json!("rejected"));
    assert_eq!(fault.details["reason"], json!("too dear"));
    let content = content(&world).await;
    assert!(content.contains("rejected by ann: too dear"), "{content}");
    let get = GetApprovalRequest { approval_id: approval.approval_id, ..Default::default() };
    assert_eq!(world.bus.request(&get).await.unwrap().status, "rejected");
}

#[tokio::test]
async fn a_call_is_made_with_other_arguments_if_they_fit() {
    let world = World::new().await;
    let approvers = vec!["ann".into(), "bob".into()];
    register(&world, ApprovalSettings { approvers, ..Default::default() }).await;
    world.request("do", "e1", json!([["double", {"n": 1}]])).await;
    let approval = first_pending(&world).await;
    let with = |n: Value| DecideApprovalRequest {
        arguments: Some(JsonObject::wrap(json!({ "n": n }))),
        ..approve(&approval)
    };
    let fault = decide(&world, with(json!("many"))).await.unwrap_err();
    assert!(fault.code == Code::Invalid && fault.message.contains("many"), "{fault}");
    // For another tenant it is not there, whoever decides.
    let tenant = || "globex".to_owned();
    let foreign = DecideApprovalRequest { tenant: tenant(), ..approve(&approval) };
    let fault = decide(&world, foreign).await.unwrap_err();
    assert!(fault.code == Code::NotFound && fault.message.contains(&approval.approval_id));
    let get = GetApprovalRequest { approval_id: approval.approval_id.clone(), tenant: tenant() };
    assert_eq!(world.bus.request(&get).await.unwrap_err().code, Code::NotFound);
    let stranger = DecideApprovalRequest { by: "eve".into(), ..approve(&approval) };
    let fault = decide(&world, stranger).await.unwrap_err();
    assert!(fault.code == Code::Denied && fault.message.contains("ann, bob"), "{fault}");
    decide(&world, with(json!(21))).await.unwrap();
    let content = content(&world).await;
    assert!(content.contains("\"doubled\":42"), "{content}");
}

#[tokio::test]
async fn a_tool_may_ask_for_approval_itself() {
    let world = World::new().await;
    register(&world, ApprovalSettings::default()).await;
    world.request("do", "e1", json!([["guarded", {"n": 4}]])).await;
    let approval = first_pending(&world).await;
    assert_eq!(approval.tool, "guarded");
    decide(&world, approve(&approval)).await.unwrap();
    assert!(content(&world).await.contains("\"doubled\":8"));
}

async fn after_timeout(on_timeout: &str) -> World {
    let world = World::new().await;
    let settings = ApprovalSettings {
        timeout_seconds: 1,
        on_timeout: on_timeout.into(),
        escalate_to: vec!["boss".into()],
        ..Default::default()
    };
    register(&world, settings).await;
    world.request("do", "e1", json!([["double", {"n": 1}]])).await;
    world
}

#[tokio::test]
async fn a_call_about_which_nobody_decides_is_rejected() {
    let world = after_timeout("reject").await;
    let content = content(&world).await;
    assert!(content.contains("rejected by timeout: nobody decided within 1 s"), "{content}");
}

#[tokio::test]
async fn a_call_about_which_nobody_decides_is_made_where_the_agent_says_so() {
    let world = after_timeout("approve").await;
    assert!(content(&world).await.contains("\"doubled\":2"));
}

#[tokio::test]
async fn a_run_fails_with_what_nobody_decides_where_the_agent_says_so() {
    let world = after_timeout("fail").await;
    let event = world.failed().await;
    assert_eq!(event.code, "DEADLINE");
    assert!(event.error.contains("nobody decided within 1 s"), "{}", event.error);
}

#[tokio::test]
async fn others_are_asked_where_nobody_decides() {
    let world = after_timeout("escalate").await;
    eventually(LONG, "others are asked, or their time is over too", || async {
        let all = world.bus.request(&ListApprovalsRequest::default()).await.unwrap().approvals;
        all.iter().any(|approval| approval.escalated && approval.approvers == ["boss"])
    })
    .await;
    let content = content(&world).await;
    assert!(content.contains("rejected by timeout"), "{content}");
}

#[tokio::test]
async fn a_run_that_stands_still_is_cancelled() {
    let world = World::new().await;
    register(&world, ApprovalSettings::default()).await;
    world.request("do", "e1", json!([["double", {"n": 1}]])).await;
    let approval = first_pending(&world).await;
    standing(&world).await;
    let event =
        CallCancelled { execution_id: "e1".into(), task: TASK.into(), ..Default::default() };
    world.bus.publish(&event, &muster_bus::MessageId::random()).await.unwrap();
    let event: AgentExecutionCancelled = world.first("agent.execution.cancelled").await;
    assert_eq!(event.agent, "do");
    let get =
        GetApprovalRequest { approval_id: approval.approval_id.clone(), ..Default::default() };
    assert_eq!(world.bus.request(&get).await.unwrap().status, "cancelled");
    let fault = decide(&world, approve(&approval)).await.unwrap_err();
    assert_eq!(fault.details["status"], json!("cancelled"));
    assert_eq!(world.peers.asked().len(), 1, "the model was asked once, and no tool was called");
}
