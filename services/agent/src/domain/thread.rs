//! A thread: what was said, who answers now, and who waits.

use chrono::{DateTime, Utc};
use muster_contracts::agent::v1::Usage;
use muster_contracts::llm::v1::ChatMessage;
use muster_contracts::{Code, HasCode};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::conversation;

/// The longest message, in bytes.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;
/// The most that a thread holds, in bytes of its messages.
pub(crate) const MAX_BYTES: usize = 768 * 1024;
/// The most messages of a thread.
pub(crate) const MAX_MESSAGES: usize = 1_000;
/// The most messages that wait.
pub(crate) const MAX_QUEUED: usize = 16;

/// The state of a thread. Written by compare-and-set: whoever was late decides again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thread {
    pub(crate) thread_id: String,
    pub(crate) agent: String,
    pub(crate) on_busy: OnBusy,
    #[serde(default)]
    pub(crate) metadata: Map<String, Value>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) updated_at: DateTime<Utc>,
    /// In the order of the conversation; those that wait come last.
    pub(crate) messages: Vec<Message>,
    /// The run that is busy.
    #[serde(default)]
    pub(crate) active: Option<Active>,
    /// Whose it is; empty: the platform's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) tenant: String,
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) id: String,
    pub(crate) role: Role,
    pub(crate) content: String,
    pub(crate) execution_id: String,
    pub(crate) status: Status,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) error: String,
    pub(crate) at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<Usage>,
    /// Of a user's message: the virtual key that pays for its answer; empty: none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) key_id: String,
}

/// The run that answers now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Active {
    pub(crate) message_id: String,
    pub(crate) execution_id: String,
    /// It is to end, for the sake of a newer message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stop: Option<Stop>,
}

/// What happens to a message while a run is busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnBusy {
    /// It waits.
    #[default]
    Queue,
    /// It is refused.
    Reject,
    /// The run is stopped; what it said stays.
    Interrupt,
    /// The run is stopped, and its message and what it said are forgotten.
    Rollback,
}

/// Why a run is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stop {
    Interrupt,
    Rollback,
}

/// Who speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Role {
    #[default]
    User,
    Assistant,
}

/// How far a message is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    #[default]
    Queued,
    Running,
    Answered,
    Interrupted,
    Cancelled,
    Failed,
    Complete,
    Partial,
}

/// How a run of the thread ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    pub(crate) how: How,
    pub(crate) usage: Usage,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum How {
    /// With this answer.
    Answered(String),
    /// With this error.
    Failed(String),
    /// It was stopped, and had said this until then.
    Stopped(String),
}

/// A message that the thread does not take.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Refusal {
    /// A run is busy, and the message is not to wait.
    #[error(
        "thread {thread:?} is busy with execution {execution}; wait for its end, or send with `on_busy` queue, interrupt or rollback"
    )]
    Busy {
        /// The thread.
        thread: String,
        /// The execution that is busy.
        execution: String,
    },
    /// Too much for one thread.
    #[error("{0}")]
    Full(String),
    /// The message is too long or empty, or a word of it is unknown.
    #[error("{0}")]
    Wrong(String),
    /// The thread is there with another agent.
    #[error("{0}")]
    Taken(String),
}

impl HasCode for Refusal {
    fn code(&self) -> Code {
        match self {
            Self::Busy { .. } | Self::Taken(_) => Code::Conflict,
            Self::Full(_) => Code::Exhausted,
            Self::Wrong(_) => Code::Invalid,
        }
    }
}

impl OnBusy {
    /// Reads a policy; none where the text is empty.
    ///
    /// # Errors
    /// The word, where it is none of them.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, Refusal> {
        Ok(Some(match text {
            "" => return Ok(None),
            "queue" => Self::Queue,
            "reject" => Self::Reject,
            "interrupt" => Self::Interrupt,
            "rollback" => Self::Rollback,
            other => {
                return Err(Refusal::Wrong(format!(
                    "`on_busy` is {other:.80?}; it must be one of queue, reject, interrupt, rollback"
                )));
            }
        }))
    }
}

impl Thread {
    /// Takes a message. False where it is there already.
    ///
    /// # Errors
    /// Why it is not taken.
    pub(crate) fn send(&mut self, message: Message, on_busy: OnBusy) -> Result<bool, Refusal> {
        if self.find(&message.id).is_some() {
            return Ok(false);
        }
        self.fits(&message)?;
        let Some(active) = &mut self.active else {
            self.updated_at = message.at;
            self.messages.push(message);
            self.begin_next();
            return Ok(true);
        };
        let stop = match on_busy {
            OnBusy::Queue => None,
            OnBusy::Interrupt => Some(Stop::Interrupt),
            OnBusy::Rollback => Some(Stop::Rollback),
            OnBusy::Reject => {
                let (thread, execution) = (self.thread_id.clone(), active.execution_id.clone());
                return Err(Refusal::Busy { thread, execution });
            }
        };
        // What was to be forgotten stays so, whoever comes next.
        if active.stop != Some(Stop::Rollback) {
            active.stop = stop.or(active.stop);
        }
        self.updated_at = message.at;
        self.messages.push(Message { status: Status::Queued, ..message });
        Ok(true)
    }

    /// Writes down how the run of an execution ended, and begins the next. False where that is not the busy run.
    pub(crate) fn settle(&mut self, execution_id: &str, ended: Ended, now: DateTime<Utc>) -> bool {
        let Some(active) = self.active.take_if(|active| active.execution_id == execution_id) else {
            return false;
        };
        self.updated_at = now;
        let place = self.messages.iter().position(|message| message.id == active.message_id);
        if let Some(place) = place {
            if active.stop == Some(Stop::Rollback) {
                self.messages.remove(place);
            } else {
                self.answer(place, active, ended, now);
            }
        }
        self.begin_next();
        true
    }

    /// The conversation that a message continues.
    pub(crate) fn before(&self, message_id: &str) -> Vec<ChatMessage> {
        let earlier = self.messages.iter().take_while(|message| message.id != message_id);
        let said = earlier.filter(|message| message.status != Status::Queued);
        said.map(|message| {
            let role = if message.role == Role::User { "user" } else { "assistant" };
            conversation::message(role, message.content.as_str())
        })
        .collect()
    }

    /// The user's message of this id.
    pub(crate) fn find(&self, message_id: &str) -> Option<&Message> {
        let mut own = self.messages.iter().filter(|message| message.role == Role::User);
        own.find(|message| message.id == message_id)
    }

    fn answer(&mut self, place: usize, active: Active, ended: Ended, now: DateTime<Utc>) {
        let (status, said, error) = match ended.how {
            How::Answered(text) => (Status::Answered, Some((Status::Complete, text)), None),
            How::Failed(error) => (Status::Failed, None, Some(error)),
            How::Stopped(text) => {
                let status =
                    if active.stop.is_some() { Status::Interrupted } else { Status::Cancelled };
                (status, (!text.is_empty()).then_some((Status::Partial, text)), None)
            }
        };
        if let Some(message) = self.messages.get_mut(place) {
            message.status = status;
            message.error = error.unwrap_or_default();
        }
        if let Some((status, text)) = said {
            let answer = Message {
                id: format!("{}-answer", active.message_id),
                role: Role::Assistant,
                content: shortened(text),
                execution_id: active.execution_id,
                status,
                at: now,
                usage: Some(ended.usage),
                ..Message::default()
            };
            self.messages.insert(place + 1, answer);
        }
    }

    /// The first of those that wait is answered now, if nobody is.
    fn begin_next(&mut self) {
        let next = self.messages.iter_mut().find(|message| message.status == Status::Queued);
        if let (None, Some(message)) = (&self.active, next) {
            message.status = Status::Running;
            self.active = Some(Active {
                message_id: message.id.clone(),
                execution_id: message.execution_id.clone(),
                stop: None,
            });
        }
    }

    fn fits(&self, message: &Message) -> Result<(), Refusal> {
        let length = message.content.len();
        if message.content.trim().is_empty() {
            return Err(Refusal::Wrong("`content` is empty; say something".to_owned()));
        }
        if length > MAX_MESSAGE {
            let error =
                format!("`content` has {length} bytes; a message has at most {MAX_MESSAGE}");
            return Err(Refusal::Wrong(error));
        }
        let bytes: usize = self.messages.iter().map(|message| message.content.len()).sum();
        if self.messages.len() >= MAX_MESSAGES || bytes + length > MAX_BYTES {
            return Err(Refusal::Full(format!(
                "thread {:?} has {} messages of {bytes} bytes; it holds at most {MAX_MESSAGES} of {MAX_BYTES}: begin another thread",
                self.thread_id,
                self.messages.len()
            )));
        }
        let queued = self.messages.iter().filter(|message| message.status == Status::Queued);
        if queued.count() >= MAX_QUEUED {
            return Err(Refusal::Full(format!(
                "{MAX_QUEUED} messages of thread {:?} wait already; wait for an answer",
                self.thread_id
            )));
        }
        Ok(())
    }
}

/// An answer that is too long for a thread; the whole of it is the run's deliverable.
fn shortened(mut text: String) -> String {
    if text.len() > MAX_MESSAGE {
        let end = text.floor_char_boundary(MAX_MESSAGE - 64);
        text.truncate(end);
        text.push_str("\n[… the whole answer is the run's deliverable]");
    }
    text
}

#[cfg(test)]
mod tests;
