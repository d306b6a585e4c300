//! The end of a run: the deliverable, its notice, and the event that everybody waits for.

use chrono::Utc;
use muster_bus::{Bus, MessageId};
use muster_contracts::agent::v1::{
    AgentExecutionCancelled, AgentExecutionCompleted, AgentExecutionFailed, AgentExecutionRequested,
};
use muster_contracts::deliverable::v1::Deliverable;
use muster_contracts::{Code, HasCode, Json, now, subject};
use sha2::{Digest, Sha256};

use super::{Runner, id};
use crate::Error;
use crate::domain::definition::hex;
use crate::domain::fact::Fact;
use crate::domain::notice;
use crate::domain::run::{Answer, End};
use crate::tokenizer::{count, counting};

/// The longest deliverable, in bytes.
const MAX_CONTENT: usize = 1 << 20;
/// What agents produce. The feature of its address tells runs apart.
const TYPE: &str = "report";

impl Runner {
    /// Stores the answer and says how the run ended. The deliverable is there before anybody can read of it.
    pub(super) async fn finish(&self, answer: Answer) -> Result<Fact, Error> {
        let usage = self.run.usage();
        if answer.content.len() > MAX_CONTENT {
            let error = format!(
                "the answer has {} bytes; a deliverable has at most {MAX_CONTENT}",
                answer.content.len()
            );
            return Ok(Fact::RunFailed { code: Code::Invalid, error, usage });
        }
        let unmeasured = self.deliverable(answer.content);
        let composed = counting(move || {
            let deliverable = Deliverable { tokens: count(&unmeasured.content), ..unmeasured };
            let notice = notice::compose(&deliverable, answer.data.as_ref(), count);
            (deliverable, notice)
        });
        let (deliverable, notice) = composed.await?;
        match notice {
            Ok(output) => {
                self.app.bus.publish(&deliverable, &self.id("deliverable")).await?;
                Ok(Fact::RunCompleted { output, usage })
            }
            Err(error) => Ok(Fact::AnswerRefused { flaw: error.to_string() }),
        }
    }

    /// Ends the run where it is, if it has not ended.
    pub(crate) async fn cancel(mut self) -> Result<(), Error> {
        // Until it is recorded: another process may have recorded something meanwhile.
        while self.run.end().is_none() {
            let usage = self.run.usage();
            self.record(Fact::RunCancelled { usage }).await?;
        }
        self.tell_end().await
    }

    /// Tells how the run ended; a second time changes nothing.
    pub(super) async fn tell_end(&self) -> Result<(), Error> {
        let Some((end, at)) = self.run.end() else { return Ok(()) };
        let (execution_id, task, agent, run_id) = (
            self.command.execution_id.clone(),
            self.command.task.clone(),
            self.command.agent.clone(),
            self.run_id.clone(),
        );
        let (usage, timestamp, id) = (Some(self.run.usage()), now(*at), self.id("ended"));
        match end {
            End::Completed(output) => {
                let event = AgentExecutionCompleted {
                    execution_id,
                    task,
                    agent,
                    run_id,
                    output: Some(Json(output.clone())),
                    usage,
                    timestamp,
                };
                self.app.bus.publish(&event, &id).await?;
            }
            End::Cancelled => {
                let event = AgentExecutionCancelled {
                    execution_id,
                    task,
                    agent,
                    run_id,
                    reason: "its task is cancelled".to_owned(),
                    usage,
                    timestamp,
                };
                self.app.bus.publish(&event, &id).await?;
            }
            End::Failed(code, error) => {
                let event = AgentExecutionFailed {
                    execution_id,
                    task,
                    agent,
                    run_id,
                    code: code.name().to_owned(),
                    error: error.clone(),
                    usage,
                    timestamp,
                };
                self.app.bus.publish(&event, &id).await?;
            }
        }
        Ok(())
    }

    fn deliverable(&self, content: String) -> Deliverable {
        // Short, because it travels in every notice.
        let run = MessageId::derived([self.command.execution_id.as_str(), &self.run_id]);
        Deliverable {
            agent: self.command.agent.clone(),
            r#type: TYPE.to_owned(),
            feature: run.as_str().chars().take(16).collect(),
            sha256: hex(&Sha256::digest(content.as_bytes())),
            content,
            tokens: 0,
            execution_id: self.command.execution_id.clone(),
            task: self.command.task.clone(),
            timestamp: now(Utc::now()),
        }
    }
}

/// Tells the end of a run whose journal cannot be read or written any more. The id is that of every end: a run has one.
pub(crate) async fn tell_broken(
    bus: &Bus,
    command: &AgentExecutionRequested,
    error: &Error,
) -> Result<(), Error> {
    let code = error.code();
    let event = AgentExecutionFailed {
        execution_id: command.execution_id.clone(),
        task: command.task.clone(),
        agent: command.agent.clone(),
        run_id: subject::derived_token(&command.task),
        code: code.name().to_owned(),
        // What is internal stays in the log.
        error: if code == Code::Internal { "internal error".to_owned() } else { error.to_string() },
        usage: None,
        timestamp: now(Utc::now()),
    };
    bus.publish(&event, &id(command, "ended")).await?;
    Ok(())
}
