//! Work that others do for a run: agents in runs of their own, agents that go on with it, programs on the bus.

use chrono::{TimeDelta, Utc};
use muster_bus::MessageId;
use muster_contracts::agent::v1::{
    AgentBroadcast, AgentDefinition, AgentExecutionRequested, AgentMessage, AgentResult, AgentTask,
    AgentTaskAssigned, AgentTaskCompleted, AgentTaskFailed, CallEnd, ContinueAgentRun, RunOrigin,
};
use muster_contracts::tool::v1::ToolDefinition;
use muster_contracts::{Code, Fault, Json, JsonObject, now, time};
use serde_json::{Map, Value, json};

use super::Runner;
use crate::Error;
use crate::domain::fact::{AgentAsked, Fact, HandedOff, Returned, TaskAssigned};
use crate::domain::run::{Call, End};
use crate::domain::{team, template};
use crate::work::{Letter, Task, Waiting};

/// How long a program may take for a task that does not say it.
const TASK_MS: u32 = 600_000;

impl Runner {
    /// Lets another agent answer a call. It is told at once, so that several answer side by side.
    pub(super) async fn ask_agent(&mut self, call: Call, agent: String) -> Result<(), Error> {
        let asked = AgentAsked {
            turn: call.turn,
            index: call.index,
            asked: agent,
            asked_task: format!("{}>{}.{}", self.command.task, call.turn, call.index),
        };
        if self.record(Fact::AgentAsked(asked.clone())).await? {
            let arguments = call.call.arguments.unwrap_or_default().0;
            self.ask_run(&asked, team::request(&arguments)).await?;
        }
        Ok(())
    }

    /// Asks for the run of another agent; a second time changes nothing.
    pub(super) async fn ask_run(&self, asked: &AgentAsked, input: Value) -> Result<(), Error> {
        let command = self.command_of(asked, Some(input));
        let id = self.id_of(&["asked", &asked.turn.to_string(), &asked.index.to_string()]);
        self.app.bus.publish(&command, &id).await?;
        Ok(())
    }

    /// The command of a run that another agent does for this one.
    pub(super) fn command_of(
        &self,
        asked: &AgentAsked,
        input: Option<Value>,
    ) -> AgentExecutionRequested {
        let name = self.run.started().map_or("", |started| &started.definition.name);
        AgentExecutionRequested {
            execution_id: self.command.execution_id.clone(),
            task: asked.asked_task.clone(),
            agent: asked.asked.clone(),
            input: input.map(Json),
            tenant: self.command.tenant.clone(),
            key_id: self.command.key_id.clone(),
            origin: Some(RunOrigin {
                root_task: self.root_task(),
                parent_task: self.command.task.clone(),
                parent_agent: self.command.agent.clone(),
                turn: asked.turn,
                index: asked.index,
                path: team::path(self.command.origin.as_ref(), name),
                ..RunOrigin::default()
            }),
            ..AgentExecutionRequested::default()
        }
    }

    /// Lets another agent go on with the run. Where that is not possible, the model hears why.
    pub(super) async fn hand_off(&mut self, call: Call, agent: String) -> Result<(), Error> {
        let fact = match self.successor(&agent).await? {
            Ok((definition, tools)) => {
                let (turn, index) = (call.turn, call.index);
                Fact::HandedOff(Box::new(HandedOff { turn, index, definition, tools }))
            }
            Err(error) => Fact::ToolReturned(Returned {
                turn: call.turn,
                index: call.index,
                name: call.call.name,
                error: Some(error),
                ..Returned::default()
            }),
        };
        self.record(fact).await.map(drop)
    }

    async fn successor(
        &self,
        agent: &str,
    ) -> Result<Result<(AgentDefinition, Vec<ToolDefinition>), String>, Error> {
        let mut definition = match self.app.registry.get(agent).await {
            Ok(definition) => definition,
            Err(error @ Error::UnknownAgent { .. }) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        if definition.template {
            let input = self.run.started().map(|started| started.input.clone()).unwrap_or_default();
            match template::fill(&definition.instructions, &definition.name, &input) {
                Ok(instructions) => definition.instructions = instructions,
                Err(flaw) => return Ok(Err(flaw.to_string())),
            }
        }
        match self.tools(&definition).await {
            Ok(mut tools) => {
                tools.extend(self.team_tools(&definition).await?);
                Ok(Ok((definition, tools)))
            }
            Err(fault) => Ok(Err(format!("the tools of agent {agent:?}: {}", fault.message))),
        }
    }

    /// The tools by which the agent works with others, with what each of those is good for.
    pub(super) async fn team_tools(
        &self,
        definition: &AgentDefinition,
    ) -> Result<Vec<ToolDefinition>, Error> {
        let mut about = Map::new();
        for name in team::members(definition) {
            let text = match self.app.registry.get(&name).await {
                Ok(found) => found.description,
                Err(Error::UnknownAgent { .. }) => "It is not there at the moment.".to_owned(),
                Err(error) => return Err(error),
            };
            about.insert(name, Value::String(text));
        }
        Ok(team::tools(definition, |name| {
            about.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
        }))
    }

    /// Gives the run to the program that is the agent.
    pub(super) async fn assign_task(&mut self) -> Result<(), Error> {
        let definition =
            self.run.started().map(|started| started.definition.clone()).unwrap_or_default();
        let id = MessageId::derived([
            "task",
            &self.command.execution_id,
            &self.command.task,
            &definition.name,
        ]);
        let at = Utc::now();
        let ms = Some(definition.timeout_ms).filter(|ms| *ms > 0).unwrap_or(TASK_MS);
        let task = TaskAssigned {
            task_id: id.as_str().to_owned(),
            assignee: definition.name,
            assigned_at: at,
            expires_at: at + TimeDelta::milliseconds(i64::from(ms)),
        };
        self.record(Fact::TaskAssigned(task)).await.map(drop)
    }

    /// Hands the task to the program. It gets the same task again while nobody says that it works on it.
    pub(super) async fn give_task(&self, task: &TaskAssigned) -> Result<(), Error> {
        let record = Task {
            told: AgentTask {
                task_id: task.task_id.clone(),
                agent_id: task.assignee.clone(),
                execution_id: self.command.execution_id.clone(),
                status: "running".to_owned(),
                timestamp: now(task.assigned_at),
                ..AgentTask::default()
            },
            run: Some(Waiting {
                execution_id: self.command.execution_id.clone(),
                task: self.command.task.clone(),
                agent: self.command.agent.clone(),
            }),
        };
        self.app.work.add_task(&record).await?;
        let status = self.app.work.status(&task.assignee).await?.unwrap_or_default();
        let is_busy =
            status.status == "running" && time(status.timestamp.as_ref()) >= task.assigned_at;
        if is_busy {
            return Ok(());
        }
        let message = AgentTaskAssigned {
            agent_id: task.assignee.clone(),
            task_id: task.task_id.clone(),
            r#type: if self.run.is_handed_over() { "handoff" } else { "run" }.to_owned(),
            params: Some(JsonObject(self.params())),
            execution_id: self.command.execution_id.clone(),
        };
        self.app.bus.publish(&message, &MessageId::random()).await?;
        Ok(())
    }

    /// What a program is given: the input, and after a hand-off what was said since.
    fn params(&self) -> Map<String, Value> {
        let input = self.run.started().map(|started| started.input.clone()).unwrap_or_default();
        if !self.run.is_handed_over() {
            return Map::from_iter([("input".to_owned(), input)]);
        }
        let said = self.run.messages().iter().skip(1);
        let conversation: Vec<Value> = said
            .filter(|message| !message.content.is_empty())
            .map(|message| json!({"role": message.role, "content": message.content}))
            .collect();
        Map::from_iter([
            ("input".to_owned(), input),
            ("conversation".to_owned(), conversation.into()),
        ])
    }

    /// Makes a call that is about the agent's inbox.
    pub(super) async fn call_inbox(&self, call: Call) -> Result<(Returned, Vec<String>), Error> {
        let returned = Returned {
            turn: call.turn,
            index: call.index,
            name: call.call.name.clone(),
            ..Returned::default()
        };
        if call.call.name == team::READ_INBOX {
            let letters = self.app.work.inbox(self.name()).await?;
            let messages: Vec<Value> = letters.iter().map(shown).collect();
            let read = letters.into_iter().filter(Letter::is_done);
            let keys = read.map(|letter| letter.key).collect();
            let result = Some(json!({ "messages": messages }));
            return Ok((Returned { result, ..returned }, keys));
        }
        let id = self.id_of(&["sent", &call.turn.to_string(), &call.index.to_string()]);
        let arguments = call.call.arguments.unwrap_or_default().0;
        let returned = match self.send(&arguments, &id).await {
            Ok(to) => Returned { result: Some(json!({ "sent_to": to })), ..returned },
            Err(Error::Fault(fault)) if matches!(fault.code, Code::Unavailable) => {
                return Err(Error::Fault(fault));
            }
            Err(error) => Returned { error: Some(error.to_string()), ..returned },
        };
        Ok((returned, Vec::new()))
    }

    async fn send(&self, arguments: &Map<String, Value>, id: &MessageId) -> Result<String, Error> {
        let text =
            |name: &str| arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (to, content, message_type) = (text("to"), text("content"), text("message_type"));
        if to.is_empty() || content.is_empty() {
            let error = "`to` and `content` must be texts that are not empty";
            return Err(Fault::new(Code::Invalid, error).into());
        }
        let (from_agent, timestamp) = (self.name().to_owned(), now(Utc::now()));
        if to == team::ALL {
            let message = AgentBroadcast { from_agent, content, message_type, timestamp };
            self.app.bus.publish(&message, id).await?;
        } else {
            self.app.registry.get(&to).await?;
            let to_agent = to.clone();
            let message = AgentMessage { to_agent, from_agent, content, message_type, timestamp };
            self.app.bus.publish(&message, id).await?;
        }
        Ok(to)
    }

    /// The agent that the run is with now.
    pub(super) fn name(&self) -> &str {
        self.run.started().map_or(&self.command.agent, |started| &started.definition.name)
    }

    /// Tells those who wait for this run: the run that asked, the task that it does, and whoever reads results.
    pub(super) async fn tell_waiting(&self) -> Result<(), Error> {
        let Some((end, at)) = self.run.end() else { return Ok(()) };
        let (output, code, error) = match end {
            End::Completed(output) => (output.clone(), "", String::new()),
            End::Failed(code, error) => (Value::Null, code.name(), error.clone()),
            End::Cancelled => {
                (Value::Null, Code::Conflict.name(), "the run was cancelled".to_owned())
            }
        };
        self.tell_result(&output, &error, now(*at)).await?;
        let Some(origin) = self.command.origin.clone() else { return Ok(()) };
        if !origin.task_id.is_empty() {
            self.tell_task(&origin.task_id, &output, &error, now(*at)).await?;
        }
        if origin.parent_task.is_empty() {
            return Ok(());
        }
        let message = ContinueAgentRun {
            execution_id: self.command.execution_id.clone(),
            task: origin.parent_task,
            agent: origin.parent_agent,
            cause: format!("run {}", self.command.task),
            decision: None,
            end: Some(CallEnd {
                turn: origin.turn,
                index: origin.index,
                output: Some(Json(output)),
                code: code.to_owned(),
                error,
                usage: Some(self.run.usage()),
            }),
        };
        self.app.bus.publish(&message, &self.id_of(&["answered"])).await?;
        Ok(())
    }

    async fn tell_result(
        &self,
        output: &Value,
        error: &str,
        timestamp: Option<muster_contracts::Timestamp>,
    ) -> Result<(), Error> {
        let text = |name: &str| output.get(name).and_then(Value::as_str).unwrap_or_default();
        let mut metadata = Map::new();
        for name in ["tokens", "data"] {
            metadata.extend(output.get(name).map(|value| (name.to_owned(), value.clone())));
        }
        let status = if error.is_empty() { "completed" } else { "failed" };
        let result = AgentResult {
            agent: self.name().to_owned(),
            task: self.command.task.clone(),
            status: status.to_owned(),
            summary: if error.is_empty() { text("summary") } else { error }.to_owned(),
            nats_channel: text("deliverable").replace('/', "."),
            metadata: Some(JsonObject(metadata)),
            execution_id: self.command.execution_id.clone(),
            timestamp,
        };
        self.app.bus.publish(&result, &self.id_of(&["result"])).await?;
        Ok(())
    }

    async fn tell_task(
        &self,
        task_id: &str,
        output: &Value,
        error: &str,
        timestamp: Option<muster_contracts::Timestamp>,
    ) -> Result<(), Error> {
        let known = self.app.work.task(task_id).await?.unwrap_or_default();
        let (agent_id, execution_id) = (self.command.agent.clone(), known.told.execution_id);
        let (task_id, id) = (task_id.to_owned(), self.id_of(&["task ended"]));
        if error.is_empty() {
            let result = Some(Json(output.clone()));
            let event = AgentTaskCompleted { agent_id, task_id, result, timestamp, execution_id };
            self.app.bus.publish(&event, &id).await?;
        } else {
            let error = error.to_owned();
            let event = AgentTaskFailed { agent_id, task_id, error, timestamp, execution_id };
            self.app.bus.publish(&event, &id).await?;
        }
        Ok(())
    }
}

/// A message as a model reads it.
fn shown(letter: &Letter) -> Value {
    match &letter.message {
        Ok(message) => json!({
            "from_agent": message.from_agent,
            "content": message.content,
            "message_type": message.message_type,
            "timestamp": time(message.timestamp.as_ref()),
        }),
        Err(reason) => json!({ "unreadable": reason.message }),
    }
}
