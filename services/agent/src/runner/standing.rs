//! Standing still and going on: what a run waits for is told to everybody, and its process forgets it.

use chrono::{DateTime, TimeDelta, Utc};
use muster_bus::MessageId;
use muster_contracts::agent::v1::{AgentWakeFired, ContinueAgentRun};
use muster_contracts::{Code, now};

use super::Runner;
use crate::Error;
use crate::app::App;
use crate::domain::approval::Decided;
use crate::domain::fact::{Fact, Returned, TaskEnded};
use crate::work::{self, root_task};

impl Runner {
    /// Opens a run that has begun; none where there is nothing to go on with.
    pub(crate) async fn reopen(
        app: App,
        execution_id: &str,
        task: &str,
        agent: &str,
    ) -> Result<Option<Self>, Error> {
        let runner = Self::open(app, work::command(execution_id, task, agent)).await?;
        Ok(Some(runner).filter(|runner| runner.run.started().is_some()))
    }

    /// Whose command began the run, without its input.
    pub(crate) fn command(&self) -> &muster_contracts::agent::v1::AgentExecutionRequested {
        &self.command
    }

    /// The task of the workflow in whose name the run is: what cancels that, cancels the run.
    pub(super) fn root_task(&self) -> String {
        root_task(&self.command.task, self.command.origin.as_ref())
    }

    /// Whoever goes on with the run later has of its command what the journal has.
    pub(super) fn restore(&mut self) {
        let began = self.run.started().and_then(|started| started.command.clone());
        if let Some(began) = began {
            let input = self.command.input.take();
            self.command = began;
            self.command.input = input;
        }
    }

    /// Whether the message with this cause goes on with the run. Of several only one does, in whatever processes they are.
    pub(super) async fn take_over(&mut self, cause: &str) -> Result<bool, Error> {
        loop {
            match self.run.owner() {
                _ if self.run.end().is_some() => return Ok(true),
                Some(owner) => return Ok(owner == cause),
                None => {
                    let resumed = Fact::RunResumed { cause: cause.to_owned() };
                    if self.record(resumed).await? {
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Stands still, unless something came in the last moment. True where it does.
    pub(super) async fn suspend(&mut self) -> Result<bool, Error> {
        self.tell_waits().await?;
        self.record(Fact::RunSuspended).await
    }

    /// Tells what the run waits for; a second time changes nothing. Everything is told before the run stands still.
    async fn tell_waits(&self) -> Result<(), Error> {
        let mut wakes = Vec::new();
        for asked in self.run.pending() {
            self.tell_request(asked).await?;
            wakes.extend(asked.expires_at);
        }
        for (asked, input) in self.run.asked() {
            self.ask_run(asked, input).await?;
        }
        if let Some(task) = self.run.task() {
            self.give_task(task).await?;
            // A program that was away gets the task again, each time later.
            let since = Utc::now() - task.assigned_at;
            let again = task.assigned_at + (since * 3).max(TimeDelta::seconds(5));
            wakes.push(task.expires_at.min(again));
        }
        match wakes.into_iter().min() {
            Some(at) => self.wake(at).await,
            None => Ok(()),
        }
    }

    async fn wake(&self, at: DateTime<Utc>) -> Result<(), Error> {
        let timer = AgentWakeFired {
            execution_id: self.command.execution_id.clone(),
            run_id: self.run_id.clone(),
            task: self.command.task.clone(),
            agent: self.command.agent.clone(),
            fire_at: now(at),
        };
        let id = self.id(&format!("wake {}", at.timestamp_micros()));
        Ok(self.app.bus.schedule(&timer, at, &id).await?)
    }

    /// Something may have become due. Whoever is busy with the run looks again before it stands still.
    pub(crate) async fn woken(&mut self, cause: &str) -> Result<(), Error> {
        while self.run.end().is_none() && self.run.owner().is_some_and(|owner| owner != cause) {
            if self.record(Fact::RunWoken { cause: cause.to_owned() }).await? {
                break;
            }
        }
        Ok(())
    }

    /// Records what a run waits for, once.
    pub(crate) async fn receive(&mut self, message: &ContinueAgentRun) -> Result<(), Error> {
        if let Some(decision) = &message.decision {
            self.decide(decision).await?;
        }
        if let Some(end) = &message.end {
            let code = Code::ALL.into_iter().find(|code| code.name() == end.code);
            let error = Some(end.error.clone()).filter(|_| !end.code.is_empty());
            let output = end.output.clone().unwrap_or_default().0;
            if end.turn == 0 {
                self.end_task(TaskEnded { output, error, code }).await?;
            } else {
                let returned = Returned {
                    turn: end.turn,
                    index: end.index,
                    result: Some(output).filter(|_| error.is_none()),
                    error,
                    usage: end.usage,
                    ..Returned::default()
                };
                self.take_answer(returned).await?;
            }
        }
        Ok(())
    }

    async fn end_task(&mut self, ended: TaskEnded) -> Result<(), Error> {
        while self.run.task().is_some() {
            if self.record(Fact::TaskEnded(ended.clone())).await? {
                break;
            }
        }
        Ok(())
    }

    async fn take_answer(&mut self, returned: Returned) -> Result<(), Error> {
        let place = (returned.turn, returned.index);
        loop {
            let mut asked = self.run.asked().map(|(asked, _)| asked);
            let open = asked.find(|asked| (asked.turn, asked.index) == place);
            let Some(name) = open.map(|open| format!("ask_{}", open.asked)) else {
                return Ok(());
            };
            drop(asked);
            if self.record(Fact::ToolReturned(Returned { name, ..returned.clone() })).await? {
                return Ok(());
            }
        }
    }

    /// Tells of decisions that a crash may have kept from being told.
    pub(super) async fn tell_decisions(&self) -> Result<(), Error> {
        let decided: Vec<Decided> = self.run.decisions().cloned().collect();
        for decided in decided {
            self.tell_decided(&decided).await?;
        }
        Ok(())
    }

    /// What nobody needs any more when the run is over: questions to people, and runs of others.
    pub(super) async fn wind_up(&self) -> Result<(), Error> {
        self.tell_decisions().await?;
        for asked in self.run.pending() {
            self.withdraw(asked).await?;
        }
        for (asked, _) in self.run.asked() {
            let app = self.app.clone();
            let command = self.command_of(asked, None);
            let child = Box::pin(Self::open(app, command)).await?;
            Box::pin(child.cancel()).await?;
        }
        self.tell_waiting().await
    }

    /// An id of something that happens once in the run.
    pub(super) fn id_of(&self, parts: &[&str]) -> MessageId {
        self.id(&parts.join(" "))
    }
}
