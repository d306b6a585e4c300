//! What a run stands still for: somebody's approval, another agent's answer, a program's task. While it stands, nothing of it is in any process.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use muster_contracts::{Code, agent::v1::Usage};
use serde_json::{Value, json};

use super::{Answer, Call, Next, Run, Verdict};
use crate::domain::{
    approval::{self, Asked, Decided, Expired},
    conversation,
    fact::{AgentAsked, Fact, HandedOff, Returned, Started, TaskAssigned, TaskEnded},
    schema::OutputSchema,
    team::{self, Wish},
};

/// What the run stands still for, and who goes on with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Waits {
    /// Of the calls of the last turn, by their place.
    calls: BTreeMap<u32, Wait>,
    /// By the approval's id.
    decided: BTreeMap<String, Decided>,
    task: Option<TaskAssigned>,
    asked: u32,
    hand_offs: u32,
    owner: Owner,
    /// How long the run has stood still.
    pub(super) stood: TimeDelta,
}

#[derive(Clone, Debug)]
enum Wait {
    Approval(Asked),
    Approved,
    Run(AgentAsked),
}

/// Which message goes on with the run: another one leaves it alone.
#[derive(Clone, Debug)]
enum Owner {
    /// The one with this cause; the first has none.
    Message(String),
    /// None: it stands since then.
    Nobody(DateTime<Utc>),
}

impl Default for Owner {
    fn default() -> Self {
        Self::Message(String::new())
    }
}

impl Run {
    /// The cause of the message that goes on with the run; none while it stands still.
    pub(crate) fn owner(&self) -> Option<&str> {
        match &self.waits.owner {
            Owner::Message(cause) => Some(cause),
            Owner::Nobody(_) => None,
        }
    }

    /// The calls that wait for a decision.
    pub(crate) fn pending(&self) -> impl Iterator<Item = &Asked> {
        self.open_waits().filter_map(|wait| match wait {
            Wait::Approval(asked) => Some(asked),
            Wait::Approved | Wait::Run(_) => None,
        })
    }

    /// The runs of other agents that this one waits for, with what they are asked.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (&AgentAsked, Value)> {
        self.waits.calls.iter().filter_map(|(index, wait)| match (wait, self.call(*index)) {
            (Wait::Run(asked), Some(call)) => {
                let arguments = call.arguments.clone().unwrap_or_default().0;
                Some((asked, team::request(&arguments)))
            }
            _ => None,
        })
    }

    /// The task that a program on the bus does for the run.
    pub(crate) fn task(&self) -> Option<&TaskAssigned> {
        self.waits.task.as_ref().filter(|_| self.verdict.is_none() && self.end.is_none())
    }

    /// What was decided about this approval.
    pub(crate) fn decided(&self, approval_id: &str) -> Option<&Decided> {
        self.waits.decided.get(approval_id)
    }

    /// Everything that was decided.
    pub(crate) fn decisions(&self) -> impl Iterator<Item = &Decided> {
        self.waits.decided.values()
    }

    /// Whether another agent goes on with what this run began with.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.waits.hand_offs > 0
    }

    /// What comes next of the calls that have no result yet.
    pub(super) fn next_calls(
        &self,
        started: &Started,
        open: Vec<Call>,
        now: DateTime<Utc>,
    ) -> Next {
        let definition = &started.definition;
        let (mut ready, mut asks, mut hand_offs, mut stands) = (vec![], vec![], vec![], false);
        for call in open {
            match self.waits.calls.get(&call.index) {
                _ if call.refusal.is_some() => ready.push(call),
                Some(Wait::Run(_)) => stands = true,
                Some(Wait::Approval(asked)) => match asked.expired(definition, now) {
                    Some(Expired::Decided(decided)) => return Next::Decide(decided),
                    Some(Expired::Escalated(asked)) => return Next::Escalate(asked),
                    None => stands = true,
                },
                None if approval::is_needed(definition, &call.call.name, &started.tools) => {
                    return Next::RequestApproval(asked_for(started, &call, now));
                }
                None | Some(Wait::Approved) => match team::wish(definition, &call.call.name) {
                    None => ready.push(call),
                    Some(Wish::Ask(agent)) => match self.unasked(started, &agent) {
                        Some(reason) => ready.push(Call { refusal: Some(reason), ..call }),
                        None => asks.push((call, agent)),
                    },
                    Some(Wish::HandOff(agent)) => hand_offs.push((call, agent)),
                },
            }
        }
        if let Some((call, agent)) = asks.into_iter().next() {
            return Next::AskAgent(call, agent);
        }
        if !ready.is_empty() {
            return Next::CallTools(ready);
        }
        match hand_offs.into_iter().next() {
            // The last of the turn: from then on the tools are those of the other.
            Some((call, agent)) if !stands => self.next_hand_off(call, agent),
            _ => Next::Suspend,
        }
    }

    /// What comes next where a program on the bus is the agent.
    pub(super) fn next_task(&self, started: &Started, now: DateTime<Utc>) -> Option<Next> {
        if !team::is_worker(&started.definition) {
            return None;
        }
        Some(match &self.waits.task {
            None => Next::AssignTask,
            Some(task) if now >= task.expires_at => {
                let error = format!("the agent {:?} has not ended its task in time", task.assignee);
                Next::Fail(Code::Deadline, error)
            }
            Some(_) => Next::Suspend,
        })
    }

    /// Folds a fact about standing still into the state.
    pub(super) fn stand(&mut self, fact: Fact, at: DateTime<Utc>) {
        match fact {
            Fact::ApprovalRequested(asked) | Fact::ApprovalEscalated(asked)
                if self.is_open(asked.turn, asked.index) =>
            {
                self.waits.calls.insert(asked.index, Wait::Approval(asked));
            }
            Fact::ApprovalDecided(decided) => self.decide(decided),
            Fact::AgentAsked(asked) => {
                self.waits.asked += 1;
                self.waits.calls.insert(asked.index, Wait::Run(asked));
            }
            Fact::HandedOff(handed) => self.hand_off(*handed),
            Fact::TaskAssigned(task) => self.waits.task = Some(task),
            Fact::TaskEnded(ended) => self.end_task(ended),
            Fact::RunSuspended => self.waits.owner = Owner::Nobody(at),
            Fact::RunResumed { cause } => {
                if let Owner::Nobody(since) = self.waits.owner {
                    self.waits.stood += at - since;
                }
                self.waits.owner = Owner::Message(cause);
            }
            _ => {}
        }
    }

    /// The places of a new turn begin again.
    pub(super) fn forget_calls(&mut self) {
        self.waits.calls.clear();
    }

    /// An answer of a program can be passed on without its structure, where that is too large.
    pub(super) fn without_data(&mut self) -> bool {
        let is_worker =
            self.started.as_ref().is_some_and(|(started, _)| team::is_worker(&started.definition));
        match &mut self.verdict {
            Some(Verdict::Answer(answer)) if is_worker && answer.data.is_some() => {
                answer.data = None;
                true
            }
            _ => false,
        }
    }

    fn open_waits(&self) -> impl Iterator<Item = &Wait> {
        let open = |index: u32| self.is_open(self.turns, index);
        self.waits.calls.iter().filter(move |(index, _)| open(**index)).map(|(_, wait)| wait)
    }

    fn call(&self, index: u32) -> Option<&muster_contracts::llm::v1::ToolCall> {
        let (call, result) = self.calls.get(usize::try_from(index).ok()?)?;
        result.is_none().then_some(call)
    }

    fn is_open(&self, turn: u32, index: u32) -> bool {
        turn == self.turns && self.call(index).is_some()
    }

    /// Why this agent is not asked.
    fn unasked(&self, started: &Started, agent: &str) -> Option<String> {
        let origin = started.command.as_ref().and_then(|command| command.origin.as_ref());
        team::refusal(&team::path(origin, &started.definition.name), agent, self.waits.asked)
    }

    fn next_hand_off(&self, call: Call, agent: String) -> Next {
        if self.waits.hand_offs < team::MAX_HAND_OFFS {
            return Next::HandOff(call, agent);
        }
        let most = team::MAX_HAND_OFFS;
        let refusal = format!("a run is handed over at most {most} times; answer yourself");
        Next::CallTools(vec![Call { refusal: Some(refusal), ..call }])
    }

    fn decide(&mut self, decided: Decided) {
        let (turn, index) = (decided.turn, decided.index);
        let asked = match self.waits.calls.get(&index) {
            Some(Wait::Approval(asked)) if self.is_open(turn, index) => asked.clone(),
            // Decided before, or over.
            _ => return,
        };
        self.waits.decided.insert(decided.approval_id.clone(), decided.clone());
        self.waits.calls.insert(index, Wait::Approved);
        if decided.fatal {
            let error =
                format!("the call of `{}` was not approved: {}", asked.tool, decided.reason);
            self.verdict = Some(Verdict::Fail(Code::Deadline, error));
        } else if decided.approved {
            self.edit(index, decided);
        } else {
            let by =
                if decided.by.is_empty() { String::new() } else { format!(" by {}", decided.by) };
            let why =
                if decided.reason.is_empty() { "no reason was given" } else { &decided.reason };
            self.return_call(Returned {
                turn,
                index,
                name: asked.tool,
                error: Some(format!("rejected{by}: {why}")),
                ..Returned::default()
            });
        }
    }

    /// The call is made with other arguments. The model reads in its own words what was called.
    fn edit(&mut self, index: u32, decided: Decided) {
        let Some(arguments) = decided.arguments else { return };
        let place = usize::try_from(index).unwrap_or(usize::MAX);
        let own = self.calls.get_mut(place).map(|(call, _)| call);
        let told = self.messages.last_mut().and_then(|message| message.tool_calls.get_mut(place));
        for call in own.into_iter().chain(told) {
            call.arguments = Some(muster_contracts::JsonObject(arguments.clone()));
            call.invalid_arguments.clear();
        }
    }

    fn hand_off(&mut self, handed: HandedOff) {
        let HandedOff { turn, index, definition, tools } = handed;
        if !self.is_open(turn, index) {
            return;
        }
        let (name, tool) =
            (definition.name.clone(), self.call(index).map(|call| call.name.clone()));
        self.waits.hand_offs += 1;
        let Some((started, _)) = &mut self.started else { return };
        // The bounds of the run stay those that it began with.
        let limits = started.definition.limits;
        started.definition = muster_contracts::agent::v1::AgentDefinition { limits, ..definition };
        started.tools = tools;
        match OutputSchema::of(&started.definition) {
            Ok(schema) => self.schema = schema,
            Err(error) => self.verdict = Some(Verdict::Fail(Code::Invalid, error.to_string())),
        }
        let opening = conversation::opening(&started.definition, &[], &Value::Null);
        if let (Some(first), Some(system)) = (self.messages.first_mut(), opening.into_iter().next())
        {
            *first = system;
        }
        self.repaired = false;
        self.return_call(Returned {
            turn,
            index,
            name: tool.unwrap_or_default(),
            result: Some(json!({"handed_over_to": name})),
            ..Returned::default()
        });
    }

    fn end_task(&mut self, ended: TaskEnded) {
        if self.verdict.is_some() {
            return;
        }
        self.verdict = Some(match ended.error {
            Some(error) => Verdict::Fail(ended.code.unwrap_or(Code::Internal), error),
            None => {
                let output = ended.output;
                let content = match &output {
                    Value::String(text) => text.clone(),
                    Value::Null => "done".to_owned(),
                    other => serde_json::to_string_pretty(other).unwrap_or_default(),
                };
                let data = Some(output).filter(|output| output.is_object() || output.is_array());
                Verdict::Answer(Answer { content, data })
            }
        });
    }
}

/// Adds what another run spent to what this one did.
pub(super) fn add(usage: &mut Usage, more: &Usage) {
    for (sum, more) in [
        (&mut usage.input_tokens, more.input_tokens),
        (&mut usage.output_tokens, more.output_tokens),
        (&mut usage.saved_tokens, more.saved_tokens),
        (&mut usage.pasted_tokens, more.pasted_tokens),
        (&mut usage.fetched_tokens, more.fetched_tokens),
        (&mut usage.model_calls, more.model_calls),
        (&mut usage.tool_calls, more.tool_calls),
        (&mut usage.reasoning_tokens, more.reasoning_tokens),
    ] {
        *sum = sum.saturating_add(more);
    }
    usage.cost_nanos = usage.cost_nanos.saturating_add(more.cost_nanos);
}

fn asked_for(started: &Started, call: &Call, now: DateTime<Utc>) -> Asked {
    let arguments = call.call.arguments.clone().unwrap_or_default().0;
    let place = (call.turn, call.index);
    Asked::new(&started.definition, place, &call.call.name, arguments, now)
}
