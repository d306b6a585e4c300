//! Threads: beginning, sending, reading, removing.

use std::time::Duration;

use chrono::Utc;
use muster_bus::{Delivery, MessageId};
use muster_contracts::agent::v1::AgentDefinition;
use muster_contracts::thread::v1::{
    AdvanceThread, CreateThreadRequest, DeleteThreadRequest, GetThreadRequest, ListThreadsRequest,
    SendMessageRequest, SentMessage, Thread as ThreadShown, ThreadList,
};
use muster_contracts::workflow::v1::GetExecutionRequest;
use tokio::time::Instant;

use crate::Error;
use crate::app::App;
use crate::domain::thread::{Message, OnBusy, Refusal, Status, Thread};
use crate::shown;
use crate::threads::{self, execution_of, is_id};

/// The largest metadata of a thread, in bytes of JSON.
const MAX_METADATA: usize = 16 * 1024;
const LISTED: u32 = 100;
const MAX_LISTED: u32 = 1_000;
/// How long a message that was announced may take to be in its thread: longer than who announced it has.
const AWAITED: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(100);

/// Begins a thread.
pub(crate) async fn create(app: App, request: CreateThreadRequest) -> Result<ThreadShown, Error> {
    let on_busy = OnBusy::parse(&request.on_busy)?.unwrap_or_default();
    check_id("thread_id", &request.thread_id)?;
    let metadata = request.metadata.unwrap_or_default().0;
    let size = serde_json::to_string(&metadata).map_or(0, |text| text.len());
    if size > MAX_METADATA {
        let error = format!("`metadata` has {size} bytes; at most {MAX_METADATA}");
        return Err(Refusal::Wrong(error).into());
    }
    let AgentDefinition { name: agent, .. } = app.registry.get(&request.agent).await?;
    let now = Utc::now();
    let thread = Thread {
        thread_id: request.thread_id,
        agent: agent.clone(),
        on_busy,
        metadata,
        created_at: now,
        updated_at: now,
        messages: Vec::new(),
        active: None,
        tenant: request.tenant.clone(),
    };
    let thread = app.threads.create(thread).await?;
    let is_own = request.tenant.is_empty() || thread.tenant == request.tenant;
    if thread.agent == agent && is_own {
        return Ok(shown::thread(thread));
    }
    let Thread { thread_id, agent: other, .. } = thread;
    // A tenant is not told about the threads of others.
    let with = if is_own { format!(" with agent {other:?}") } else { String::new() };
    let error = format!("thread {thread_id:?} is there{with}; choose another id");
    Err(Refusal::Taken(error).into())
}

/// Puts a message into a thread and sees to its answer.
pub(crate) async fn send(app: App, request: SendMessageRequest) -> Result<SentMessage, Error> {
    let on_busy = OnBusy::parse(&request.on_busy)?;
    check_id("message_id", &request.message_id)?;
    let SendMessageRequest { thread_id, message_id, content, tenant, key_id, .. } = request;
    let message = Message {
        execution_id: execution_of(&thread_id, &message_id),
        id: message_id,
        content,
        at: Utc::now(),
        key_id,
        ..Message::default()
    };
    let decide = |thread: &mut Thread| {
        let on_busy = on_busy.unwrap_or(thread.on_busy);
        Ok((thread.send(message.clone(), on_busy)?, ()))
    };
    // A run that ended without telling its thread must not keep it busy.
    let mut trial = release(&app, &thread_id, &tenant).await?;
    decide(&mut trial)?;
    let workflow = app.threads.workflow(&app.bus).await?;
    // First the command: where this process ends between the message and its run, another one goes on.
    let announced = AdvanceThread { thread_id: thread_id.clone(), message_id: message.id.clone() };
    app.bus.publish(&announced, &MessageId::random()).await?;
    let changed = app.threads.change(&thread_id, decide).await?;
    let (thread, ()) = changed.ok_or_else(|| Error::UnknownThread(thread_id.clone()))?;
    threads::advance(&app, &thread).await?;
    let now = app.threads.load(&thread_id).await?.map_or(thread, |found| found.value);
    let status = now.find(&message.id).map_or(Status::Running, |kept| kept.status);
    Ok(SentMessage {
        thread_id,
        message_id: message.id,
        execution_id: message.execution_id,
        status: shown::status(status).to_owned(),
        workflow: workflow.name,
        version: workflow.version,
        digest: workflow.digest,
    })
}

/// Does what a thread asks for once the message is in it, where the process that put it there has not.
pub(crate) async fn advance(app: App, command: Delivery<AdvanceThread>) -> Result<(), Error> {
    let until = Instant::now() + AWAITED;
    loop {
        let Some(thread) = app.threads.load(&command.thread_id).await? else { return Ok(()) };
        if thread.value.find(&command.message_id).is_some() {
            return threads::advance(&app, &thread.value).await;
        }
        // It was refused, rolled back, or never written: then nobody was told that it was taken.
        if Instant::now() >= until {
            return Ok(());
        }
        tokio::select! {
            () = app.shutdown.cancelled() => return Err(Error::Stopping),
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// A thread with its messages.
pub(crate) async fn get(app: App, request: GetThreadRequest) -> Result<ThreadShown, Error> {
    Ok(shown::thread(release(&app, &request.thread_id, &request.tenant).await?))
}

/// The threads, without their messages.
pub(crate) async fn list(app: App, request: ListThreadsRequest) -> Result<ThreadList, Error> {
    let limit = if request.limit == 0 { LISTED } else { request.limit.min(MAX_LISTED) };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let ListThreadsRequest { agent, tenant, .. } = request;
    let fits =
        |thread: &Thread| (agent.is_empty() || thread.agent == agent) && belongs(thread, &tenant);
    let threads = app.threads.list(fits, limit).await?;
    let brief = |thread| shown::thread(Thread { messages: Vec::new(), ..thread });
    Ok(ThreadList { threads: threads.into_iter().map(brief).collect() })
}

/// Removes a thread, and ends its run.
pub(crate) async fn delete(app: App, request: DeleteThreadRequest) -> Result<ThreadShown, Error> {
    let unknown = || Error::UnknownThread(request.thread_id.clone());
    let thread = app.threads.load(&request.thread_id).await?.ok_or_else(unknown)?.value;
    if !belongs(&thread, &request.tenant) {
        return Err(unknown());
    }
    // First the run: where this process ends in between, the thread is still there to be removed.
    if let Some(active) = &thread.active {
        app.threads
            .change(&request.thread_id, |thread| {
                thread.messages.retain(|message| message.status != Status::Queued);
                Ok((true, ()))
            })
            .await?;
        threads::stop(&app, &thread, active).await?;
    }
    app.threads.remove(&request.thread_id).await?;
    Ok(shown::thread(thread))
}

/// The thread, freed from a run whose execution is over but never told it: one that was cancelled before it began.
async fn release(app: &App, thread_id: &str, tenant: &str) -> Result<Thread, Error> {
    let unknown = || Error::UnknownThread(thread_id.chars().take(80).collect());
    let thread = app.threads.load(thread_id).await?.ok_or_else(unknown)?.value;
    if !belongs(&thread, tenant) {
        return Err(unknown());
    }
    let Some(active) = &thread.active else { return Ok(thread) };
    let asked = GetExecutionRequest { execution_id: active.execution_id.clone() };
    let Ok(state) = app.bus.request(&asked).await else { return Ok(thread) };
    if !matches!(state.status.as_str(), "completed" | "faulted" | "cancelled") {
        return Ok(thread);
    }
    threads::stop(app, &thread, active).await?;
    Ok(app.threads.load(thread_id).await?.ok_or_else(unknown)?.value)
}

/// Whether it is there for this tenant; everything is for the platform itself.
fn belongs(thread: &Thread, tenant: &str) -> bool {
    tenant.is_empty() || thread.tenant == tenant
}

fn check_id(field: &str, id: &str) -> Result<(), Refusal> {
    if is_id(id) {
        return Ok(());
    }
    let error = format!("`{field}` is {id:.80?}; it must be 1 to 64 of a-z, A-Z, 0-9, `-` and `_`");
    Err(Refusal::Wrong(error))
}
