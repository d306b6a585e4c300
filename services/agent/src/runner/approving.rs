//! Asking somebody whether a call may be made.

use chrono::Utc;
use muster_bus::MessageId;
use muster_contracts::agent::v1::{
    AgentApprovalDecided, AgentApprovalRequested, Approval, ApprovalDecision,
};
use muster_contracts::{JsonObject, now};
use muster_document::Schema;
use serde_json::Value;

use super::Runner;
use crate::Error;
use crate::domain::approval::{Asked, Decided};
use crate::domain::fact::Fact;

/// Characters of an approval's id.
const ID: usize = 24;
pub(crate) const PENDING: &str = "pending";
const APPROVED: &str = "approved";
const REJECTED: &str = "rejected";
const CANCELLED: &str = "cancelled";

impl Runner {
    /// Records that a call waits, and tells everybody at once: other calls of the turn may take long.
    pub(super) async fn request_approval(&mut self, asked: Asked) -> Result<(), Error> {
        let id = MessageId::derived([
            "approval",
            &self.command.execution_id,
            &self.command.task,
            &asked.turn.to_string(),
            &asked.index.to_string(),
        ]);
        let approval_id = id.as_str().chars().take(ID).collect();
        let asked = Asked { approval_id, ..asked };
        if self.record(Fact::ApprovalRequested(asked.clone())).await? {
            self.tell_request(&asked).await?;
        }
        Ok(())
    }

    pub(super) async fn escalate(&mut self, asked: Asked) -> Result<(), Error> {
        if self.record(Fact::ApprovalEscalated(asked.clone())).await? {
            self.tell_request(&asked).await?;
        }
        Ok(())
    }

    /// Decides where nobody did in time.
    pub(super) async fn decide_by_clock(&mut self, decided: Decided) -> Result<(), Error> {
        if self.record(Fact::ApprovalDecided(decided.clone())).await? {
            self.tell_decided(&decided).await?;
        }
        Ok(())
    }

    /// Records a decision, unless there is one or the call is over.
    pub(crate) async fn decide(&mut self, decision: &ApprovalDecision) -> Result<(), Error> {
        loop {
            let fits = |asked: &&Asked| asked.approval_id == decision.approval_id;
            let found = self.run.pending().find(fits).cloned();
            let Some(asked) = found.filter(|_| self.run.end().is_none()) else { break };
            let decided = Decided {
                turn: asked.turn,
                index: asked.index,
                approval_id: decision.approval_id.clone(),
                decision_id: decision.decision_id.clone(),
                approved: decision.decision == "approve",
                arguments: decision.arguments.clone().map(|arguments| arguments.0),
                reason: decision.reason.clone(),
                by: decision.by.clone(),
                fatal: false,
            };
            if self.record(Fact::ApprovalDecided(decided)).await? {
                break;
            }
        }
        match self.decision(&decision.approval_id).cloned() {
            Some(decided) => self.tell_decided(&decided).await,
            None => Ok(()),
        }
    }

    /// What was decided about an approval.
    pub(crate) fn decision(&self, approval_id: &str) -> Option<&Decided> {
        self.run.decided(approval_id)
    }

    /// Why a call cannot be made with these arguments; nothing where it can.
    pub(crate) fn misfit(&self, tool: &str, arguments: &JsonObject) -> Option<String> {
        let tools = self.run.started().map(|started| started.tools.as_slice()).unwrap_or_default();
        let parameters = tools.iter().find(|found| found.name == tool)?.parameters.as_ref()?;
        let schema = Schema::parse(&Value::Object(parameters.0.clone())).ok()?;
        schema.check(&Value::Object(arguments.0.clone())).err().map(|flaws| flaws.to_string())
    }

    /// The record is for those who list it; the journal decides.
    pub(super) async fn tell_request(&self, asked: &Asked) -> Result<(), Error> {
        let known = self.app.work.approval(&asked.approval_id).await?;
        if known
            .as_ref()
            .is_some_and(|known| known.escalated == asked.escalated || known.status != PENDING)
        {
            return Ok(());
        }
        let approval = Approval {
            requested_at: known.map_or_else(|| now(Utc::now()), |known| known.requested_at),
            ..self.approval(asked)
        };
        let event = AgentApprovalRequested {
            approval_id: approval.approval_id.clone(),
            execution_id: approval.execution_id.clone(),
            task: approval.task.clone(),
            agent: approval.agent.clone(),
            run_id: approval.run_id.clone(),
            tool: approval.tool.clone(),
            arguments: approval.arguments.clone(),
            approvers: approval.approvers.clone(),
            expires_at: approval.expires_at,
            on_timeout: approval.on_timeout.clone(),
            escalated: approval.escalated,
            timestamp: now(Utc::now()),
        };
        let times = if asked.escalated { "escalated" } else { "asked" };
        self.app.bus.publish(&event, &self.id_of(&[&asked.approval_id, times])).await?;
        // Last: where it is written, everybody was told.
        Ok(self.app.work.put_approval(&approval).await?)
    }

    pub(super) async fn tell_decided(&self, decided: &Decided) -> Result<(), Error> {
        let Some(known) = self.app.work.approval(&decided.approval_id).await? else {
            return Ok(());
        };
        if known.status != PENDING {
            return Ok(());
        }
        let status = if decided.approved { APPROVED } else { REJECTED };
        let approval = Approval {
            status: status.to_owned(),
            decided_arguments: decided.arguments.clone().map(JsonObject),
            reason: decided.reason.clone(),
            by: decided.by.clone(),
            decision_id: decided.decision_id.clone(),
            decided_at: now(Utc::now()),
            ..known
        };
        self.tell_approval(approval).await
    }

    /// Nobody needs to decide any more.
    pub(super) async fn withdraw(&self, asked: &Asked) -> Result<(), Error> {
        let Some(known) = self.app.work.approval(&asked.approval_id).await? else { return Ok(()) };
        if known.status != PENDING {
            return Ok(());
        }
        let approval = Approval {
            status: CANCELLED.to_owned(),
            reason: "the run is over".to_owned(),
            decided_at: now(Utc::now()),
            ..known
        };
        self.tell_approval(approval).await
    }

    async fn tell_approval(&self, approval: Approval) -> Result<(), Error> {
        let event = AgentApprovalDecided {
            approval_id: approval.approval_id.clone(),
            execution_id: approval.execution_id.clone(),
            task: approval.task.clone(),
            agent: approval.agent.clone(),
            run_id: approval.run_id.clone(),
            tool: approval.tool.clone(),
            status: approval.status.clone(),
            reason: approval.reason.clone(),
            by: approval.by.clone(),
            timestamp: approval.decided_at,
        };
        self.app.bus.publish(&event, &self.id_of(&[&approval.approval_id, "decided"])).await?;
        Ok(self.app.work.put_approval(&approval).await?)
    }

    fn approval(&self, asked: &Asked) -> Approval {
        Approval {
            approval_id: asked.approval_id.clone(),
            execution_id: self.command.execution_id.clone(),
            task: self.command.task.clone(),
            agent: self.command.agent.clone(),
            run_id: self.run_id.clone(),
            tool: asked.tool.clone(),
            arguments: Some(JsonObject(asked.arguments.clone())),
            status: PENDING.to_owned(),
            approvers: asked.approvers.clone(),
            expires_at: asked.expires_at.and_then(now),
            on_timeout: asked.on_timeout.name().to_owned(),
            escalated: asked.escalated,
            tenant: self.command.tenant.clone(),
            ..Approval::default()
        }
    }
}
