//! The end of a run: the deliverable, its notice, and the event that everybody waits for.

use chrono::Utc;
use muster_bus::MessageId;
use muster_contracts::agent::v1::{
    AgentDefinition, AgentExecutionCancelled, AgentExecutionCompleted, AgentExecutionFailed,
    AgentExecutionRequested, Usage,
};
use muster_contracts::gateway::v1::TokensSaved;
use muster_contracts::{Code, HasCode, Json, now, subject};
use muster_deliverable::{Address, Deliverables, Draft, Published};
use serde_json::Value;

use super::threading::settle_broken;
use super::{Runner, id};
use crate::Error;
use crate::app::App;
use crate::domain::fact::Fact;
use crate::domain::notice::{self, About, is_shared};
use crate::domain::run::{Answer, End};
use crate::tokenizer::{count, counting};

/// The longest deliverable, in bytes.
const MAX_CONTENT: usize = 1 << 20;
/// A version that no stream will ever have.
const WIDEST: u64 = 9_999_999_999;
/// What saved tokens, on the event that tells it.
const BY_NOTICE: &str = "notice";

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
        let definition = self.definition();
        let address = match notice::address(&definition, &self.input(), &self.short_name()) {
            Ok(address) => address,
            Err(error) => {
                return Ok(Fact::RunFailed {
                    code: Code::Invalid,
                    error: error.to_string(),
                    usage,
                });
            }
        };
        // Refused before it is stored: the version is not known yet, but none is longer.
        let widest = address.clone().at(Some(WIDEST));
        if let Err(error) = noticed(widest, &answer).await? {
            return Ok(Fact::AnswerRefused { flaw: error.to_string() });
        }
        let stored = self.store(address, answer.content.clone()).await?;
        let address = stored.address.at(Some(stored.sequence).filter(|_| is_shared(&definition)));
        match noticed(address, &answer).await? {
            Ok(output) => Ok(Fact::RunCompleted { output, usage }),
            Err(error) => Ok(Fact::AnswerRefused { flaw: error.to_string() }),
        }
    }

    /// The deliverable is there before anybody can read of it.
    async fn store(&self, address: Address, content: String) -> Result<Published, Error> {
        let draft = Draft {
            address,
            content,
            execution_id: self.command.execution_id.clone(),
            task: self.command.task.clone(),
            timestamp: now(Utc::now()),
        };
        let deliverables = Deliverables::new(&self.app.bus);
        let id = Some(self.id("deliverable"));
        Ok(Box::pin(deliverables.publish(draft, id)).await?)
    }

    /// A name for what this run makes: short, because it travels in every notice.
    pub(super) fn short_name(&self) -> String {
        let run = MessageId::derived([self.command.execution_id.as_str(), &self.run_id]);
        run.as_str().chars().take(16).collect()
    }

    fn definition(&self) -> AgentDefinition {
        self.run.started().map(|started| started.definition.clone()).unwrap_or_default()
    }

    fn input(&self) -> Value {
        self.run.started().map(|started| started.input.clone()).unwrap_or_default()
    }

    /// Ends the run where it is, if it has not ended.
    pub(crate) async fn cancel(mut self) -> Result<(), Error> {
        // Until it is recorded: another process may have recorded something meanwhile.
        while self.run.end().is_none() {
            let usage = self.run.usage();
            self.record(Fact::RunCancelled { usage }).await?;
        }
        self.tell_end().await?;
        // Whoever had it may have crashed.
        let AgentExecutionRequested { agent, execution_id, task, .. } = &self.command;
        self.app.presence.over(agent, execution_id, task).await;
        Ok(())
    }

    /// Tells how the run ended; a second time changes nothing.
    pub(super) async fn tell_end(&self) -> Result<(), Error> {
        let Some((end, at)) = self.run.end() else { return Ok(()) };
        self.settle(end).await?;
        Box::pin(self.wind_up()).await?;
        let (execution_id, task, agent, run_id) = (
            self.command.execution_id.clone(),
            self.command.task.clone(),
            self.command.agent.clone(),
            self.run_id.clone(),
        );
        self.tell_saving().await?;
        let (usage, timestamp, id) = (self.own_usage(end), now(*at), self.id("ended"));
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

    /// What the run spent. Where another run has asked for this one and got its answer, that one says it: nothing is counted twice.
    fn own_usage(&self, end: &End) -> Option<Usage> {
        let origin = self.command.origin.as_ref();
        let counted = origin.is_some_and(|origin| !origin.parent_task.is_empty());
        (!counted || *end == End::Cancelled).then(|| self.run.usage())
    }

    /// What notices saved the run. Told at its end, when it is known what was fetched after all.
    async fn tell_saving(&self) -> Result<(), Error> {
        let usage = self.run.usage();
        if usage.pasted_tokens == 0 {
            return Ok(());
        }
        let event = TokensSaved {
            by: BY_NOTICE.to_owned(),
            tokens: usage.saved_tokens,
            execution_id: self.command.execution_id.clone(),
            timestamp: now(Utc::now()),
            agent: self.command.agent.clone(),
            task: self.command.task.clone(),
            pasted_tokens: usage.pasted_tokens,
            notice_tokens: usage.pasted_tokens.saturating_sub(usage.saved_tokens),
            fetched_tokens: usage.fetched_tokens,
            tenant: self.command.tenant.clone(),
            ..TokensSaved::default()
        };
        self.app.bus.publish(&event, &self.id("saved")).await?;
        Ok(())
    }
}

/// The notice of an answer at this address.
async fn noticed(
    address: Address,
    answer: &Answer,
) -> Result<Result<Value, notice::TooLarge>, Error> {
    let (content, data) = (answer.content.clone(), answer.data.clone());
    let composed = counting(move || {
        let about = About { address: &address, content: &content, tokens: count(&content) };
        notice::compose(about, data.as_ref())
    });
    Ok(composed.await?)
}

/// Tells the end of a run whose journal cannot be read or written any more. The id is that of every end: a run has one.
pub(crate) async fn tell_broken(
    app: &App,
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
    app.bus.publish(&event, &id(command, "ended")).await?;
    settle_broken(app, command, event.error).await
}
