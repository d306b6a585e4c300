//! The subjects that every version has to have, each with its requirement's number: published and stored, or asked and answered, by the services that the contract names.

use std::time::Duration;

use futures::StreamExt;
use muster_bus::{After, Routes};
use muster_contracts::agent::v1::{
    AgentExecutionCompleted, AgentExecutionRequested, AgentExecutionStarted,
};
use muster_contracts::llm::v1::Token;
use muster_contracts::log::v1::LogCreated;
use muster_contracts::model::v1::{GetConfigRequest, GetKeyRequest, KeyRetrieved};
use muster_contracts::tool::v1::{
    ToolExecutionCompleted, ToolExecutionRequested, ToolExecutionStarted,
};
use muster_contracts::vector::v1::SearchRequest;
use muster_contracts::workflow::v1::{ExecutionCompleted, ExecutionFailed, ExecutionStarted};
use muster_contracts::{
    Addressed, CATALOGUE, Durable, Entry, Fault, Message, MessageType, Request, Stream,
};
use muster_testkit::{NatsServer, eventually};

use crate::{connect, id, operator, serve};

const PATIENCE: Duration = Duration::from_secs(60);

/// A plain subscription that the server knows of when this returns: a flush only sends it.
pub(crate) async fn hear(nats: &NatsServer, subject: &str) -> async_nats::Subscriber {
    let client = operator(nats).await;
    let heard = client.subscribe(subject.to_owned()).await.unwrap();
    let inbox = client.new_inbox();
    let mut echo = client.subscribe(inbox.clone()).await.unwrap();
    client.publish(inbox, "".into()).await.unwrap();
    tokio::time::timeout(PATIENCE, echo.next()).await.unwrap().unwrap();
    heard
}

fn entry<M: Message>() -> &'static Entry {
    CATALOGUE.iter().find(|entry| entry.message == M::NAME).unwrap()
}

/// Who sends or answers it. What is planned has no permission yet, so the operator plays it.
fn service(entry: &Entry, names: &[&'static str]) -> &'static str {
    if entry.planned { "operator" } else { names.first().unwrap() }
}

/// A plain subscriber sees it with its headers, as JSON of the contract, and the stream has it.
async fn is_published<M: Durable>(message: M) {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, service(entry::<M>(), entry::<M>().producers)).await;
    let subject = message.subject().unwrap();
    let mut heard = hear(&nats, &subject).await;
    let published = bus.publish(&message, &id("row")).await.unwrap();
    assert!(published.sequence > 0 && !published.duplicate);
    let again = bus.publish(&message, &id("row")).await.unwrap();
    assert!(again.duplicate, "the stream knows the id");
    let seen = tokio::time::timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
    let headers = seen.headers.unwrap();
    assert_eq!(headers.get("ce-type").unwrap().as_str(), M::NAME);
    let schema = format!("{}/v{}", M::NAME, M::VERSION);
    assert_eq!(headers.get("Muster-Schema").unwrap().as_str(), schema);
    let body: serde_json::Value = serde_json::from_slice(&seen.payload).unwrap();
    let kind = MessageType::named(M::NAME).unwrap();
    assert_eq!(kind.canonical(&seen.payload).unwrap(), body);
    assert_eq!(kind.missing(&seen.payload).unwrap(), None);
}

/// The reply is the server's, never a stream's acknowledgement.
async fn is_answered<R: Request>(request: R) {
    let nats = NatsServer::start().await;
    let entry = entry::<R>();
    let server = connect(&nats, service(entry, entry.consumers)).await;
    let caller = connect(&nats, service(entry, entry.producers)).await;
    let answer = |(), _request: R| async { Ok::<_, Fault>(R::Reply::default()) };
    let _serving = serve(&server, Routes::new(()).rpc(answer));
    let ask = || caller.request_within(&request, PATIENCE);
    let reply = eventually(PATIENCE, "the service answers", ask).await;
    let as_json = |reply: &R::Reply| serde_json::to_value(reply).unwrap();
    assert_eq!(as_json(&reply), as_json(&R::Reply::default()));
}

macro_rules! rows {
    ($($name:ident $check:ident $message:expr;)+) => {$(
        #[tokio::test]
        async fn $name() {
            $check($message).await;
        }
    )+};
}

fn text(text: &str) -> String {
    text.to_owned()
}

rows! {
    row_87_workflow_execution_started is_published ExecutionStarted { execution_id: text("e"), workflow: text("w"), ..Default::default() };
    row_88_workflow_execution_completed is_published ExecutionCompleted { execution_id: text("e"), workflow: text("w"), ..Default::default() };
    row_89_workflow_execution_failed is_published ExecutionFailed { execution_id: text("e"), workflow: text("w"), ..Default::default() };
    row_90_agent_execution_requested is_published AgentExecutionRequested { execution_id: text("e"), task: text("t"), agent: text("a"), ..Default::default() };
    row_91_agent_execution_started is_published AgentExecutionStarted { execution_id: text("e"), task: text("t"), agent: text("a"), ..Default::default() };
    row_92_agent_execution_completed is_published AgentExecutionCompleted { execution_id: text("e"), task: text("t"), agent: text("a"), ..Default::default() };
    row_94_tool_execution_requested is_published ToolExecutionRequested { execution_id: text("e"), task: text("t"), tool: text("x"), idempotency_key: text("k"), ..Default::default() };
    row_95_tool_execution_started is_published ToolExecutionStarted { tool: text("x"), ..Default::default() };
    row_96_tool_execution_completed is_published ToolExecutionCompleted { tool: text("x"), ..Default::default() };
    row_97_model_key_requested is_answered GetKeyRequest { provider: text("p"), requester: text("agent"), public_key: text("k"), ..Default::default() };
    row_98_model_key_retrieved is_published KeyRetrieved { key_id: text("k"), provider: text("p"), requester: text("agent"), ..Default::default() };
    row_99_model_config_requested is_answered GetConfigRequest { provider: text("p"), requester: text("agent"), ..Default::default() };
    row_100_vector_search_requested is_answered SearchRequest { collection: text("c"), query: text("q"), ..Default::default() };
    row_101_execution_log_created is_published LogCreated { log_id: text("l"), ..Default::default() };
}

#[tokio::test]
async fn row_93_agent_token_streamed_is_the_token_again_with_its_sequence() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "model").await;
    let republished = CATALOGUE
        .iter()
        .find(|entry| entry.message == Token::NAME && entry.producers.is_empty())
        .unwrap();
    assert_eq!(republished.subject, "agent.token.streamed");
    let mut heard = hear(&nats, republished.subject).await;
    let token = Token { session: text("s"), delta: text("hello"), ..Default::default() };
    bus.emit(&token).await.unwrap();
    let seen = tokio::time::timeout(PATIENCE, heard.next()).await.unwrap().unwrap();
    assert_eq!(serde_json::from_slice::<Token>(&seen.payload).unwrap(), token);
    let headers = seen.headers.unwrap();
    assert_eq!(headers.get("Nats-Subject").unwrap().as_str(), "llm.stream.s");
    assert_eq!(headers.get("Nats-Sequence").unwrap().as_str(), "1");
}

#[tokio::test]
async fn a_stream_that_does_not_acknowledge_is_not_waited_for_and_has_the_message() {
    let nats = NatsServer::start().await;
    let bus = connect(&nats, "model").await;
    let token = Token { session: text("s"), delta: text("hello"), ..Default::default() };
    let published = bus.publish(&token, &id("row")).await.unwrap();
    assert_eq!((published.sequence, published.duplicate), (0, false));
    let reader = connect(&nats, "gateway").await;
    let pattern = token.subject().unwrap();
    let mut stored = Box::pin(reader.follow(Stream::LlmStreams, vec![pattern], After(0)));
    let seen = tokio::time::timeout(PATIENCE, stored.next()).await.unwrap().unwrap();
    assert_eq!(seen.decode::<Token>().unwrap(), token);
    assert_eq!(seen.message_type, Token::NAME);
}
