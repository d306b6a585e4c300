use std::time::Duration;

use muster_testkit::{FaultProxy, NatsServer, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::SOON;

/// A server that says back what it hears.
async fn echo() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reads, mut writes) = socket.split();
                drop(tokio::io::copy(&mut reads, &mut writes).await);
            });
        }
    });
    address
}

async fn says_back(socket: &mut TcpStream) -> bool {
    let mut answer = [0; 4];
    socket.write_all(b"ping").await.is_ok()
        && socket.read_exact(&mut answer).await.is_ok()
        && &answer == b"ping"
}

#[tokio::test]
async fn cutting_breaks_old_and_new_connections_until_it_heals() {
    let proxy = FaultProxy::start(&echo().await).await;
    let mut old = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(says_back(&mut old).await);

    proxy.cut();
    let mut new = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(!says_back(&mut old).await);
    assert!(!says_back(&mut new).await);

    proxy.heal();
    let mut healed = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(says_back(&mut healed).await);
}

#[tokio::test]
async fn frozen_bytes_arrive_after_healing() {
    let proxy = FaultProxy::start(&echo().await).await;
    let mut socket = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(says_back(&mut socket).await);

    proxy.freeze();
    let answered = tokio::time::timeout(Duration::from_millis(100), says_back(&mut socket)).await;
    assert!(answered.is_err(), "a frozen proxy let bytes through");
    proxy.heal();
    let mut late = [0; 4];
    tokio::time::timeout(SOON, socket.read_exact(&mut late)).await.unwrap().unwrap();
    assert_eq!(&late, b"ping");
}

#[tokio::test]
async fn a_nats_client_reconnects_through_it() {
    let server = NatsServer::start().await;
    let proxy = FaultProxy::start(server.url()).await;
    let client = server.client_at("operator", &proxy.url(server.url())).await;
    client.flush().await.unwrap();
    proxy.cut();
    let state =
        || async { client.connection_state() == async_nats::connection::State::Disconnected };
    eventually(SOON, "the client notices the cut", state).await;
    proxy.heal();
    let state = || async { client.connection_state() == async_nats::connection::State::Connected };
    eventually(SOON, "the client is back", state).await;
}
