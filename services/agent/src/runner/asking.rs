//! Asking the model and calling tools, with the same key in every try.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use muster_bus::{Bus, HeardFirst};
use muster_contracts::agent::v1::AgentDefinition;
use muster_contracts::llm::v1::{ChatTool, CompleteRequest, Parameters};
use muster_contracts::tool::v1::{ExecuteToolRequest, ToolDefinition, ToolResult};
use muster_contracts::{Code, Fault};
use serde_json::Value;
use tokio::time::Instant;
use tracing::warn;

use super::Runner;
use crate::Error;
use crate::domain::definition::{cost_nanos, provider};
use crate::domain::fact::{Fact, Replied, Returned};
use crate::domain::run::Call;
use crate::domain::{memory, tool_search};
use crate::memory::{Memories, Place};
use crate::tokenizer::{count, counting};

/// The tool whose results count as fetched on demand.
const FETCH: &str = "fetch_deliverable";
/// How long a tool may take that does not say it.
const TOOL_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a tool service that is away is asked again.
const TOOL_PATIENCE: Duration = Duration::from_secs(60);
/// How often an internal error of the model service is taken for a passing one.
const INTERNAL_TRIES: u32 = 3;
/// The largest result of a tool that a model is given, in bytes of JSON.
const MAX_RESULT: usize = 256 * 1024;
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

impl Runner {
    /// Records the model's reply, or a failed run where it will not come.
    pub(super) async fn ask_model(&mut self, turn: u32) -> Result<(), Error> {
        let request = self.question(turn);
        let (begun, mut tries) = (Instant::now(), 0);
        loop {
            tries += 1;
            let fault =
                match self.app.bus.request_within(&request, left_until(self.deadline())).await {
                    Ok(reply) => {
                        let fact = Fact::ModelReplied(Replied {
                            turn,
                            message: reply.message.unwrap_or_default(),
                            finish_reason: reply.finish_reason,
                            usage: reply.usage.unwrap_or_default(),
                            cost_nanos: reply.cost_nanos,
                            cached: reply.cached,
                            provider: reply.provider,
                            model: reply.model,
                            replayed: reply.replayed,
                            duration_ms: millis(begun),
                        });
                        return self.record(fact).await.map(drop);
                    }
                    Err(fault) => fault,
                };
            if HeardFirst::is_said(&fault) {
                return Err(HeardFirst::wait().await.into());
            }
            let pause = pause(tries, &fault);
            let passing = is_passing(&fault, tries);
            if !passing || left_until(self.deadline()) <= pause {
                let when =
                    if passing { " before the run's `limits.seconds` were over" } else { "" };
                return self.record(self.unanswered(turn, &fault, when)).await.map(drop);
            }
            let retry_in_ms = u32::try_from(pause.as_millis()).unwrap_or(u32::MAX);
            warn!(execution = self.command.execution_id, agent = self.command.agent, turn, attempt = tries, error = %fault, retry_in_ms, "model did not answer, will ask again");
            if !self.tell_delay(turn, tries, &fault, retry_in_ms).await? {
                return Ok(());
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// So that who follows the run sees why it stands still: the first time, and less and less often. False where the run has gone on elsewhere.
    async fn tell_delay(
        &mut self,
        turn: u32,
        attempt: u32,
        fault: &Fault,
        retry_in_ms: u32,
    ) -> Result<bool, Error> {
        if !attempt.is_power_of_two() {
            return Ok(true);
        }
        let (code, error) = (fault.code, fault.message.clone());
        self.record(Fact::ModelDelayed { turn, attempt, code, error, retry_in_ms }).await
    }

    fn unanswered(&self, turn: u32, fault: &Fault, when: &str) -> Fact {
        let error = format!("the model did not answer turn {turn}{when}: {}", fault.message);
        Fact::RunFailed { code: fault.code, error, usage: self.run.usage() }
    }

    /// What calls of tools need to know of the run.
    pub(super) fn caller(&self) -> Caller {
        let timeouts = self
            .run
            .started()
            .map(|started| {
                started.tools.iter().map(|tool| (tool.name.clone(), tool.timeout_ms)).collect()
            })
            .unwrap_or_default();
        Caller {
            bus: self.app.bus.clone(),
            execution_id: self.command.execution_id.clone(),
            // What cancels the task of the workflow reaches the runs that its run has asked for.
            task: self.root_task(),
            run_key: self.run_key(),
            timeouts,
            deadline: self.deadline(),
            memories: self.app.memories.clone(),
            tools: self
                .run
                .started()
                .map(|started| started.tools.clone().into())
                .unwrap_or_default(),
            memory: self
                .run
                .started()
                .and_then(|started| Place::of(&started.definition, &self.command.tenant)),
        }
    }

    fn question(&self, turn: u32) -> CompleteRequest {
        let default = AgentDefinition::default();
        let started = self.run.started();
        let definition = started.map_or(&default, |started| &started.definition);
        let model = definition.model.clone().unwrap_or_default();
        CompleteRequest {
            provider: provider(definition).to_owned(),
            model: model.name,
            messages: self.run.messages().to_vec(),
            tools: self
                .run
                .offered()
                .into_iter()
                .map(|tool| ChatTool {
                    name: tool.name.clone(),
                    description: tool.description.clone(),
                    parameters: tool.parameters.clone(),
                })
                .collect(),
            params: Some(Parameters {
                temperature: model.temperature,
                max_tokens: model.max_tokens,
                response_schema: definition.output_schema.clone(),
                ..Parameters::default()
            }),
            session: self.command.execution_id.clone(),
            idempotency_key: format!("{}/{turn}", self.run_key()),
            execution_id: self.command.execution_id.clone(),
            task: self.root_task(),
            agent: self.name().to_owned(),
            offline: definition.offline.clone(),
            tenant: self.command.tenant.clone(),
            key_id: self.command.key_id.clone(),
            budget_nanos: cost_nanos(definition).unwrap_or_default(),
            budget_run: self.run_key(),
            ..CompleteRequest::default()
        }
    }

    pub(super) fn run_key(&self) -> String {
        format!("{}/{}", self.command.execution_id, self.run_id)
    }
}

/// Calls tools for a run.
#[derive(Clone)]
pub(super) struct Caller {
    bus: Bus,
    execution_id: String,
    task: String,
    run_key: String,
    timeouts: Vec<(String, u32)>,
    deadline: DateTime<Utc>,
    memories: Memories,
    /// All of the agent's, to be searched.
    tools: Arc<[ToolDefinition]>,
    /// Where the agent remembers, if it does.
    memory: Option<Place>,
}

impl Caller {
    /// What the call came to. An error is told to the model, which may do better.
    pub(super) async fn call_tool(&self, call: Call) -> Returned {
        let begun = Instant::now();
        let returned = Returned {
            turn: call.turn,
            index: call.index,
            call_id: call.call.id.clone(),
            name: call.call.name.clone(),
            ..Default::default()
        };
        if let Some(refusal) = call.refusal {
            return Returned { error: Some(refusal), ..returned };
        }
        let arguments = call.call.arguments.clone().unwrap_or_default();
        if tool_search::is_search(&self.tools, &call.call.name) {
            return told(returned, Ok(tool_search::find(&self.tools, &arguments)), millis(begun));
        }
        if let Some(place) = self.memory.as_ref().filter(|_| memory::is_tool(&call.call.name)) {
            let key = format!("{}/{}/{}", self.run_key, call.turn, call.index);
            let made_by = (key.as_str(), self.execution_id.as_str());
            let answer = self.memories.call(place, &call.call.name, &arguments, made_by).await;
            return told(returned, answer, millis(begun));
        }
        let request = ExecuteToolRequest {
            tool: call.call.name.clone(),
            arguments: call.call.arguments.clone(),
            idempotency_key: format!("{}/{}/{}", self.run_key, call.turn, call.index),
            execution_id: self.execution_id.clone(),
            task: self.task.clone(),
        };
        match self.ask(&request, begun).await.and_then(not_too_large) {
            Ok(result) => {
                let value = result.result.unwrap_or_default().0;
                let fetched_tokens =
                    if call.call.name == FETCH { fetched(&value).await } else { 0 };
                Returned {
                    result: Some(value),
                    replayed: result.replayed,
                    duration_ms: millis(begun),
                    fetched_tokens,
                    ..returned
                }
            }
            Err(fault) => Returned {
                error: Some(format!("{}: {}", fault.code, fault.message)),
                code: Some(fault.code),
                duration_ms: millis(begun),
                ..returned
            },
        }
    }

    async fn ask(&self, request: &ExecuteToolRequest, begun: Instant) -> Result<ToolResult, Fault> {
        let timeout = self
            .timeouts
            .iter()
            .find(|(name, _)| *name == request.tool)
            .map(|(_, timeout)| u64::from(*timeout))
            .filter(|timeout| *timeout > 0);
        // Longer than the tool's own limit, so that the tool service tells how it ended.
        let timeout = timeout.map_or(TOOL_TIMEOUT, Duration::from_millis) + Duration::from_secs(5);
        let mut tries = 0;
        loop {
            tries += 1;
            let fault = match self
                .bus
                .request_within(request, timeout.min(left_until(self.deadline)))
                .await
            {
                Ok(result) => return Ok(result),
                Err(fault) => fault,
            };
            let pause = pause(tries, &fault);
            let passing = matches!(fault.code, Code::Exhausted | Code::Unavailable)
                && begun.elapsed() < TOOL_PATIENCE
                && left_until(self.deadline) > pause;
            if !passing {
                return Err(fault);
            }
            tokio::time::sleep(pause).await;
        }
    }
}

/// What a tool of the agent service itself came to.
fn told(returned: Returned, answer: Result<Value, Fault>, duration_ms: u32) -> Returned {
    match answer {
        Ok(value) => Returned { result: Some(value), duration_ms, ..returned },
        Err(fault) => Returned {
            error: Some(format!("{}: {}", fault.code, fault.message)),
            code: Some(fault.code),
            duration_ms,
            ..returned
        },
    }
}

/// Whether a new try may bring what this one did not.
pub(super) fn is_passing(fault: &Fault, tries: u32) -> bool {
    match fault.code {
        Code::Exhausted => !is_spent(fault),
        Code::Unavailable | Code::Deadline => true,
        Code::Internal => tries < INTERNAL_TRIES,
        _ => false,
    }
}

/// Whether a budget is spent, which waiting does not fill: only what calls that run now give back comes with a time.
fn is_spent(fault: &Fault) -> bool {
    fault.code == Code::Exhausted
        && fault.retry_after_ms.is_none()
        && fault.details.get("limit_nanos").is_some()
}

/// The result, unless it would crowd everything else out of what the model reads.
fn not_too_large(result: ToolResult) -> Result<ToolResult, Fault> {
    let size = result.result.as_ref().map_or(0, |value| value.0.to_string().len());
    if size <= MAX_RESULT {
        return Ok(result);
    }
    let error = format!(
        "the result has {size} bytes; a model can be given at most {MAX_RESULT}. Ask for less: fewer hits, one section, a limit of tokens"
    );
    Err(Fault::new(Code::Invalid, error))
}

async fn fetched(result: &Value) -> u32 {
    let content = result.get("content").and_then(Value::as_str).unwrap_or_default().to_owned();
    counting(move || count(&content)).await.unwrap_or_default()
}

pub(super) fn left_until(deadline: DateTime<Utc>) -> Duration {
    (deadline - Utc::now()).to_std().unwrap_or_default().max(Duration::from_millis(1))
}

pub(super) fn pause(tries: u32, fault: &Fault) -> Duration {
    let backoff =
        SHORTEST_PAUSE.saturating_mul(1 << tries.saturating_sub(1).min(6)).min(LONGEST_PAUSE);
    let jitter = Duration::from_millis(rand::random::<u64>() % 100);
    fault.retry_after_ms.map_or(backoff, Duration::from_millis).min(Duration::from_secs(60))
        + jitter
}

fn millis(begun: Instant) -> u32 {
    u32::try_from(begun.elapsed().as_millis()).unwrap_or(u32::MAX)
}
