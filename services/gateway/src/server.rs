//! Accepts connections and serves them until the service stops.

use std::time::Duration;

use axum::{Router, http::Request};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;
use tracing::{debug, warn};

use crate::auth::Address;
use crate::patient::Patient;

/// Before the next try where no connection can be accepted, say because there are too many.
const PAUSE: Duration = Duration::from_millis(200);

/// How long a client may do nothing where it should.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Until it has sent the head of a request.
    pub(crate) head: Duration,
    /// Until it reads some of what is sent to it.
    pub(crate) stall: Duration,
}

/// Serves until `shutdown`, then until every request that is under way has its answer. A client that does not send the
/// head of a request, or does not read, is hung up on: otherwise a few of them could hold every connection for ever.
pub(crate) async fn serve(
    listener: TcpListener,
    router: Router,
    patience: Patience,
    shutdown: CancellationToken,
) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(patience.head);
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => break,
            Some(_ended) = connections.join_next() => continue,
        };
        let (stream, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "no connection could be accepted, will try again");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // An event is a small packet, and late where it waits for the next.
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "a connection stays with delays");
        }
        let address = Address(client.ip());
        let router = router.clone().map_request(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(address);
            request
        });
        let service = TowerToHyperService::new(router);
        let stream = TokioIo::new(Patient::new(stream, patience.stall));
        let connection = graceful.watch(http.serve_connection(stream, service));
        connections.spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "a connection broke off");
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use bytes::Bytes;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn who_never_ends_a_request_is_hung_up_on_and_a_stop_waits_for_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, asked) = (CancellationToken::new(), CancellationToken::new());
        let (stop, arrived) = (shutdown.clone(), asked.clone());
        let answer = move || async move {
            arrived.cancel();
            stop.cancelled().await;
            "answered"
        };
        let router = Router::new().route("/", get(answer));
        let patience = Patience { head: Duration::from_secs(1), stall: Duration::from_secs(60) };
        let served = tokio::spawn(serve(listener, router, patience, shutdown.clone()));

        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET / HTTP/1.1\r\nHos").await.unwrap();
        let mut told = String::new();
        slow.read_to_string(&mut told).await.unwrap();
        assert!(!told.contains("answered"), "{told}");

        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        asked.cancelled().await;
        shutdown.cancel();
        client.read_to_string(&mut told).await.unwrap();
        assert!(told.ends_with("answered"), "{told}");
        served.await.unwrap();
    }

    #[tokio::test]
    async fn who_never_reads_is_hung_up_on_and_what_its_answer_holds_is_free() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dropped = CancellationToken::new();
        let held = dropped.clone();
        let endless = move || async move {
            let permit = held.drop_guard();
            Body::from_stream(futures::stream::repeat_with(move || {
                let _held_while_streaming = &permit;
                Ok::<_, std::io::Error>(Bytes::from_static(&[b'x'; 65_536]))
            }))
        };
        let router = Router::new().route("/", get(endless));
        let patience =
            Patience { head: Duration::from_secs(60), stall: Duration::from_millis(200) };
        let shutdown = CancellationToken::new();
        tokio::spawn(serve(listener, router, patience, shutdown.clone()));
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, dropped.cancelled()).await.unwrap();
        drop(client);
        shutdown.cancel();
    }
}
