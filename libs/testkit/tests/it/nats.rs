use std::time::Duration;

use async_nats::jetstream;
use futures::StreamExt as _;
use muster_testkit::{NatsServer, eventually};

use crate::SOON;

#[tokio::test]
async fn a_stream_survives_kill_and_restart() {
    let server = NatsServer::start().await;
    let client = server.client("operator").await;
    let js = jetstream::new(client);
    js.create_stream(jetstream::stream::Config {
        name: "S".to_owned(),
        subjects: vec!["s.>".to_owned()],
        ..Default::default()
    })
    .await
    .unwrap();
    js.publish("s.a", "one".into()).await.unwrap().await.unwrap();

    server.kill();
    assert!(tokio::net::TcpStream::connect(("127.0.0.1", server.port())).await.is_err());
    server.restart().await;

    let client = server.client("operator").await;
    let stream = jetstream::new(client).get_stream("S").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 1);
}

#[tokio::test]
async fn a_payload_of_nine_megabytes_passes() {
    let server = NatsServer::start().await;
    let client = server.client("operator").await;
    let mut subscription = client.subscribe("big").await.unwrap();
    client.publish("big", vec![7; 9_000_000].into()).await.unwrap();
    let message = tokio::time::timeout(SOON, subscription.next()).await.unwrap().unwrap();
    assert_eq!(message.payload.len(), 9_000_000);
}

#[tokio::test]
async fn a_paused_server_is_silent_until_it_is_resumed() {
    let server = NatsServer::start().await;
    let client = server.client("operator").await;
    client.flush().await.unwrap();
    // The server itself answers where nobody serves a subject.
    let rtt = || async { client.request("nobody.serves.this", "".into()).await.is_err() };

    server.pause();
    // The signal takes effect a moment later.
    eventually(SOON, "the server is silent", || async {
        let answered = tokio::time::timeout(Duration::from_millis(200), rtt()).await;
        if answered.is_err() { Ok(()) } else { Err("it answers") }
    })
    .await;
    server.resume();
    eventually(SOON, "the server answers again", rtt).await;
}

#[tokio::test]
async fn two_servers_at_once_do_not_meet() {
    let (one, two) = tokio::join!(NatsServer::start(), NatsServer::start());
    assert_ne!(one.url(), two.url());
}
