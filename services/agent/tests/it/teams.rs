//! Agents that work with each other.

use futures::StreamExt;
use muster_bus::{After, Bucket, Bus, MessageId};
use muster_contracts::agent::v1::{
    AgentBroadcast, AgentDefinition, AgentExecutionCancelled, AgentExecutionCompleted, AgentResult,
    AgentTask, AgentTaskAssigned, AgentTaskCompleted, GetAgentStatusRequest, GetAgentTaskRequest,
    RegisterAgentRequest, TeamSettings,
};
use muster_contracts::workflow::v1::CallCancelled;
use muster_contracts::{JsonObject, Message, Stream};
use muster_testkit::eventually;
use serde_json::{Value, json};

use crate::world::{LONG, TASK, World, agent, serve};

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

async fn register(world: &World, team: TeamSettings) {
    let definition = AgentDefinition { team: Some(team), ..agent("do") };
    world.put(definition).await.unwrap();
    for part in ["talk", "silent", "deaf"] {
        let tools = vec!["double".into()];
        world.put(AgentDefinition { tools, ..agent(part) }).await.unwrap();
    }
}

fn asking(agents: &[&str]) -> TeamSettings {
    TeamSettings { agents: names(agents), ..Default::default() }
}

/// How the run that the workflow asked for ended.
async fn own_end(world: &World) -> AgentExecutionCompleted {
    let mut ends = Box::pin(world.bus.follow(
        Stream::Executions,
        vec!["agent.execution.completed".into()],
        After(0),
    ));
    let own = async {
        while let Some(event) = ends.next().await {
            let event: AgentExecutionCompleted = event.decode().unwrap();
            if event.task == TASK {
                return Some(event);
            }
        }
        None
    };
    tokio::time::timeout(LONG, own).await.unwrap().unwrap()
}

async fn content(world: &World) -> String {
    world.deliverable(&own_end(world).await.output.unwrap().0).await.content
}

/// The first message of this kind in the stream of agents.
async fn told<M: Message>(world: &World, pattern: &str) -> M {
    let mut events = Box::pin(world.bus.follow(Stream::Agents, vec![pattern.to_owned()], After(0)));
    tokio::time::timeout(LONG, events.next()).await.unwrap().unwrap().decode().unwrap()
}

#[tokio::test]
async fn a_supervisor_gets_the_notice_of_what_it_asked_for_and_pays_for_it() {
    let world = World::new().await;
    register(&world, asking(&["talk", "deaf"])).await;
    let input = json!([["ask_talk", {"request": "why?"}], ["ask_nobody", {}]]);
    world.request("do", "e1", input).await;
    let content = content(&world).await;
    assert!(content.contains("\"deliverable\":\"deliverables/talk/report/"), "{content}");
    assert!(content.contains("no tool `ask_nobody`"), "{content}");
    // Two turns of its own and one of the other.
    let event = own_end(&world).await;
    let usage = event.usage.unwrap();
    assert_eq!((usage.model_calls, usage.input_tokens, usage.output_tokens), (3, 30, 15));
}

#[tokio::test]
async fn a_run_that_asks_others_survives_every_crash_and_repeats_nothing() {
    let mut world = World::new().await;
    register(&world, asking(&["deaf", "talk"])).await;
    let input = json!([["ask_deaf", {"request": "go"}], ["ask_talk", {"request": "go"}]]);
    world.request("do", "e1", input).await;
    for turn in 1..=3 {
        eventually(LONG, "the other is asked its next turn", || async {
            let asked = world.peers.asked();
            let ends =
                |key: &&String| key.split('/').count() == 3 && key.ends_with(&format!("/{turn}"));
            // In the first turn all three are asked, in the others the one that answers late.
            asked.keys().filter(ends).count() >= if turn == 1 { 3 } else { 1 }
        })
        .await;
        world.service.take().unwrap().crash();
        world.service = Some(serve(&world.nats));
    }
    let content = content(&world).await;
    assert!(
        content.contains("deliverables/deaf/") && content.contains("deliverables/talk/"),
        "{content}"
    );
    // A crash repeats at most what was not recorded when it came.
    let often: Vec<_> = world.peers.asked().into_iter().filter(|(_, times)| *times > 4).collect();
    assert!(often.is_empty(), "{often:?}");
}

#[tokio::test]
async fn another_agent_goes_on_with_the_conversation() {
    let world = World::new().await;
    register(&world, TeamSettings { handoff: names(&["talk", "gone"]), ..Default::default() })
        .await;
    world
        .request(
            "do",
            "e1",
            json!([["handoff_to_gone", {}], ["handoff_to_talk", {"reason": "yours"}]]),
        )
        .await;
    let content = content(&world).await;
    assert!(content.starts_with("You said: {\"handed_over_to\":\"talk\"}"), "{content:.200}");
    let facts = world.facts("do").await;
    assert!(facts.contains(&"handed_off".to_owned()), "{facts:?}");
    assert_eq!(world.ends().await, 1);
}

#[tokio::test]
async fn a_cancellation_reaches_the_runs_of_others() {
    let world = World::new().await;
    register(&world, asking(&["silent"])).await;
    world.request("do", "e1", json!([["ask_silent", {"request": "go"}]])).await;
    eventually(LONG, "the other is asked", || async { world.peers.asked().len() == 2 }).await;
    let event =
        CallCancelled { execution_id: "e1".into(), task: TASK.into(), ..Default::default() };
    world.bus.publish(&event, &MessageId::random()).await.unwrap();
    let mut events = Box::pin(world.bus.follow(
        Stream::Executions,
        vec!["agent.execution.cancelled".into()],
        After(0),
    ));
    let mut agents = Vec::new();
    while agents.len() < 2 {
        let event = tokio::time::timeout(LONG, events.next()).await.unwrap().unwrap();
        agents.push(event.decode::<AgentExecutionCancelled>().unwrap().agent);
    }
    agents.sort();
    assert_eq!(agents, ["do", "silent"]);
}

#[tokio::test]
async fn runs_that_ask_each_other_in_a_circle_come_to_an_end() {
    let world = World::new().await;
    let other = AgentDefinition {
        instructions: "do is your part.".into(),
        team: Some(asking(&["do"])),
        ..agent("other")
    };
    world.put(other).await.unwrap();
    register(&world, asking(&["other"])).await;
    let again = json!([["ask_do", {"request": "[]"}]]).to_string();
    world.request("do", "e1", json!([["ask_other", {"request": again}]])).await;
    let content = content(&world).await;
    assert!(content.contains("deliverables/other/"), "{content}");
    let told = world.deliverable(&serde_json::from_str(&content).unwrap()).await.content;
    assert!(told.contains("waits for this answer already"), "{told}");
}

#[tokio::test]
async fn agents_write_to_each_other_and_each_message_is_read_once() {
    let world = World::new().await;
    register(&world, TeamSettings { inbox: true, ..Default::default() }).await;
    let team = Some(TeamSettings { inbox: true, ..Default::default() });
    let writer = AgentDefinition { instructions: "do it.".into(), team, ..agent("writer") };
    world.put(writer).await.unwrap();
    let all = AgentBroadcast {
        from_agent: "people".into(),
        content: "to all".into(),
        message_type: "news".into(),
        ..Default::default()
    };
    world.bus.publish(&all, &MessageId::random()).await.unwrap();
    let send = json!([
        ["send_message", {"to": "do", "content": "to you", "message_type": "hint"}],
        ["send_message", {"to": "nobody", "content": "x"}],
    ]);
    world.request("writer", "e0", send).await;
    let sent = world.completed().await;
    let sent = world.deliverable(&sent.output.unwrap().0).await.content;
    assert!(sent.contains("\"sent_to\":\"do\"") && sent.contains("nobody"), "{sent}");
    // Both come by streams: the inbox is read until they are there.
    let mut read = String::new();
    for place in 1..=100 {
        let execution = format!("r{place}");
        world.request("do", &execution, json!([["read_inbox", {}]])).await;
        let mut ends = Box::pin(world.bus.follow(
            Stream::Executions,
            vec!["agent.execution.completed".into()],
            After(0),
        ));
        let own = ends.by_ref().filter(|event| std::future::ready(event.execution_id == execution));
        let event = tokio::time::timeout(LONG, Box::pin(own).next()).await.unwrap().unwrap();
        let event: AgentExecutionCompleted = event.decode().unwrap();
        read += &world.deliverable(&event.output.unwrap().0).await.content;
        if read.contains("to you") && read.contains("to all") {
            break;
        }
    }
    assert_eq!(read.matches("to you").count(), 1, "{read}");
    assert_eq!(read.matches("to all").count(), 1, "{read}");
}

#[tokio::test]
async fn an_inbox_keeps_its_order_over_a_restart_and_one_unreadable_message_hides_no_other() {
    let world = World::new().await;
    register(&world, TeamSettings { inbox: true, ..Default::default() }).await;
    // As the agent service itself, to look into its bucket.
    let agent = Bus::open(world.nats.operator("agent")).await.unwrap();
    agent.ready().await;
    let inbox = agent.kv::<Value>(Bucket::Work);
    for (count, text) in ["first", "second", "third"].into_iter().enumerate() {
        if text == "third" {
            // The stream of messages is in memory, and begins anew.
            world.nats.restart().await;
        }
        let all = AgentBroadcast {
            from_agent: "people".into(),
            content: text.into(),
            ..Default::default()
        };
        let id = MessageId::random();
        eventually(LONG, "it is published", || world.bus.publish(&all, &id)).await;
        eventually(LONG, "it is in the inbox", || async {
            let keys = inbox.keys("inbox/do/").await.map_err(|fault| fault.message)?;
            if keys.len() > count { Ok(()) } else { Err(format!("{keys:?}")) }
        })
        .await;
    }
    let sealed = json!({"to_agent": "do", "from_agent": "x", "content": "sealed:v1:gone:AAAA"});
    inbox.put("inbox/do/00000000000000000000-0000000000-x", &sealed).await.unwrap();
    for execution in ["r1", "r2"] {
        world.request("do", execution, json!([["read_inbox", {}]])).await;
        let end = world.completed_of(execution).await;
        let read = world.deliverable(&end.output.unwrap().0).await.content;
        assert!(read.contains("unreadable") && read.contains("\\\"gone\\\""), "{read}");
        let places = ["first", "second", "third"].map(|text| read.find(text));
        match execution {
            "r1" => assert!(places.is_sorted() && places[0].is_some(), "{read}"),
            // Read once; only what cannot be read is still there, until its key is.
            _ => assert_eq!(places, [None; 3], "{read}"),
        }
    }
}

#[tokio::test]
async fn a_task_on_the_bus_is_a_run_and_its_end_is_told() {
    let world = World::new().await;
    register(&world, TeamSettings::default()).await;
    let task = AgentTaskAssigned {
        agent_id: "talk".into(),
        task_id: "t 1".into(),
        r#type: "ask".into(),
        params: Some(JsonObject::wrap(json!({"input": "hello"}))),
        execution_id: "theirs".into(),
    };
    world.bus.publish(&task, &MessageId::random()).await.unwrap();
    let end: AgentTaskCompleted = told(&world, "agent.talk.task.completed").await;
    assert_eq!((end.task_id.as_str(), end.execution_id.as_str()), ("t 1", "theirs"));
    let content = world.deliverable(&end.result.unwrap().0).await.content;
    assert!(content.starts_with("You said: hello."), "{content:.100}");
    let result: AgentResult = told(&world, "agent.talk.result").await;
    assert_eq!(result.status, "completed");
    assert!(result.nats_channel.starts_with("deliverables.talk.report."), "{result:?}");
    eventually(LONG, "the task is known as done", || async {
        ended(&world, "t 1").await.is_some_and(|task| task.status == "completed")
    })
    .await;
    let unknown = AgentTaskAssigned { agent_id: "gone".into(), task_id: "t2".into(), ..task };
    world.bus.publish(&unknown, &MessageId::random()).await.unwrap();
    eventually(LONG, "the task has failed", || async {
        ended(&world, "t2").await.is_some_and(|task| task.error.contains("\"gone\""))
    })
    .await;
    let asked = GetAgentStatusRequest { agent_id: "talk".into() };
    eventually(LONG, "the agent is idle again", || async {
        world.bus.request(&asked).await.is_ok_and(|status| status.status == "idle" && !status.stale)
    })
    .await;
}

async fn ended(world: &World, task: &str) -> Option<AgentTask> {
    world.bus.request(&GetAgentTaskRequest { task_id: task.into() }).await.ok()
}

/// A program that is an agent: it answers each task with its parameters.
async fn program(world: &World, name: &str) {
    let request = RegisterAgentRequest { name: name.into(), ..Default::default() };
    world.bus.request(&request).await.unwrap();
    let client = world.nats.client("worker").await;
    let subject = format!("agent.{name}.tasks");
    let mut tasks = client.queue_subscribe(subject, "workers".into()).await.unwrap();
    let (done, name) = (format!("agent.{name}.task.completed"), name.to_owned());
    tokio::spawn(async move {
        while let Some(task) = tasks.next().await {
            let task: Value = serde_json::from_slice(&task.payload).unwrap();
            let end = json!({"agent_id": name, "task_id": task["task_id"], "result": {"echo": task["params"]}});
            client.publish(done.clone(), end.to_string().into()).await.unwrap();
        }
    });
}

#[tokio::test]
async fn a_program_on_the_bus_is_an_agent() {
    let world = World::new().await;
    program(&world, "outside").await;
    world.request("outside", "e1", json!({"n": 7})).await;
    let event = world.completed().await;
    assert_eq!(event.output.unwrap()["data"], json!({"echo": {"input": {"n": 7}}}));
    let status = GetAgentStatusRequest { agent_id: "outside".into() };
    assert!(world.bus.request(&status).await.unwrap().stale);
}

#[tokio::test]
async fn a_run_is_handed_over_to_a_program() {
    let world = World::new().await;
    program(&world, "outside").await;
    register(&world, TeamSettings { handoff: names(&["outside"]), ..Default::default() }).await;
    world.request("do", "e1", json!([["handoff_to_outside", {}]])).await;
    let content = content(&world).await;
    assert!(content.contains("handed_over_to") && content.contains("conversation"), "{content}");
}

#[tokio::test]
async fn a_program_that_comes_later_gets_the_task_that_waits() {
    let world = World::new().await;
    let request = RegisterAgentRequest { name: "late".into(), ..Default::default() };
    world.bus.request(&request).await.unwrap();
    world.request("late", "e1", json!("hello")).await;
    eventually(LONG, "the run stands still", || async {
        world.facts("late").await.last().is_some_and(|fact| fact == "run_suspended")
    })
    .await;
    program(&world, "late").await;
    let event = world.completed().await;
    assert_eq!(event.output.unwrap()["data"], json!({"echo": {"input": "hello"}}));
}
