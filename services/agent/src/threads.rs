//! Threads: kept in the bucket THREADS, and what their state asks for is done.

use std::sync::Arc;

use chrono::Utc;
use muster_bus::{Bucket, Bus, Kv, KvError, MessageId, Versioned};
use muster_contracts::agent::v1::AgentExecutionRequested;
use muster_contracts::workflow::v1::{
    CancelExecutionRequest, PutWorkflowRequest, StartExecution, WorkflowDefinition,
};
use muster_contracts::{Code, Fault, Json};
use serde_json::json;
use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::Error;
use crate::app::App;
use crate::domain::thread::{Active, Ended, Thread};
use crate::runner::Runner;

/// The workflow by which a message is answered: an execution is what users follow, cancel and pay for.
const WORKFLOW: &str = "\
document: {dsl: '1.0.3', namespace: muster, name: muster-thread, version: '1.0.0'}
do:
  - answer:
      call: agent
      with:
        agent: '${ .agent }'
        input: '${ .message }'
        thread: '${ .thread_id }'
        message: '${ .message_id }'
";
/// The only task of the workflow, as executions name it.
const TASK: &str = "/do/0/answer@1";
/// Ids of executions that answer messages are under this namespace.
const NAMESPACE: Uuid = Uuid::from_u128(0x6d75_7374_6572_5468_b5e1_0000_0000_0001);
/// How often a change is decided again where somebody else was faster.
const TRIES: u32 = 64;
/// Threads that one listing looks at.
const SCANNED: usize = 5_000;

/// The kept threads. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Threads {
    threads: Kv<Thread>,
    /// The workflow as it is registered.
    workflow: Arc<OnceCell<WorkflowDefinition>>,
}

impl Threads {
    pub(crate) fn new(bus: &Bus) -> Self {
        Self { threads: bus.kv(Bucket::Threads), workflow: Arc::default() }
    }

    pub(crate) async fn load(&self, id: &str) -> Result<Option<Versioned<Thread>>, Fault> {
        if is_id(id) { self.threads.get(&key(id)).await } else { Ok(None) }
    }

    /// Writes a thread that is not there. What is there already, where it is.
    pub(crate) async fn create(&self, thread: Thread) -> Result<Thread, Error> {
        match self.threads.create(&key(&thread.thread_id), &thread).await {
            Ok(_revision) => Ok(thread),
            Err(KvError::Conflict) => {
                let found = self.load(&thread.thread_id).await?;
                Ok(found.map_or(thread, |found| found.value))
            }
            Err(KvError::Fault(fault)) => Err(fault.into()),
        }
    }

    /// Changes a thread by compare-and-set. Where `change` says false, nothing is written.
    pub(crate) async fn change<R>(
        &self,
        id: &str,
        mut change: impl FnMut(&mut Thread) -> Result<(bool, R), Error>,
    ) -> Result<Option<(Thread, R)>, Error> {
        for _ in 0..TRIES {
            let Some(Versioned { value: mut thread, revision }) = self.load(id).await? else {
                return Ok(None);
            };
            let (changed, told) = change(&mut thread)?;
            if !changed {
                return Ok(Some((thread, told)));
            }
            match self.threads.update(&key(id), &thread, revision).await {
                Ok(_revision) => return Ok(Some((thread, told))),
                Err(KvError::Conflict) => {}
                Err(KvError::Fault(fault)) => return Err(fault.into()),
            }
        }
        let text = format!("thread {id:?} changes too fast; try again");
        Err(Fault::new(Code::Unavailable, text).into())
    }

    pub(crate) async fn remove(&self, id: &str) -> Result<(), Fault> {
        self.threads.forget(&key(id)).await
    }

    /// Threads, the one that was changed last first.
    pub(crate) async fn list(
        &self,
        fits: impl Fn(&Thread) -> bool,
        limit: usize,
    ) -> Result<Vec<Thread>, Fault> {
        let (mut found, mut from) = (Vec::new(), 0);
        for _ in 0..SCANNED {
            let Some((_, next)) = self.threads.next_under("threads", from).await? else { break };
            from = next.revision + 1;
            if fits(&next.value) {
                found.push(next.value);
            }
        }
        found.reverse();
        found.truncate(limit);
        Ok(found)
    }

    /// The workflow of threads; registered by the first that needs it.
    pub(crate) async fn workflow(&self, bus: &Bus) -> Result<WorkflowDefinition, Fault> {
        let put = PutWorkflowRequest { source: WORKFLOW.to_owned(), ..Default::default() };
        self.workflow.get_or_try_init(|| bus.request(&put)).await.cloned()
    }
}

/// Does what the state of a thread asks for. A second time changes nothing.
pub(crate) async fn advance(app: &App, thread: &Thread) -> Result<(), Error> {
    match &thread.active {
        None => Ok(()),
        Some(active) if active.stop.is_some() => Box::pin(stop(app, thread, active)).await,
        Some(active) => start(app, thread, active).await,
    }
}

/// Writes down how the run of a command ended, and begins the next one. A second time changes nothing.
pub(crate) async fn settle(
    app: &App,
    command: &AgentExecutionRequested,
    ended: Ended,
) -> Result<(), Error> {
    if command.thread_id.is_empty() || command.message_id.is_empty() {
        return Ok(());
    }
    let change = |thread: &mut Thread| {
        Ok((thread.settle(&command.execution_id, ended.clone(), Utc::now()), ()))
    };
    match app.threads.change(&command.thread_id, change).await? {
        Some((thread, ())) if thread.active.as_ref().is_some_and(|next| next.stop.is_none()) => {
            advance(app, &thread).await
        }
        _ => Ok(()),
    }
}

/// Ends the run that is busy, whether it began or not.
pub(crate) async fn stop(app: &App, thread: &Thread, active: &Active) -> Result<(), Error> {
    let digest = app.threads.workflow(&app.bus).await?.digest;
    let execution_id = active.execution_id.clone();
    let reason = format!("a newer message of thread {:?}", thread.thread_id);
    let cancel = CancelExecutionRequest { execution_id: execution_id.clone(), reason, digest };
    match app.bus.request(&cancel).await {
        Ok(_state) => {}
        // It has ended by itself, or never began.
        Err(fault) if matches!(fault.code, Code::Conflict | Code::NotFound) => {}
        Err(fault) => return Err(fault.into()),
    }
    // Not left to who runs it: its journal is closed here, so that nothing is said behind what the thread keeps.
    let command = AgentExecutionRequested {
        execution_id,
        task: TASK.to_owned(),
        agent: thread.agent.clone(),
        thread_id: thread.thread_id.clone(),
        message_id: active.message_id.clone(),
        ..Default::default()
    };
    Box::pin(Runner::open(app.clone(), command).await?.cancel()).await
}

async fn start(app: &App, thread: &Thread, active: &Active) -> Result<(), Error> {
    let Some(message) = thread.find(&active.message_id) else { return Ok(()) };
    let workflow = app.threads.workflow(&app.bus).await?;
    let command = StartExecution {
        execution_id: active.execution_id.clone(),
        workflow: workflow.name,
        version: workflow.version,
        digest: workflow.digest,
        input: Some(Json(json!({
            "agent": thread.agent,
            "message": message.content,
            "thread_id": thread.thread_id,
            "message_id": message.id,
        }))),
        tenant: thread.tenant.clone(),
        key_id: message.key_id.clone(),
        ..Default::default()
    };
    let id = MessageId::derived([active.execution_id.as_str(), "start"]);
    app.bus.publish(&command, &id).await?;
    Ok(())
}

/// The execution that answers a message: the same in every try.
pub(crate) fn execution_of(thread_id: &str, message_id: &str) -> String {
    Uuid::new_v5(&NAMESPACE, format!("{thread_id}\n{message_id}").as_bytes()).to_string()
}

/// Whether it can be the id of a thread or a message.
pub(crate) fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn key(id: &str) -> String {
    format!("threads.{id}")
}
