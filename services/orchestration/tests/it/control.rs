//! Cancelling, suspending, resuming and retrying.

use futures::StreamExt;
use muster_bus::{After, MessageId};
use muster_contracts::agent::v1::AgentExecutionCompleted;
use muster_contracts::workflow::v1::{
    CallCancelled, CancelExecutionRequest, ControlExecution, ExecutionCancelled, ExecutionState,
    GetCallRequest, JournalEntry, ResumeExecutionRequest, RetryExecutionRequest,
    SuspendExecutionRequest,
};
use muster_contracts::{Addressed, Code, Fault, Json, Message, Stream, subject};
use muster_testkit::eventually;
use serde_json::{Value, json};

use crate::{LONG, World, serve, workflow};

const SILENT: &str = "
- ask: {call: agent, with: {agent: a, input: '${ .how }'}}
- more: {call: tool, with: {tool: t, arguments: {x: '${ .echo }'}}}
";

impl World {
    async fn launched(&self, id: &str, tasks: &str, input: Value) {
        let definition = self.put(&workflow("w", tasks)).await.unwrap();
        self.start(id, &definition, input).await;
        let status = self.until(id, &["running", "waiting", "faulted"]).await.status;
        assert_ne!(status, "");
    }

    async fn until(&self, id: &str, wanted: &[&str]) -> ExecutionState {
        eventually(LONG, "the execution stands so", || async {
            match self.state(id).await {
                Ok(state) if wanted.contains(&state.status.as_str()) => Ok(state),
                other => Err(other),
            }
        })
        .await
    }

    async fn cancel(&self, id: &str) -> Result<ExecutionState, Fault> {
        let request = CancelExecutionRequest {
            execution_id: id.into(),
            reason: "enough".into(),
            ..Default::default()
        };
        self.bus.request(&request).await
    }

    async fn suspend(&self, id: &str) -> Result<ExecutionState, Fault> {
        let reason = "lunch".into();
        self.bus.request(&SuspendExecutionRequest { execution_id: id.into(), reason }).await
    }

    async fn resume(&self, id: &str) -> Result<ExecutionState, Fault> {
        self.bus.request(&ResumeExecutionRequest { execution_id: id.into() }).await
    }

    pub(crate) async fn retry(&self, id: &str) -> Result<ExecutionState, Fault> {
        self.bus.request(&RetryExecutionRequest { execution_id: id.into() }).await
    }

    async fn wanted(&self, id: &str, task: &str) -> bool {
        let request = GetCallRequest { execution_id: id.into(), task: task.into() };
        self.bus.request(&request).await.unwrap().wanted
    }

    /// Answers for the agent.
    pub(crate) async fn answer(&self, id: &str, task: &str, output: Value) {
        let event = AgentExecutionCompleted {
            execution_id: id.into(),
            task: task.into(),
            agent: "a".into(),
            output: Some(Json(output)),
            ..Default::default()
        };
        self.bus.publish(&event, &MessageId::random()).await.unwrap();
    }

    /// The types of the facts of its journal.
    async fn journal(&self, id: &str) -> Vec<String> {
        let address = JournalEntry { execution_id: id.into(), ..Default::default() };
        let entries = self.bus.journal(&address).unwrap().read().await.unwrap();
        let facts = entries.into_iter().flat_map(|(_, entry)| entry.facts);
        let kind = |fact: &Json| fact.get("type").and_then(Value::as_str).map(str::to_owned);
        facts.map(|fact| kind(&fact).unwrap()).collect()
    }

    pub(crate) async fn first<M: Addressed + Message>(&self) -> M {
        let patterns = vec![subject::pattern(M::SUBJECT)];
        let mut events = Box::pin(self.bus.follow(Stream::Executions, patterns, After(0)));
        tokio::time::timeout(LONG, events.next()).await.unwrap().unwrap().decode().unwrap()
    }
}

#[track_caller]
fn refused(answer: Result<ExecutionState, Fault>, status: &str) {
    let fault = answer.unwrap_err();
    assert_eq!(fault.code, Code::Conflict, "{fault:?}");
    assert!(fault.message.contains(&format!("is {status}:")), "{}", fault.message);
}

#[tokio::test]
async fn a_cancelled_execution_tells_those_who_work_for_it_and_the_world() {
    let world = World::new().await;
    world.launched("e1", SILENT, json!({"how": "silent"})).await;
    assert!(world.wanted("e1", "/do/0/ask").await);
    let state = world.cancel("e1").await.unwrap();
    assert_eq!((state.status.as_str(), state.reason.as_str()), ("cancelled", "enough"));
    let told: CallCancelled = world.first().await;
    assert_eq!((told.execution_id.as_str(), told.task.as_str()), ("e1", "/do/0/ask"));
    let told: ExecutionCancelled = world.first().await;
    assert_eq!((told.status.as_str(), told.reason.as_str()), ("cancelled", "enough"));
    assert!(!world.wanted("e1", "/do/0/ask").await);
    assert!(world.wanted("unknown", "/do/0/ask").await);
    refused(world.cancel("e1").await, "cancelled");
    refused(world.suspend("e1").await, "cancelled");
    refused(world.retry("e1").await, "cancelled");
    assert_eq!(world.cancel("e404").await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn who_is_told_that_something_was_done_was_heard_before_the_end() {
    let world = World::new().await;
    let tasks = "- ask: {call: agent, with: {agent: a, input: '${ .how }'}}";
    for round in 0..40 {
        let id = format!("e{round}");
        world.launched(&id, tasks, json!({"how": "silent"})).await;
        let answer = world.answer(&id, "/do/0/ask", json!({}));
        let (status, told) = if round % 2 == 0 {
            ("cancelled", tokio::join!(answer, world.cancel(&id)).1)
        } else {
            ("suspended", tokio::join!(answer, world.suspend(&id)).1)
        };
        match told {
            Ok(state) => assert_eq!(state.status, status),
            late => refused(late, "completed"),
        }
    }
}

#[tokio::test]
async fn an_execution_is_cancelled_before_it_began() {
    let world = World::new().await;
    let definition = world.put(&workflow("w", SILENT)).await.unwrap();
    let request = CancelExecutionRequest {
        execution_id: "e1".into(),
        digest: definition.digest.clone(),
        ..Default::default()
    };
    assert_eq!(world.bus.request(&request).await.unwrap().status, "cancelled");
    world.start("e1", &definition, json!({"how": "x"})).await;
    world.start("e2", &definition, json!({"how": "x"})).await;
    world.ended("e2").await;
    let state = world.state("e1").await.unwrap();
    assert_eq!((state.status.as_str(), state.tasks.len()), ("cancelled", 0));
}

#[tokio::test]
async fn a_suspended_execution_keeps_what_comes_and_goes_on_with_it() {
    let world = World::new().await;
    let tasks = "
- both:
    fork:
      branches:
      - ask: {call: agent, with: {agent: a, input: silent}}
      - nap: {wait: {seconds: 3}}
- more: {set: {done: true}}
";
    world.launched("e1", tasks, Value::Null).await;
    let state = world.suspend("e1").await.unwrap();
    assert_eq!((state.status.as_str(), state.reason.as_str()), ("suspended", "lunch"));
    refused(world.suspend("e1").await, "suspended");
    world.answer("e1", "/do/0/both/fork/branches/0/ask", json!(7)).await;
    eventually(LONG, "both inputs are in the journal", || async {
        match world.journal("e1").await.iter().filter(|fact| *fact == "input_held").count() {
            2 => Ok(()),
            count => Err(count),
        }
    })
    .await;
    assert_eq!(world.state("e1").await.unwrap().status, "suspended");
    assert_ne!(world.resume("e1").await.unwrap().status, "suspended");
    assert_eq!(world.ended("e1").await.output, Some(Json(json!({"done": true}))));
    refused(world.resume("e1").await, "completed");
}

/// A suspend that is delivered when the execution was suspended and resumed after it would suspend it for ever.
#[tokio::test]
async fn a_command_that_others_have_followed_comes_too_late() {
    let mut world = World::new().await;
    world.launched("e1", SILENT, json!({"how": "silent"})).await;
    world.suspend("e1").await.unwrap();
    world.resume("e1").await.unwrap();
    let address = JournalEntry { execution_id: "e1".into(), ..Default::default() };
    let journal = world.bus.journal(&address).unwrap();
    let entries = journal.read().await.unwrap();
    let mut last = entries.last().unwrap().0;
    world.service.take().unwrap().stop().await;
    let late = ControlExecution {
        execution_id: "e1".into(),
        action: "suspend".into(),
        ..Default::default()
    };
    world.bus.publish(&late, &MessageId::random()).await.unwrap();
    // What the other replica did meanwhile: the same as before, for other commands.
    for (_, entry) in entries.iter().skip(entries.len() - 2) {
        let entry = JournalEntry { input_id: format!("{}-again", entry.input_id), ..entry.clone() };
        last = journal.append(&entry, last, &MessageId::random()).await.unwrap();
    }
    world.service = Some(serve(&world.nats));
    world.answer("e1", "/do/0/ask", json!({"echo": 1})).await;
    assert_eq!(world.ended("e1").await.status, "completed");
}

#[tokio::test]
async fn a_faulted_execution_goes_on_from_the_task_that_failed() {
    let world = World::new().await;
    let tasks = "
- one: {call: tool, with: {tool: t, arguments: {x: 1}}}
- two: {call: agent, with: {agent: a, input: fail first}}
- three: {set: {got: '${ .echo }'}}
";
    let state = world.run(tasks, Value::Null).await;
    assert_eq!(state.status, "faulted");
    refused(world.resume("e1").await, "faulted");
    world.retry("e1").await.unwrap();
    let state = world.until("e1", &["completed"]).await;
    assert_eq!(state.output, Some(Json(json!({"got": "fail first"}))));
    let tasks: Vec<_> =
        state.tasks.iter().map(|task| (task.name.as_str(), task.status.as_str())).collect();
    assert_eq!(
        tasks,
        [("one", "completed"), ("two", "faulted"), ("two", "completed"), ("three", "completed")]
    );
    refused(world.retry("e1").await, "completed");
}

#[tokio::test]
async fn after_a_dead_letter_the_way_on_is_a_retry_and_a_replay_of_the_letter_does_no_harm() {
    let world = World::new().await;
    let tasks = "- one: {call: tool, with: {tool: broken, arguments: {}}}";
    assert_eq!(world.run(tasks, Value::Null).await.status, "faulted");
    let letters = world.bus.dead_letters();
    let (sequence, _letter) = letters.list(1).await.unwrap().remove(0);
    letters.replay(sequence).await.unwrap();
    assert_eq!(world.state("e1").await.unwrap().status, "faulted");
    assert!(!world.wanted("e1", "/do/0/one").await);
    world.retry("e1").await.unwrap();
    // It is broken still, which is another dead letter and another fault.
    eventually(LONG, "the second attempt failed", || async {
        let state = world.state("e1").await.unwrap();
        let second = state.tasks.iter().find(|task| task.attempt == 2);
        match second.map(|task| task.status.as_str()) {
            Some("faulted") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
}

#[tokio::test]
async fn what_was_written_down_is_done_though_its_writer_is_gone_and_nonsense_stalls_nobody() {
    let world = World::new().await;
    world.launched("e1", SILENT, json!({"how": "silent"})).await;
    let command = |execution_id: &str, action: &str| ControlExecution {
        execution_id: execution_id.into(),
        action: action.into(),
        ..Default::default()
    };
    let nonsense = [("e1", "dance"), ("e404", "cancel"), ("e1", "resume"), ("e1", "retry")];
    for (execution_id, action) in nonsense {
        world.bus.publish(&command(execution_id, action), &MessageId::random()).await.unwrap();
    }
    world.bus.publish(&command("e1", "cancel"), &MessageId::random()).await.unwrap();
    world.until("e1", &["cancelled"]).await;
    // Commands are handled side by side: the letter may be written behind the cancellation.
    let letters = eventually(LONG, "a dead letter", || async {
        let letters = world.bus.dead_letters().list(10).await.unwrap();
        (!letters.is_empty()).then_some(letters)
    })
    .await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].1.reason.contains("\"dance\""), "{}", letters[0].1.reason);
}
