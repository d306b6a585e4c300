//! Calls that nobody waits for any more.

use futures::StreamExt;
use muster_bus::{After, MessageId};
use muster_contracts::tool::v1::ToolExecutionCancelled;
use muster_contracts::workflow::v1::CallCancelled;
use muster_contracts::{Addressed, Code, Stream, subject};
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use crate::server::Server;
use crate::{DEADLINE, World};

/// A server that gets one request and never answers.
struct Silent {
    address: String,
    asked: oneshot::Receiver<()>,
    /// The client has hung up.
    left: oneshot::Receiver<()>,
}

impl Silent {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let ((arrive, asked), (leave, left)) = (oneshot::channel(), oneshot::channel());
        tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 4096];
            let mut arrive = Some(arrive);
            while client.read(&mut buffer).await.is_ok_and(|length| length > 0) {
                arrive.take().map(|arrive| arrive.send(()));
            }
            leave.send(()).unwrap_or_default();
        });
        Self { address, asked, left }
    }
}

impl World {
    pub(crate) async fn cancel(&self, task: &str) {
        let event =
            CallCancelled { execution_id: "e1".into(), task: task.into(), ..Default::default() };
        self.bus.publish(&event, &MessageId::random()).await.unwrap();
    }

    pub(crate) async fn cancelled(&self) -> ToolExecutionCancelled {
        let patterns = vec![subject::pattern(ToolExecutionCancelled::SUBJECT)];
        let mut events = Box::pin(self.bus.follow(Stream::Executions, patterns, After(0)));
        let event = tokio::time::timeout(DEADLINE, events.next()).await.unwrap().unwrap();
        event.decode().unwrap()
    }
}

#[tokio::test]
async fn a_cancelled_call_hangs_up_on_its_server_and_is_not_made_again() {
    let silent = Silent::start().await;
    let world = World::allowing(&silent.address).await;
    let arguments = json!({ "url": format!("http://{}/slow", silent.address), "method": "POST" });
    world.command("http_request", "k1", arguments.clone()).await;
    tokio::time::timeout(DEADLINE, silent.asked).await.unwrap().unwrap();
    world.cancel("/do/k1").await;
    tokio::time::timeout(DEADLINE, silent.left).await.unwrap().unwrap();
    let event = world.cancelled().await;
    assert_eq!((event.task.as_str(), event.idempotency_key.as_str()), ("/do/k1", "k1"));
    assert!(event.reason.contains("nobody knows how far it came"), "{}", event.reason);
    // Its effect class is once: another try under the key is told what became of it.
    let again = world.call("http_request", "k1", arguments).await.unwrap_err();
    assert_eq!((again.code, &again.details["cancelled"]), (Code::Conflict, &json!(true)));
    assert!(world.bus.dead_letters().list(1).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_cancelled_call_that_waits_in_the_queue_does_not_begin() {
    let server = Server::start().await;
    let mut world = World::allowing(&server.address).await;
    world.crash();
    let arguments = json!({ "url": server.url("/pay"), "method": "POST" });
    world.command("http_request", "k1", arguments).await;
    world.unwanted.add("/do/k1");
    world.serve().await;
    assert_eq!(world.cancelled().await.reason, "it was cancelled before it began");
    assert!(server.asked().is_empty());
}

#[tokio::test]
async fn what_an_agent_asks_for_its_cancelled_task_is_dropped_too() {
    let silent = Silent::start().await;
    let world = World::allowing(&silent.address).await;
    let arguments = json!({ "url": format!("http://{}/slow", silent.address) });
    let asking = world.call("http_request", "k1", arguments);
    let cancelling = async {
        silent.asked.await.unwrap();
        world.cancel("/do/0").await;
        tokio::time::timeout(DEADLINE, silent.left).await.unwrap().unwrap();
    };
    let (answer, ()) = tokio::join!(asking, cancelling);
    assert_eq!(answer.unwrap_err().code, Code::Conflict);
}
