//! The beginning of a run: the agent, its tools, and what its input saves.

use chrono::{TimeDelta, Utc};
use muster_contracts::agent::v1::{
    AgentDefinition, AgentExecutionRequested, AgentExecutionStarted,
};
use muster_contracts::llm::v1::ChatMessage;
use muster_contracts::tool::v1::{ListToolsRequest, ToolDefinition, ToolList};
use muster_contracts::{Code, Fault, now};
use muster_deliverable::{Address, Deliverables};
use serde_json::Value;
use tracing::warn;

use super::Runner;
use super::asking::{is_passing, left_until, pause};
use crate::Error;
use crate::domain::definition::overrides::overridden;
use crate::domain::definition::{Flaw, seconds};
use crate::domain::fact::{Fact, Started};
use crate::domain::{memory, notice, template, tool_search};
use crate::tokenizer::{count, counting};

impl Runner {
    pub(super) async fn start(&mut self) -> Result<(), Error> {
        let input = self.command.input.clone().unwrap_or_default().0;
        let definition = match self.app.registry.get(&self.command.agent).await {
            Ok(definition) => definition,
            Err(error @ Error::UnknownAgent { .. }) => {
                return self.refuse(Code::NotFound, error.to_string()).await;
            }
            Err(error) => return Err(error),
        };
        let definition = match self.effective(definition, &input) {
            Ok(definition) => definition,
            Err(flaw) => return self.refuse(Code::Invalid, flaw.to_string()).await,
        };
        let Some(history) = self.history().await? else {
            let error = format!("thread {:?} is gone", self.command.thread_id);
            return self.refuse(Code::NotFound, error).await;
        };
        let mut tools = match self.tools(&definition).await {
            Ok(tools) => tools,
            Err(fault) => {
                let error = format!("the tools of agent {:?}: {}", definition.name, fault.message);
                return self.refuse(fault.code, error).await;
            }
        };
        tools.extend(self.team_tools(&definition).await?);
        // Before anything is paid for an answer that could not be stored.
        if let Err(error) = notice::address(&definition, &input, &self.short_name()) {
            return self.refuse(Code::Invalid, error.to_string()).await;
        }
        let (pasted_tokens, notice_tokens) = self.savings(&input).await?;
        if self
            .record(Fact::RunStarted(Started {
                definition,
                tools,
                input,
                history,
                command: Some(AgentExecutionRequested { input: None, ..self.command.clone() }),
                overrides: self.command.overrides.clone().map(|given| Value::Object(given.0)),
                pasted_tokens,
                notice_tokens,
            }))
            .await?
        {
            self.tell_start().await?;
        }
        Ok(())
    }

    /// The definition as this run has it: with its overrides, and with the template filled.
    fn effective(
        &self,
        definition: AgentDefinition,
        input: &Value,
    ) -> Result<AgentDefinition, Flaw> {
        let mut definition = overridden(definition, self.command.overrides.as_ref())?;
        if definition.template {
            definition.instructions =
                template::fill(&definition.instructions, &definition.name, input)?;
        }
        Ok(definition)
    }

    /// What was said before in the run's thread; nothing where the thread is gone.
    async fn history(&self) -> Result<Option<Vec<ChatMessage>>, Error> {
        if self.command.thread_id.is_empty() {
            return Ok(Some(Vec::new()));
        }
        let thread = self.app.threads.load(&self.command.thread_id).await?;
        Ok(thread.map(|thread| thread.value.before(&self.command.message_id)))
    }

    /// Tells that the run began; a second time changes nothing.
    pub(super) async fn tell_start(&self) -> Result<(), Error> {
        let event = AgentExecutionStarted {
            execution_id: self.command.execution_id.clone(),
            task: self.command.task.clone(),
            agent: self.command.agent.clone(),
            run_id: self.run_id.clone(),
            timestamp: now(self.run.started_at().unwrap_or_else(Utc::now)),
        };
        self.app.bus.publish(&event, &self.id("started")).await?;
        Ok(())
    }

    async fn refuse(&mut self, code: Code, error: String) -> Result<(), Error> {
        self.record(Fact::RunFailed { code, error, usage: self.run.usage() }).await.map(drop)
    }

    /// The agent's tools, in the order of its definition: the same prompt for every run. A tool service that is away is
    /// waited for as long as the run may last.
    pub(super) async fn tools(
        &self,
        definition: &AgentDefinition,
    ) -> Result<Vec<ToolDefinition>, Fault> {
        let names = &definition.tools;
        let own = if definition.memory.is_some() { memory::tools() } else { Vec::new() };
        if names.is_empty() {
            return Ok(own);
        }
        let patience = TimeDelta::seconds(i64::from(seconds(definition)));
        let (deadline, mut tries) = (Utc::now() + patience, 0);
        loop {
            tries += 1;
            let asked = self.app.bus.request(&ListToolsRequest { names: names.clone() }).await;
            let fault = match asked {
                Ok(ToolList { mut tools }) => {
                    tools.sort_by_key(|tool| names.iter().position(|name| is_meant(name, tool)));
                    let mut tools = tool_search::with_search(tools);
                    tools.extend(own);
                    return Ok(tools);
                }
                Err(fault) => fault,
            };
            let pause = pause(tries, &fault);
            if !is_passing(&fault, tries) || left_until(deadline) <= pause {
                return Err(fault);
            }
            warn!(execution = self.command.execution_id, agent = definition.name, error = %fault, "tools were not listed, will ask again");
            tokio::time::sleep(pause).await;
        }
    }

    /// What pasting the deliverables of the input would have cost, and what their notices cost. The deliverables themselves stay where they are.
    async fn savings(&self, input: &Value) -> Result<(u32, u32), Error> {
        let found = notice::scan(input);
        let addresses: Vec<Address> = found.keys().cloned().collect();
        let sizes = Deliverables::new(&self.app.bus).tokens(&addresses).await?;
        let (mut pasted, mut notices) = (0u32, Vec::new());
        for (address, texts) in found {
            if let Some(tokens) = sizes.get(&address) {
                let times = u32::try_from(texts.len()).unwrap_or(u32::MAX);
                pasted = pasted.saturating_add(tokens.saturating_mul(times));
                notices.extend(texts);
            }
        }
        let cost = counting(move || {
            notices.iter().map(|notice| count(notice)).fold(0, u32::saturating_add)
        })
        .await?;
        Ok((pasted, cost))
    }
}

/// Whether a tool is what the agent names: `NAME__*` is every tool of a server or document.
fn is_meant(name: &str, tool: &ToolDefinition) -> bool {
    let of = name.strip_suffix('*').filter(|source| source.ends_with("__"));
    *name == tool.name || of.is_some_and(|source| tool.name.starts_with(source))
}
