//! Conversations.

use std::time::Duration;

use muster_bus::MessageId;
use muster_contracts::agent::v1::{AgentDefinition, MemorySettings};
use muster_contracts::thread::v1::{
    CreateThreadRequest, DeleteThreadRequest, GetThreadRequest, ListThreadsRequest,
    SendMessageRequest, SentMessage, Thread,
};
use muster_contracts::workflow::v1::CallCancelled;
use muster_contracts::{Code, Fault};
use muster_testkit::eventually;

use crate::engine::ANSWER;
use crate::world::{LONG, World, agent, serve};

const THREAD: &str = "t1";

/// A world with a thread whose agent repeats the conversation, and never answers `hold`.
async fn world(on_busy: &str) -> World {
    let world = World::new().await;
    world.put(agent("echo")).await.unwrap();
    let request = CreateThreadRequest {
        thread_id: THREAD.into(),
        agent: "echo".into(),
        on_busy: on_busy.into(),
        ..Default::default()
    };
    let thread = world.bus.request(&request).await.unwrap();
    assert_eq!((thread.status.as_str(), thread.messages.len()), ("idle", 0));
    world
}

async fn send(world: &World, id: &str, content: &str) -> Result<SentMessage, Fault> {
    let request = SendMessageRequest {
        thread_id: THREAD.into(),
        message_id: id.into(),
        content: content.into(),
        ..Default::default()
    };
    world.bus.request(&request).await
}

async fn thread(world: &World) -> Thread {
    world
        .bus
        .request(&GetThreadRequest { thread_id: THREAD.into(), ..Default::default() })
        .await
        .unwrap()
}

/// The thread in one line.
async fn told(world: &World) -> String {
    let messages = thread(world).await.messages.into_iter();
    let messages = messages.map(|message| format!("{}:{}", message.content, message.status));
    messages.collect::<Vec<_>>().join(" ")
}

async fn becomes(world: &World, expected: &str) {
    eventually(LONG, expected, || async { told(world).await == expected }).await;
}

/// Waits until the model is asked for a turn of this execution.
async fn held(world: &World, sent: &SentMessage) {
    let begin = format!("{}/", sent.execution_id);
    eventually(LONG, "the model is asked", || async {
        world.peers.asked().keys().any(|key| key.starts_with(&begin))
    })
    .await;
}

#[tokio::test]
async fn a_run_is_told_what_was_said_before_it() {
    let world = world("").await;
    let first = send(&world, "1", "a").await.unwrap();
    becomes(&world, "a:answered [a]:complete").await;
    // The same message again is no second one.
    let again = send(&world, "1", "a").await.unwrap();
    assert_eq!((again.execution_id, again.status.as_str()), (first.execution_id, "answered"));
    send(&world, "2", "b").await.unwrap();
    becomes(&world, "a:answered [a]:complete b:answered [a [a] b]:complete").await;
    assert_eq!(world.peers.asked().len(), 2);
    let answer = thread(&world).await.messages[1].clone();
    assert_eq!(answer.usage.unwrap().input_tokens, 10);
    let list = world.bus.request(&ListThreadsRequest::default()).await.unwrap();
    assert_eq!(list.threads.len(), 1);
}

#[tokio::test]
async fn a_second_message_waits_for_the_answer_to_the_first() {
    let world = world("").await;
    let first = send(&world, "1", "hold").await.unwrap();
    assert_eq!(first.status, "running");
    assert_eq!(send(&world, "2", "b").await.unwrap().status, "queued");
    held(&world, &first).await;
    assert_eq!(told(&world).await, "hold:running b:queued");
    // A person cancels the execution of the first, and the second has its turn.
    world.peers.unwanted(&first.execution_id);
    let event = CallCancelled {
        execution_id: first.execution_id,
        task: ANSWER.into(),
        ..Default::default()
    };
    world.bus.publish(&event, &MessageId::random()).await.unwrap();
    becomes(&world, "hold:cancelled b:answered [hold b]:complete").await;
}

#[tokio::test]
async fn a_busy_thread_refuses_a_message_where_it_is_to() {
    let world = world("reject").await;
    let first = send(&world, "1", "hold").await.unwrap();
    let fault = send(&world, "2", "b").await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict);
    assert!(fault.message.contains(&first.execution_id), "{fault:?}");
    assert_eq!(told(&world).await, "hold:running");
}

#[tokio::test]
async fn an_interrupting_message_stops_the_run_and_keeps_what_it_said() {
    let world = world("interrupt").await;
    let first = send(&world, "1", "say and hold").await.unwrap();
    eventually(LONG, "the model is asked its second turn", || async {
        let asked = world.peers.asked();
        asked
            .keys()
            .filter(|key| key.starts_with(&first.execution_id))
            .any(|key| key.ends_with("/2"))
    })
    .await;
    send(&world, "2", "b").await.unwrap();
    becomes(
        &world,
        "say and hold:interrupted so far:partial b:answered [say and hold so far b]:complete",
    )
    .await;
}

#[tokio::test]
async fn a_message_that_rolls_back_forgets_the_run_and_its_message() {
    let world = world("rollback").await;
    let first = send(&world, "1", "hold").await.unwrap();
    held(&world, &first).await;
    send(&world, "2", "b").await.unwrap();
    becomes(&world, "b:answered [b]:complete").await;
}

#[tokio::test]
async fn a_run_whose_execution_ended_without_it_does_not_keep_the_thread_busy() {
    let world = world("reject").await;
    let first = send(&world, "1", "hold").await.unwrap();
    held(&world, &first).await;
    // Its end was told to nobody.
    world.peers.unwanted(&first.execution_id);
    assert_eq!(told(&world).await, "hold:cancelled");
    send(&world, "2", "b").await.unwrap();
    becomes(&world, "hold:cancelled b:answered [hold b]:complete").await;
}

#[tokio::test]
async fn a_removed_thread_ends_its_run() {
    let world = world("").await;
    let first = send(&world, "1", "hold").await.unwrap();
    held(&world, &first).await;
    send(&world, "2", "b").await.unwrap();
    let request = DeleteThreadRequest { thread_id: THREAD.into(), ..Default::default() };
    world.bus.request(&request).await.unwrap();
    assert!(world.peers.is_unwanted(&first.execution_id));
    let gone = world
        .bus
        .request(&GetThreadRequest { thread_id: THREAD.into(), ..Default::default() })
        .await;
    assert_eq!(gone.unwrap_err().code, Code::NotFound);
    assert_eq!(send(&world, "3", "c").await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn a_thread_without_an_agent_or_with_another_one_is_refused() {
    let world = world("").await;
    world.put(agent("talk")).await.unwrap();
    let create = async |thread: &str, agent: &str, on_busy: &str| {
        let request = CreateThreadRequest {
            thread_id: thread.into(),
            agent: agent.into(),
            on_busy: on_busy.into(),
            ..Default::default()
        };
        world.bus.request(&request).await.map_err(|fault| fault.code)
    };
    assert_eq!(create("t2", "nobody", "").await.unwrap_err(), Code::NotFound);
    assert_eq!(create("t2", "echo", "wait").await.unwrap_err(), Code::Invalid);
    assert_eq!(create("a.b", "echo", "").await.unwrap_err(), Code::Invalid);
    assert_eq!(create(THREAD, "talk", "").await.unwrap_err(), Code::Conflict);
    assert!(create(THREAD, "echo", "").await.is_ok());
}

/// The model answers each question only when it is asked again, by the process after the crash.
#[tokio::test]
async fn a_crash_between_any_two_steps_of_a_threaded_run_loses_and_repeats_nothing() {
    let mut world = World::new().await;
    let memory = Some(MemorySettings::default());
    let definition = AgentDefinition { memory, ..agent("deaf-memo") };
    world.put(definition).await.unwrap();
    let request = CreateThreadRequest {
        thread_id: THREAD.into(),
        agent: "deaf-memo".into(),
        ..Default::default()
    };
    world.bus.request(&request).await.unwrap();
    let sent = send(&world, "1", "tea").await.unwrap();
    let second = send(&world, "2", "milk").await.unwrap();
    for (sent, turn) in
        [&sent, &second].into_iter().flat_map(|sent| (1..=3).map(move |turn| (sent, turn)))
    {
        eventually(LONG, "the model is asked the next turn", || async {
            let (begin, end) = (format!("{}/", sent.execution_id), format!("/{turn}"));
            world.peers.asked().keys().any(|key| key.starts_with(&begin) && key.ends_with(&end))
        })
        .await;
        world.service.take().unwrap().crash();
        world.service = Some(serve(&world.nats));
    }
    eventually(LONG, "both are answered", || async {
        let request = GetThreadRequest { thread_id: THREAD.into(), ..Default::default() };
        // What crashed a moment ago may get the question, and never answers it.
        let answer = world.bus.request_within(&request, Duration::from_secs(2)).await;
        answer.is_ok_and(|thread| thread.status == "idle" && thread.messages.len() == 4)
    })
    .await;
    let messages = thread(&world).await.messages;
    let statuses: Vec<&str> = messages.iter().map(|message| message.status.as_str()).collect();
    assert_eq!(statuses, ["answered", "complete", "answered", "complete"]);
    // What the first run remembered, the second recalled; and nothing was remembered twice.
    assert_eq!(messages[1].content, "tea");
    assert_eq!(messages[3].content, "milk tea");
    assert_eq!(messages[0].execution_id, sent.execution_id);
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}
