//! The bus on a real nats-server.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "test helpers and handlers that fail on purpose"
)]

mod asking_again;
mod cluster;
mod confirming;
mod consuming;
mod dead_letters;
mod exchange;
mod hostile;
mod idempotency;
mod journals;
mod listening;
mod log;
mod logins;
mod metrics;
mod panicking;
mod payloads;
mod recorded;
mod recovering;
mod renewed;
mod requests;
mod rows;
mod sealing;
mod setting_up;
mod slow;
mod streams;
mod timers;
mod together;
mod unsure;
mod versions;
mod watching;

use muster_bus::{Bus, MessageId, Routes};
use muster_contracts::Fault;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_testkit::NatsServer;
use tokio_util::sync::{CancellationToken, DropGuard};

/// A connection of a service, ready.
async fn connect(nats: &NatsServer, service: &str) -> Bus {
    let mut settings = nats.settings(service);
    settings.ack_wait = std::time::Duration::from_secs(1);
    let bus = Bus::open(settings).await.unwrap();
    bus.ready().await;
    bus
}

/// A connection of a test that also plays those who speak with the service.
async fn connect_freely(nats: &NatsServer, service: &str) -> Bus {
    let mut settings = nats.operator(service);
    settings.ack_wait = std::time::Duration::from_secs(1);
    let bus = Bus::open(settings).await.unwrap();
    bus.ready().await;
    bus
}

/// The operator's own connection, for what no service may do.
async fn operator(nats: &NatsServer) -> async_nats::Client {
    let address: async_nats::ServerAddr = nats.url_of("operator").parse().unwrap();
    let (user, password) = (address.username().unwrap(), address.password().unwrap());
    let options = async_nats::ConnectOptions::with_user_and_password(user.into(), password.into());
    options.connect(nats.url()).await.unwrap()
}

/// Serves routes until the guard is dropped.
fn serve<A: Clone + Send + Sync + 'static>(
    bus: &Bus,
    routes: Routes<A>,
) -> (DropGuard, tokio::task::JoinHandle<Result<(), Fault>>) {
    let shutdown = CancellationToken::new();
    let task = tokio::spawn({
        let (bus, shutdown) = (bus.clone(), shutdown.clone());
        async move { routes.serve(&bus, shutdown).await }
    });
    (shutdown.drop_guard(), task)
}

fn command(key: &str) -> ToolExecutionRequested {
    ToolExecutionRequested {
        execution_id: "e1".into(),
        task: "/do/0".into(),
        tool: "echo".into(),
        arguments: None,
        idempotency_key: key.into(),
        secrets: Vec::new(),
    }
}

fn id(text: &str) -> MessageId {
    MessageId::derived([text])
}
