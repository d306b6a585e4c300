//! Who starts the executions that are measured: as little as an HTTP client can be, since what it takes is taken from the same cores.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::Value;
use tokio::net::TcpStream;

use crate::platform::Platform;

/// One request, again and again, over as many connections as are needed at the same time. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Starting {
    address: SocketAddr,
    host: HeaderValue,
    uri: Uri,
    body: Bytes,
    idle: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
}

/// What it looks at in an answer.
#[derive(Deserialize)]
struct Ended<'a> {
    status: &'a str,
}

impl Starting {
    pub(crate) fn new(platform: &Platform, body: &Value) -> anyhow::Result<Self> {
        let address = platform.address.parse()?;
        Ok(Self {
            address,
            host: HeaderValue::from_str(&platform.address)?,
            uri: Uri::from_static("/v1/executions"),
            body: serde_json::to_vec(body)?.into(),
            idle: Arc::default(),
        })
    }

    /// Runs an execution to its end.
    pub(crate) async fn run(&self) -> anyhow::Result<()> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => connect(self.address).await?,
        };
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(HOST, self.host.clone());
        request
            .headers_mut()
            .insert(HeaderName::from_static("prefer"), HeaderValue::from_static("wait=60"));
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let text = || String::from_utf8_lossy(&body).into_owned();
        let ended: Ended<'_> = serde_json::from_slice(&body).with_context(text)?;
        anyhow::ensure!(
            status == StatusCode::OK && ended.status == "completed",
            "the execution did not complete: {status} {}",
            text()
        );
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(())
    }
}

async fn connect(address: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}
