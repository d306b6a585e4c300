//! An event as it is recorded.

use chrono::{DateTime, Utc};
use muster_bus::Recorded;
use muster_contracts::agent::v1::{
    AgentExecutionCancelled, AgentExecutionCompleted, AgentExecutionFailed, Usage,
};
use muster_contracts::tool::v1::{
    ToolExecutionCancelled, ToolExecutionCompleted, ToolExecutionFailed,
};
use muster_contracts::workflow::v1::CallCompleted;
use muster_contracts::{Message, subject};
use serde_json::{Value, json};

use super::Standing;
use super::seen::{Facts, Seen, text};

/// The most bytes of a text in an index; PostgreSQL's entries have 2,704 at most.
const LONGEST_KEY: usize = 1024;

/// An event with what the log is asked by.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Record {
    /// The event's id: the log has each once.
    pub(crate) event_id: String,
    pub(crate) sequence: u64,
    /// Empty where it belongs to none.
    pub(crate) execution_id: String,
    pub(crate) subject: String,
    pub(crate) message_type: String,
    pub(crate) source: String,
    pub(crate) task: String,
    pub(crate) agent: String,
    pub(crate) at: DateTime<Utc>,
    /// JSON.
    pub(crate) body: String,
    /// Set where something ended that uses a model or a tool.
    pub(crate) usage: Option<Usage>,
    /// Set where it is an entry of an execution's journal.
    pub(crate) standing: Option<Standing>,
    pub(crate) form: Form,
}

/// How much of an event is recorded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// All of it.
    #[default]
    Whole,
    /// Its body is a text, which nobody looks into.
    Text,
    /// Where it was, and nothing of what it said.
    Stub,
}

/// What is told of an event that is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) event_id: String,
    pub(crate) sequence: u64,
    pub(crate) execution_id: String,
}

impl Record {
    /// The record of an event. Every event has one: what is not as the contract says is recorded as it came.
    pub(crate) fn of(event: &Recorded) -> Self {
        let seen = Seen::of(&event.body);
        let body = String::from_utf8_lossy(&event.body);
        let body = match (&seen, event.fault()) {
            (_, Some(fault)) => json!({ "unreadable": storable(&fault.message) }).to_string(),
            (Some(_), None) => body.into_owned(),
            (None, None) => text_of(&body),
        };
        let seen = seen.unwrap_or_default();
        let execution_id = match event.execution_id.as_str() {
            "" => key(text(seen.execution_id.as_ref())),
            id => key(id),
        };
        let task = match storable(text(seen.task.as_ref())) {
            task if task.is_empty() => storable(only_task(&seen.facts).unwrap_or_default()),
            task => task,
        };
        Self {
            event_id: event_id(event),
            sequence: event.sequence,
            execution_id,
            subject: storable(&event.subject),
            message_type: storable(&event.message_type),
            source: storable(&event.source),
            task,
            agent: storable(text(seen.agent.as_ref())),
            at: event.time,
            body,
            usage: usage(&event.message_type, &seen),
            standing: Standing::of(&event.message_type, &seen),
            form: Form::Whole,
        }
    }

    pub(crate) fn mark(&self) -> Mark {
        let (event_id, execution_id) = (self.event_id.clone(), self.execution_id.clone());
        Mark { event_id, sequence: self.sequence, execution_id }
    }

    /// The same in a form that asks less of a database; nothing where there is none.
    pub(crate) fn plainer(&self) -> Option<Self> {
        match self.form {
            Form::Whole => {
                let body = text_of(&self.body);
                Some(Self { body, usage: None, form: Form::Text, ..self.clone() })
            }
            Form::Text => Some(Self {
                event_id: key(&self.event_id),
                sequence: self.sequence,
                execution_id: key(&self.execution_id),
                subject: key(&self.subject),
                at: self.at,
                body: "null".to_owned(),
                form: Form::Stub,
                ..Self::default()
            }),
            Form::Stub => None,
        }
    }
}

/// JSON of a text.
fn text_of(body: &str) -> String {
    Value::String(storable(body)).to_string()
}

/// A worker in another language may send no id; then its place and time are its id: the place alone begins anew with
/// a new stream.
fn event_id(event: &Recorded) -> String {
    if event.id.is_empty() {
        key(&format!("{}@{}@{}", event.subject, event.sequence, event.time.timestamp_millis()))
    } else {
        key(&event.id)
    }
}

/// A text by which the log is asked. One that is too long for an index becomes another that follows from it.
pub(crate) fn key(text: &str) -> String {
    if text.len() <= LONGEST_KEY { storable(text) } else { subject::derived_token(text) }
}

/// Postgres stores no NUL in a text.
pub(super) fn storable(text: &str) -> String {
    // Mostly there is none, and looking for a byte is quicker than for a character.
    if text.as_bytes().contains(&0) { text.replace('\0', "\u{fffd}") } else { text.to_owned() }
}

/// The task that all facts of a transition are about.
fn only_task(facts: &Facts) -> Option<&str> {
    let (first, others) = facts.tasks.split_first()?;
    others.iter().all(|task| task == first).then_some(first)
}

/// What ended with this event used: a run of an agent, or a workflow's own call of a tool or a model. Calls that an agent makes
/// have no events; they are in the usage of its run.
fn usage(message_type: &str, seen: &Seen) -> Option<Usage> {
    let ended = |names: &[&str]| names.contains(&message_type);
    if ended(&[
        AgentExecutionCompleted::NAME,
        AgentExecutionFailed::NAME,
        AgentExecutionCancelled::NAME,
    ]) {
        let told = seen.usage.clone().unwrap_or_default();
        return Some(serde_json::from_value(told).unwrap_or_default());
    }
    if ended(&[
        ToolExecutionCompleted::NAME,
        ToolExecutionFailed::NAME,
        ToolExecutionCancelled::NAME,
    ]) {
        return Some(Usage { tool_calls: 1, ..Usage::default() });
    }
    let told = seen.output.usage.as_ref().filter(|_| message_type == CallCompleted::NAME)?;
    let tokens = |name| {
        let count = told.get(name).and_then(Value::as_u64);
        u32::try_from(count.unwrap_or_default()).unwrap_or(u32::MAX)
    };
    Some(Usage {
        input_tokens: tokens("input_tokens"),
        output_tokens: tokens("output_tokens"),
        model_calls: 1,
        ..Usage::default()
    })
}

#[cfg(test)]
mod tests {
    use muster_contracts::{Code, Fault};

    use super::*;

    fn event(message_type: &str, body: &[u8]) -> Recorded {
        Recorded {
            subject: "agent.execution.completed".into(),
            sequence: 7,
            id: "id".into(),
            message_type: message_type.into(),
            source: "/muster/agent".into(),
            time: DateTime::from_timestamp_millis(1234).unwrap(),
            execution_id: "e1".into(),
            body: body.to_vec().into(),
            reading: Default::default(),
        }
    }

    fn record(message_type: &str, body: &Value) -> Record {
        Record::of(&event(message_type, body.to_string().as_bytes()))
    }

    #[test]
    fn a_run_that_ended_has_its_agent_task_and_usage() {
        let body = json!({"task": "/do/0", "agent": "critic", "usage": {"input_tokens": 3}});
        let record = record(AgentExecutionCompleted::NAME, &body);
        assert_eq!((record.task.as_str(), record.agent.as_str()), ("/do/0", "critic"));
        assert_eq!(record.usage.unwrap().input_tokens, 3);
    }

    #[test]
    fn a_run_that_failed_early_has_a_usage_too() {
        let failed = record(AgentExecutionFailed::NAME, &json!({"agent": "critic"}));
        assert_eq!(failed.usage, Some(Usage::default()));
        assert_eq!(record("muster.tool.v1.ToolExecutionStarted", &json!({})).usage, None);
    }

    #[test]
    fn what_a_workflow_calls_itself_counts_too() {
        let tool = record(ToolExecutionCompleted::NAME, &json!({"tool": "text_stats"}));
        assert_eq!(tool.usage, Some(Usage { tool_calls: 1, ..Usage::default() }));
        let output = json!({"text": "", "usage": {"input_tokens": 3, "output_tokens": 2}});
        let model = record(CallCompleted::NAME, &json!({"output": output}));
        let used = Usage { input_tokens: 3, output_tokens: 2, model_calls: 1, ..Usage::default() };
        assert_eq!(model.usage, Some(used));
        assert_eq!(record(CallCompleted::NAME, &json!({"output": {"hits": []}})).usage, None);
    }

    #[test]
    fn a_transition_about_one_task_has_that_task() {
        let task = |facts| record("muster.workflow.v1.JournalEntry", &json!({"facts": facts})).task;
        assert_eq!(task(json!([{"type": "a", "task": "x"}, {"task": "x"}, {"type": "b"}])), "x");
        assert_eq!(task(json!([{"task": "x"}, {"task": "y"}])), "");
        assert_eq!(task(json!([])), "");
    }

    #[test]
    fn an_event_without_headers_is_recorded_too() {
        let mut event = event("", br#"{"execution_id": "e2"}"#);
        event.id = String::new();
        event.execution_id = String::new();
        let record = Record::of(&event);
        assert_eq!(record.execution_id, "e2");
        assert_eq!(record.event_id, "agent.execution.completed@7@1234");
    }

    #[test]
    fn ids_that_no_index_takes_become_short_ones_that_follow_from_them() {
        let mut event = event("x", b"{}");
        (event.id, event.execution_id) = ("i".repeat(6000), "e".repeat(6000));
        let first = Record::of(&event);
        assert!(first.event_id.len() < 200 && first.execution_id.len() < 200);
        assert_eq!(first, Record::of(&event));
        assert_eq!(first.execution_id, key(&"e".repeat(6000)));
        event.id.push('i');
        assert_ne!(first.event_id, Record::of(&event).event_id);
        assert_eq!(key("e1"), "e1");
    }

    #[test]
    fn an_event_whose_body_cannot_be_read_says_why() {
        let mut event = event("x", b"");
        event.reading = muster_bus::Reading::failed(Fault::new(Code::Internal, "it is damaged"));
        let body: Value = serde_json::from_str(&Record::of(&event).body).unwrap();
        assert_eq!(body, json!({"unreadable": "it is damaged"}));
    }

    #[test]
    fn an_event_becomes_plainer_until_only_its_place_is_left() {
        let record = record("x", &json!("a\u{0}b"));
        let text = record.plainer().unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text.body).unwrap(), json!(record.body));
        let stub = text.plainer().unwrap();
        assert_eq!((stub.event_id.as_str(), stub.sequence), ("id", 7));
        assert_eq!((stub.message_type.as_str(), stub.body.as_str()), ("", "null"));
        assert_eq!(stub.plainer(), None);
    }

    #[test]
    fn an_id_that_is_made_fits_an_index() {
        let mut event = event("", b"{}");
        event.id = String::new();
        for subject in ["journal.a\0b".to_owned(), format!("journal.{}", "x".repeat(3500))] {
            event.subject = subject;
            let id = Record::of(&event).event_id;
            assert!(id.len() < 200 && !id.contains('\0'), "{id}");
        }
    }

    #[test]
    fn hostile_bodies_become_something_that_can_be_stored() {
        for body in
            [&b"\xff\0not json"[..], b"", b"{\"task\": \"a\\u0000b\"}", b"\"\\ud800\"", b"1e999"]
        {
            let record = Record::of(&event("x", body));
            assert!(serde_json::from_str::<Value>(&record.body).is_ok(), "{}", record.body);
            assert!(!record.task.contains('\0') && !record.body.contains('\0'));
        }
    }
}
