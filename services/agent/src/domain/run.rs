//! One run of an agent: the fold of its journal, and what comes next.

use chrono::{DateTime, TimeDelta, Utc};
use muster_contracts::{
    Code,
    agent::v1::Usage,
    llm::v1::{ChatMessage, TokenUsage, ToolCall},
    tool::v1::ToolDefinition,
};
use serde_json::Value;

mod standing;

use super::{
    approval::{Asked, Decided},
    conversation, definition,
    fact::{Fact, Replied, Returned, Started, Summarised},
    schema::OutputSchema,
    tool_search,
};

/// Calls that one turn may make; a model that asks for more is told so.
pub(crate) const MAX_CALLS: usize = 64;

/// The state of a run, rebuilt by applying its facts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Run {
    started: Option<(Started, DateTime<Utc>)>,
    schema: Option<OutputSchema>,
    messages: Vec<ChatMessage>,
    /// The place of the run's own question among the messages; what is before it was said earlier in the thread.
    question: usize,
    turns: u32,
    /// The calls of the last turn with what they came to.
    calls: Vec<(ToolCall, Option<Returned>)>,
    /// The model's last word, once it asks for no tools any more.
    verdict: Option<Verdict>,
    repaired: bool,
    usage: Usage,
    end: Option<(End, DateTime<Utc>)>,
    waits: standing::Waits,
    /// The tools that searches have found, in the order in which they did.
    found: Vec<String>,
}

/// What a run needs next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// Find the agent and begin.
    Start,
    /// Ask the model for this turn.
    CallModel(u32),
    /// Make these calls.
    CallTools(Vec<Call>),
    /// Ask somebody whether this call may be made.
    RequestApproval(Asked),
    /// Ask others: nobody has decided.
    Escalate(Asked),
    /// Decide: nobody has.
    Decide(Decided),
    /// Let this agent answer the call in a run of its own.
    AskAgent(Call, String),
    /// Let this agent go on with the run.
    HandOff(Call, String),
    /// Give the run to the program that is the agent.
    AssignTask,
    /// Stand still: what is awaited begins the run again.
    Suspend,
    /// Store the answer and end well.
    Finish(Answer),
    /// End with this error.
    Fail(Code, String),
    /// Nothing: the run is over.
    Done,
}

/// A tool call that has no result yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    /// The turn that asked for it.
    pub(crate) turn: u32,
    /// Its place among the calls of the turn.
    pub(crate) index: u32,
    /// What the model asked for.
    pub(crate) call: ToolCall,
    /// Why it is not made but answered with this error.
    pub(crate) refusal: Option<String>,
}

/// The final answer of a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    /// The text of the deliverable.
    pub(crate) content: String,
    /// The structured answer, where the agent has a schema.
    pub(crate) data: Option<Value>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum End {
    /// Well, with this notice.
    Completed(Value),
    /// With an error.
    Failed(Code, String),
    /// Because nobody waits for its answer any more.
    Cancelled,
}

#[derive(Clone, Debug)]
enum Verdict {
    Answer(Answer),
    Fail(Code, String),
}

impl Run {
    /// Folds one fact into the state.
    pub(crate) fn apply(&mut self, fact: Fact, at: DateTime<Utc>) {
        match fact {
            Fact::RunStarted(started) => self.start(started, at),
            Fact::ModelDelayed { .. } => {}
            Fact::ContextCut { from, messages, .. } => self.cut(from, messages, None),
            Fact::ContextSummarised(summarised) => self.summarise(summarised),
            Fact::ModelReplied(replied) => self.reply(replied),
            Fact::ToolReturned(returned) => self.return_call(returned),
            Fact::AnswerRefused { flaw } => self.refuse(&flaw),
            Fact::RunCompleted { output, usage } => {
                self.usage = usage;
                self.end = Some((End::Completed(output), at));
            }
            Fact::RunCancelled { usage } => {
                self.usage = usage;
                self.end = Some((End::Cancelled, at));
            }
            Fact::RunFailed { code, error, usage } => {
                self.usage = usage;
                self.end = Some((End::Failed(code, error), at));
            }
            other => self.stand(other, at),
        }
    }

    /// What to do at this moment.
    pub(crate) fn next(&self, now: DateTime<Utc>) -> Next {
        if self.end.is_some() {
            return Next::Done;
        }
        let Some((started, _)) = &self.started else { return Next::Start };
        match &self.verdict {
            Some(Verdict::Answer(answer)) => return Next::Finish(answer.clone()),
            Some(Verdict::Fail(code, error)) => return Next::Fail(*code, error.clone()),
            None => {}
        }
        if let Some(error) = self.out_of_time(now) {
            return Next::Fail(Code::Deadline, error);
        }
        if let Some(next) = self.next_task(started, now) {
            return next;
        }
        let open = self.open_calls(started);
        if !open.is_empty() {
            return self.next_calls(started, open, now);
        }
        match self.out_of_budget(started) {
            Some(error) => Next::Fail(Code::Exhausted, error),
            None => Next::CallModel(self.turns + 1),
        }
    }

    /// The facts that the run stays on; nothing before it began.
    pub(crate) fn started(&self) -> Option<&Started> {
        self.started.as_ref().map(|(started, _)| started)
    }

    /// When the run began.
    pub(crate) fn started_at(&self) -> Option<DateTime<Utc>> {
        self.started.as_ref().map(|(_, at)| *at)
    }

    /// When the run must be over.
    pub(crate) fn deadline(&self) -> Option<DateTime<Utc>> {
        let (started, at) = self.started.as_ref()?;
        let seconds = TimeDelta::seconds(i64::from(definition::seconds(&started.definition)));
        // While it stands still, its time stands too.
        at.checked_add_signed(seconds + self.waits.stood)
    }

    /// What the model is told in the next turn.
    pub(crate) fn messages(&self) -> &[ChatMessage] {
        &self.messages
    }

    /// The tools that the model is offered in the next turn.
    pub(crate) fn offered(&self) -> Vec<&ToolDefinition> {
        let tools = self.started().map(|started| started.tools.as_slice()).unwrap_or_default();
        tool_search::offered(tools, &self.found)
    }

    /// The place of the run's own question among them.
    pub(crate) fn question(&self) -> usize {
        self.question
    }

    /// What the model has said in this run, as a text; empty where it said nothing yet.
    pub(crate) fn said(&self) -> String {
        let own = self.messages.iter().skip(self.question + 1);
        let said =
            own.filter(|message| message.role == "assistant").map(|message| message.content.trim());
        said.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n\n")
    }

    /// The model's last word in this run.
    pub(crate) fn last_word(&self) -> &str {
        let mut own = self.messages.iter().skip(self.question + 1).rev();
        own.find(|message| message.role == "assistant").map_or("", |message| &message.content)
    }

    /// What the run has spent and saved until now.
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// How and when the run ended.
    pub(crate) fn end(&self) -> Option<&(End, DateTime<Utc>)> {
        self.end.as_ref()
    }

    fn start(&mut self, started: Started, at: DateTime<Utc>) {
        self.messages =
            conversation::opening(&started.definition, &started.history, &started.input);
        self.question = self.messages.len().saturating_sub(1);
        match OutputSchema::of(&started.definition) {
            Ok(schema) => self.schema = schema,
            Err(error) => self.verdict = Some(Verdict::Fail(Code::Invalid, error.to_string())),
        }
        self.usage.pasted_tokens = started.pasted_tokens;
        self.usage.saved_tokens = started.pasted_tokens.saturating_sub(started.notice_tokens);
        self.started = Some((started, at));
    }

    fn reply(&mut self, replied: Replied) {
        let Replied { mut message, finish_reason, usage, cost_nanos, .. } = replied;
        self.turns += 1;
        self.usage.model_calls += 1;
        self.spend(usage, cost_nanos);
        message.tool_calls = conversation::with_distinct_ids(message.tool_calls, self.turns);
        self.calls = message.tool_calls.iter().map(|call| (call.clone(), None)).collect();
        self.forget_calls();
        let judged = self.calls.is_empty().then(|| self.judge(&message.content, &finish_reason));
        self.messages.push(message);
        match judged {
            Some(Err(flaw)) => self.refuse(&flaw),
            Some(Ok(verdict)) => self.verdict = Some(verdict),
            None => {}
        }
    }

    /// Replaces messages, by nothing or by one. Never the first, which says who the agent is.
    fn cut(&mut self, from: u32, messages: u32, by: Option<ChatMessage>) {
        let from = usize::try_from(from).unwrap_or(usize::MAX).max(1).min(self.messages.len());
        let count = usize::try_from(messages).unwrap_or(usize::MAX);
        let to = from.saturating_add(count).min(self.messages.len());
        let added = usize::from(by.is_some());
        self.messages.splice(from..to, by);
        if self.question >= to {
            self.question = self.question - (to - from) + added;
        }
    }

    fn summarise(&mut self, summarised: Summarised) {
        let Summarised { from, messages, summary, usage, cost_nanos, .. } = summarised;
        self.usage.model_calls += 1;
        self.spend(usage, cost_nanos);
        self.cut(from, messages, Some(conversation::summary(&summary)));
    }

    fn spend(&mut self, spent: TokenUsage, cost_nanos: u64) {
        let usage = &mut self.usage;
        usage.input_tokens = usage.input_tokens.saturating_add(spent.input_tokens);
        usage.output_tokens = usage.output_tokens.saturating_add(spent.output_tokens);
        usage.reasoning_tokens = usage.reasoning_tokens.saturating_add(spent.reasoning_tokens);
        usage.cost_nanos = usage.cost_nanos.saturating_add(cost_nanos);
    }

    /// Asks the model to mend its answer; the second flawed answer is the last.
    fn refuse(&mut self, flaw: &str) {
        if self.without_data() {
            return;
        }
        if self.repaired {
            let error = format!(
                "the answer cannot be used, not even after it was asked to be mended: {flaw}"
            );
            self.verdict = Some(Verdict::Fail(Code::Invalid, error));
        } else {
            self.repaired = true;
            self.verdict = None;
            self.messages.push(conversation::repair(flaw));
        }
    }

    /// Whether the last word can be the answer; an error is a flaw that the model may mend.
    fn judge(&self, content: &str, finish_reason: &str) -> Result<Verdict, String> {
        let content = content.trim();
        match finish_reason {
            "length" => {
                let error = "the answer was cut at the longest reply that the model may give; raise `model.max_tokens` or ask for less";
                return Ok(Verdict::Fail(Code::Exhausted, error.to_owned()));
            }
            "content_filter" => {
                let error = "the provider's content filter withheld the answer";
                return Ok(Verdict::Fail(Code::Denied, error.to_owned()));
            }
            _ if content.is_empty() => return Err("it is empty".to_owned()),
            _ => {}
        }
        let Some(schema) = &self.schema else {
            return Ok(Verdict::Answer(Answer { content: content.to_owned(), data: None }));
        };
        let data = schema.parse(content)?;
        let content = serde_json::to_string_pretty(&data).map_err(|error| error.to_string())?;
        Ok(Verdict::Answer(Answer { content, data: Some(data) }))
    }

    fn return_call(&mut self, returned: Returned) {
        let place = usize::try_from(returned.index).unwrap_or(usize::MAX);
        // A result that is no longer awaited changes nothing: of another turn, or told before.
        let Some((call, result @ None)) =
            self.calls.get_mut(place).filter(|_| returned.turn == self.turns)
        else {
            return;
        };
        self.usage.tool_calls += 1;
        if let Some(spent) = &returned.usage {
            standing::add(&mut self.usage, spent);
        }
        self.usage.fetched_tokens =
            self.usage.fetched_tokens.saturating_add(returned.fetched_tokens);
        let fatal = returned.code.filter(|_| {
            let definition = self.started.as_ref().map(|(started, _)| &started.definition);
            definition.is_some_and(definition::fails_on_tool_error)
        });
        if let Some(code) = fatal {
            let error = returned.error.clone().unwrap_or_default();
            let error = format!("tool `{}` failed: {error}", returned.name);
            self.verdict = Some(Verdict::Fail(code, error));
        }
        tool_search::note(&mut self.found, &returned);
        *result = Some(Returned { call_id: call.id.clone(), ..returned });
        if self.calls.iter().all(|(_, result)| result.is_some()) {
            // Told in the order of the calls, whichever came first: a replayed run asks the model the same.
            let results = self.calls.drain(..).filter_map(|(_, result)| result);
            self.messages.extend(results.map(|returned| conversation::tool_answer(&returned)));
        }
    }

    fn open_calls(&self, started: &Started) -> Vec<Call> {
        let open = self.calls.iter().enumerate().filter(|(_, (_, result))| result.is_none());
        open.map(|(place, (call, _))| Call {
            turn: self.turns,
            index: u32::try_from(place).unwrap_or(u32::MAX),
            call: call.clone(),
            refusal: refusal(started, place, call),
        })
        .collect()
    }

    fn out_of_time(&self, now: DateTime<Utc>) -> Option<String> {
        let (started, _) = self.started.as_ref()?;
        (now >= self.deadline()?).then(|| {
            let seconds = definition::seconds(&started.definition);
            format!("the run is not done after {seconds} s, its `limits.seconds`")
        })
    }

    fn out_of_budget(&self, started: &Started) -> Option<String> {
        let (turns, tokens) =
            (definition::turns(&started.definition), definition::tokens(&started.definition));
        let spent = self.usage.input_tokens.saturating_add(self.usage.output_tokens);
        if self.turns >= turns {
            Some(format!("the run has no answer after {turns} turns, its `limits.turns`"))
        } else if spent >= tokens {
            Some(format!(
                "the run has spent {spent} tokens of the {tokens} of its `limits.tokens` and has no answer"
            ))
        } else {
            let most = definition::cost_nanos(&started.definition)?;
            (self.usage.cost_nanos >= most).then(|| {
                let (spent, most) = (dollars(self.usage.cost_nanos), dollars(most));
                format!("the run has spent {spent} US dollars of the {most} of its `limits.cost_usd` and has no answer")
            })
        }
    }
}

/// Billionths of a dollar as a decimal number, exact.
fn dollars(nanos: u64) -> String {
    let text = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Why a call is answered with an error instead of being made.
fn refusal(started: &Started, place: usize, call: &ToolCall) -> Option<String> {
    if place >= MAX_CALLS {
        return Some(format!(
            "a turn may call at most {MAX_CALLS} tools; this was call {}",
            place + 1
        ));
    }
    if !started.tools.iter().any(|tool| tool.name == call.name) {
        let known: Vec<&str> = started.tools.iter().map(|tool| tool.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        return Some(format!("there is no tool `{}` here; the tools are: {known}", call.name));
    }
    (!call.invalid_arguments.is_empty()).then(|| {
        let sent: String = call.invalid_arguments.chars().take(200).collect();
        format!("the arguments of `{}` must be a JSON object, not {sent:?}", call.name)
    })
}

#[cfg(test)]
mod tests;
