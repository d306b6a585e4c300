//! Deciding about calls that wait for somebody's approval.

use muster_bus::MessageId;
use muster_contracts::agent::v1::{
    Approval, ApprovalDecision, ApprovalList, ContinueAgentRun, DecideApprovalRequest,
    GetApprovalRequest, ListApprovalsRequest,
};
use muster_contracts::{Code, Fault, time};
use serde_json::json;

use crate::Error;
use crate::app::App;
use crate::domain::approval::Asked;
use crate::runner::{PENDING, Runner};

const LISTED: u32 = 100;
const MOST: u32 = 1_000;
const MAX_TEXT: usize = 4_096;

pub(crate) async fn list(app: App, request: ListApprovalsRequest) -> Result<ApprovalList, Error> {
    let ListApprovalsRequest { status, agent, limit, tenant } = request;
    check_status(&status)?;
    let fits = |approval: &Approval| {
        (status.is_empty() || approval.status == status)
            && (agent.is_empty() || approval.agent == agent)
            && (tenant.is_empty() || approval.tenant == tenant)
    };
    let mut approvals = app.work.approvals(fits).await?;
    let limit = if limit == 0 { LISTED } else { limit.min(MOST) };
    approvals.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(ApprovalList { approvals })
}

/// A word that no approval has would be answered by an empty list, which says something else.
fn check_status(status: &str) -> Result<(), Fault> {
    if ["", PENDING, "approved", "rejected", "cancelled"].contains(&status) {
        return Ok(());
    }
    let text = format!(
        "`status` is {status:.80?}; it must be one of pending, approved, rejected, cancelled"
    );
    Err(Fault::new(Code::Invalid, text))
}

pub(crate) async fn get(app: App, request: GetApprovalRequest) -> Result<Approval, Error> {
    find(&app, &request.approval_id, &request.tenant).await
}

/// Decides. Written down as a command before it is done, so that no crash leaves it half done; the first decision in the run's journal holds.
pub(crate) async fn decide(app: App, request: DecideApprovalRequest) -> Result<Approval, Error> {
    let tenant = request.tenant.clone();
    let approval = find(&app, &request.approval_id, &tenant).await?;
    let decision = decision(request)?;
    if approval.status != PENDING {
        return told(approval, &decision.decision_id);
    }
    check(&app, &approval, &decision).await?;
    let message = ContinueAgentRun {
        execution_id: approval.execution_id.clone(),
        task: approval.task.clone(),
        agent: approval.agent.clone(),
        cause: format!("approval {} {}", decision.approval_id, decision.decision_id),
        decision: Some(decision.clone()),
        end: None,
    };
    let id = MessageId::derived([message.cause.as_str()]);
    app.bus.publish(&message, &id).await?;
    if let Some(mut runner) = open(&app, &approval).await? {
        runner.decide(&decision).await?;
    }
    told(find(&app, &approval.approval_id, &tenant).await?, &decision.decision_id)
}

/// What holds now, as the one who decided is told.
fn told(approval: Approval, decision_id: &str) -> Result<Approval, Error> {
    if approval.status != PENDING && approval.decision_id == decision_id {
        return Ok(approval);
    }
    let by = if approval.by.is_empty() { String::new() } else { format!(" by {:?}", approval.by) };
    let text = format!(
        "approval {} is {} already{by}; the first decision holds",
        approval.approval_id, approval.status
    );
    let details = json!({
        "status": approval.status,
        "by": approval.by,
        "reason": approval.reason,
        "decided_at": approval.decided_at.as_ref().map(|at| time(Some(at))),
    });
    Err(Fault { details, ..Fault::new(Code::Conflict, text) }.into())
}

fn decision(request: DecideApprovalRequest) -> Result<ApprovalDecision, Error> {
    let DecideApprovalRequest { approval_id, decision, arguments, reason, by, decision_id, .. } =
        request;
    if !["approve", "reject"].contains(&decision.as_str()) {
        let text = format!("`decision` is {decision:.80?}; it must be \"approve\" or \"reject\"");
        return Err(invalid(text));
    }
    if decision == "reject" && arguments.is_some() {
        return Err(invalid("a rejected call has no `arguments`; leave them out".to_owned()));
    }
    for (name, text) in [("reason", &reason), ("by", &by)] {
        if text.len() > MAX_TEXT {
            let bytes = text.len();
            return Err(invalid(format!("`{name}` has {bytes} bytes; at most {MAX_TEXT}")));
        }
    }
    let random = || MessageId::random().as_str().to_owned();
    let decision_id = Some(decision_id).filter(|id| !id.is_empty()).unwrap_or_else(random);
    Ok(ApprovalDecision { approval_id, decision, arguments, reason, by, decision_id })
}

/// What can be known before anything is written down.
async fn check(app: &App, approval: &Approval, decision: &ApprovalDecision) -> Result<(), Error> {
    let approvers = approval.approvers.clone();
    let asked = Asked { approvers, ..Asked::default() };
    if !asked.may_decide(&decision.by) {
        let text = format!(
            "`by` is {:?}, who may not decide approval {}; these may: {}",
            decision.by,
            approval.approval_id,
            asked.approvers.join(", ")
        );
        return Err(Fault::new(Code::Denied, text).into());
    }
    let Some(arguments) = &decision.arguments else { return Ok(()) };
    let Some(runner) = open(app, approval).await? else { return Ok(()) };
    match runner.misfit(&approval.tool, arguments) {
        Some(flaws) => Err(invalid(format!(
            "`arguments` do not fit the schema of `{}`: {flaws}",
            approval.tool
        ))),
        None => Ok(()),
    }
}

async fn open(app: &App, approval: &Approval) -> Result<Option<Runner>, Error> {
    let app = app.clone();
    Runner::reopen(app, &approval.execution_id, &approval.task, &approval.agent).await
}

/// The approval, where it is there for this tenant; everything is for the platform itself.
async fn find(app: &App, id: &str, tenant: &str) -> Result<Approval, Error> {
    let found = app.work.approval(id).await?;
    let found = found.filter(|approval| tenant.is_empty() || approval.tenant == tenant);
    found
        .ok_or_else(|| Fault::new(Code::NotFound, format!("there is no approval {id:.80?}")).into())
}

fn invalid(text: String) -> Error {
    Fault::new(Code::Invalid, text).into()
}
