//! Threads and memories as the contract shows them.

use muster_contracts::thread::v1::{MemoryItem, Thread as ThreadShown, ThreadMessage};
use muster_contracts::{JsonObject, now};

use crate::domain::memory::Item;
use crate::domain::thread::{Message, OnBusy, Role, Status, Thread};

pub(crate) fn thread(thread: Thread) -> ThreadShown {
    let status = if thread.active.is_some() { "running" } else { "idle" };
    ThreadShown {
        thread_id: thread.thread_id,
        agent: thread.agent,
        on_busy: on_busy(thread.on_busy).to_owned(),
        status: status.to_owned(),
        messages: thread.messages.into_iter().map(message).collect(),
        created_at: now(thread.created_at),
        updated_at: now(thread.updated_at),
        metadata: (!thread.metadata.is_empty()).then_some(JsonObject(thread.metadata)),
        execution_id: thread.active.map(|active| active.execution_id).unwrap_or_default(),
        tenant: thread.tenant,
    }
}

pub(crate) fn status(status: Status) -> &'static str {
    match status {
        Status::Queued => "queued",
        Status::Running => "running",
        Status::Answered => "answered",
        Status::Interrupted => "interrupted",
        Status::Cancelled => "cancelled",
        Status::Failed => "failed",
        Status::Complete => "complete",
        Status::Partial => "partial",
    }
}

pub(crate) fn item(item: Item) -> MemoryItem {
    MemoryItem {
        item_id: item.id,
        content: item.content,
        created_at: now(item.at),
        expires_at: item.expires_at.and_then(now),
        execution_id: item.execution_id,
    }
}

fn message(message: Message) -> ThreadMessage {
    let role = match message.role {
        Role::User => "user",
        Role::Assistant => "assistant",
    };
    ThreadMessage {
        message_id: message.id,
        role: role.to_owned(),
        content: message.content,
        execution_id: message.execution_id,
        status: status(message.status).to_owned(),
        error: message.error,
        at: now(message.at),
        usage: message.usage,
    }
}

fn on_busy(policy: OnBusy) -> &'static str {
    match policy {
        OnBusy::Queue => "queue",
        OnBusy::Reject => "reject",
        OnBusy::Interrupt => "interrupt",
        OnBusy::Rollback => "rollback",
    }
}
