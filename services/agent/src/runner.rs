//! A run: reads its journal, does what comes next, records it, until it is over.

mod approving;
mod asking;
mod ending;
mod handing;
mod shortening;
mod standing;
mod starting;
mod threading;

pub(crate) use approving::PENDING;
pub(crate) use ending::tell_broken;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use muster_bus::{AppendError, Journal, MessageId};
use muster_contracts::agent::v1::{AgentExecutionRequested, RunEntry};
use muster_contracts::{Json, OnEvent, now, subject, time};

use crate::Error;
use crate::app::App;
use crate::domain::fact::Fact;
use crate::domain::run::{Call, End, Next, Run};
use crate::domain::team;
use crate::presence::Visit;

/// One run in this process. The journal's expected sequence fences it against another that runs elsewhere.
pub(crate) struct Runner {
    app: App,
    command: AgentExecutionRequested,
    run_id: String,
    journal: Journal<RunEntry>,
    run: Run,
    /// The sequence of the last entry that was read or written.
    last: u64,
}

impl Runner {
    pub(crate) async fn open(app: App, command: AgentExecutionRequested) -> Result<Self, Error> {
        let run_id = subject::derived_token(&command.task);
        let address = RunEntry {
            execution_id: command.execution_id.clone(),
            run_id: run_id.clone(),
            task: command.task.clone(),
            agent: command.agent.clone(),
            ..Default::default()
        };
        let journal = app.bus.journal(&address)?;
        let mut runner = Self { app, command, run_id, journal, run: Run::default(), last: 0 };
        runner.catch_up().await?;
        runner.restore();
        Ok(runner)
    }

    /// Goes on until the run is over and everybody knows, or stands still. Another message than that of this cause may go on with it already.
    pub(crate) async fn run(mut self, cause: &str, visit: &Visit) -> Result<(), Error> {
        if !self.take_over(cause).await? {
            return Ok(());
        }
        if self.run.started().is_some() {
            self.tell_start().await?;
            self.tell_decisions().await?;
        }
        loop {
            if self.run.started().is_some_and(|started| !team::is_worker(&started.definition)) {
                visit.begin().await;
            }
            match self.run.next(Utc::now()) {
                Next::Start => Box::pin(self.start()).await?,
                Next::CallModel(turn) => {
                    if !self.shorten(turn).await? {
                        self.ask_model(turn).await?;
                    }
                }
                Next::CallTools(calls) => Box::pin(self.call_tools(calls)).await?,
                Next::RequestApproval(asked) => Box::pin(self.request_approval(asked)).await?,
                Next::Escalate(asked) => Box::pin(self.escalate(asked)).await?,
                Next::Decide(decided) => Box::pin(self.decide_by_clock(decided)).await?,
                Next::AskAgent(call, agent) => Box::pin(self.ask_agent(call, agent)).await?,
                Next::HandOff(call, agent) => Box::pin(self.hand_off(call, agent)).await?,
                Next::AssignTask => self.assign_task().await?,
                Next::Suspend => {
                    if Box::pin(self.suspend()).await? {
                        return Ok(());
                    }
                }
                Next::Finish(answer) => {
                    let fact = self.finish(answer).await?;
                    self.record(fact).await?;
                }
                Next::Fail(code, error) => {
                    self.record(Fact::RunFailed { code, error, usage: self.run.usage() }).await?;
                }
                Next::Done => {
                    if matches!(self.run.end(), Some((End::Failed(..), _))) {
                        visit.failed();
                    }
                    return self.tell_end().await;
                }
            }
        }
    }

    /// Side by side; each result is recorded when it comes, so that a crash repeats only what is still open.
    async fn call_tools(&mut self, calls: Vec<Call>) -> Result<(), Error> {
        let calls = self.call_own(calls).await?;
        let caller = self.caller();
        let mut results: FuturesUnordered<_> =
            calls.into_iter().map(|call| caller.call_tool(call)).collect();
        while let Some(returned) = results.next().await {
            if !self.record(Fact::ToolReturned(returned)).await? {
                break;
            }
        }
        Ok(())
    }

    /// Makes the calls that are about the agent's inbox, and gives back the others.
    async fn call_own(&mut self, calls: Vec<Call>) -> Result<Vec<Call>, Error> {
        let started = self.run.started();
        let is_own = |call: &Call| {
            let definition = started.map(|started| &started.definition);
            call.refusal.is_none()
                && definition.is_some_and(|it| team::is_inbox_tool(it, &call.call.name))
        };
        let (own, others): (Vec<Call>, Vec<Call>) = calls.into_iter().partition(is_own);
        for call in own {
            let (returned, read) = self.call_inbox(call).await?;
            if self.record(Fact::ToolReturned(returned)).await? {
                self.app.work.forget(&read).await?;
            }
        }
        Ok(others)
    }

    /// Appends a fact. False where somebody else was faster: then the run is what the journal says, and what comes next may be something else.
    async fn record(&mut self, fact: Fact) -> Result<bool, Error> {
        match self.append(fact).await {
            // A fact that no journal takes, because it is too large say, would fail in every try.
            Err(Error::Fault(fault)) if fault.code.on_event() == OnEvent::DeadLetter => {
                let error = format!("a step of the run cannot be recorded: {}", fault.message);
                let usage = self.run.usage();
                self.append(Fact::RunFailed { code: fault.code, error, usage }).await
            }
            appended => appended,
        }
    }

    async fn append(&mut self, fact: Fact) -> Result<bool, Error> {
        let at = Utc::now();
        let fact_json = serde_json::to_value(&fact)
            .map_err(|error| Error::Damaged(format!("a fact cannot be written: {error}")))?;
        let entry = RunEntry {
            execution_id: self.command.execution_id.clone(),
            run_id: self.run_id.clone(),
            task: self.command.task.clone(),
            agent: self.command.agent.clone(),
            at: now(at),
            fact: Some(Json(fact_json)),
        };
        // Random: two writers with different facts must never be taken for each other. The sequence is the fence.
        match self.journal.append(&entry, self.last, &MessageId::random()).await {
            Ok(sequence) => {
                self.run.apply(fact, at);
                self.last = sequence;
                Ok(true)
            }
            Err(AppendError::Conflict) => {
                self.catch_up().await?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn catch_up(&mut self) -> Result<(), Error> {
        for (sequence, entry) in self.journal.read_after(self.last).await? {
            let fact = entry.fact.unwrap_or_default().0;
            let fact = serde_json::from_value(fact).map_err(|error| {
                Error::Damaged(format!(
                    "run {} has a fact that cannot be read: {error}",
                    self.run_id
                ))
            })?;
            self.run.apply(fact, time(entry.at.as_ref()));
            self.last = sequence;
        }
        Ok(())
    }

    fn id(&self, what: &str) -> MessageId {
        id(&self.command, what)
    }

    /// The time that is left; the run checks itself when it is over.
    fn deadline(&self) -> DateTime<Utc> {
        self.run.deadline().unwrap_or_else(Utc::now)
    }
}

/// An id that every try of this run shares.
fn id(command: &AgentExecutionRequested, what: &str) -> MessageId {
    MessageId::derived([what, &command.execution_id, &command.task])
}
