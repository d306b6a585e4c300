//! An HTTP server that remembers what it was asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tokio::task::JoinHandle;

/// What the server was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Asked>>>);

pub(crate) struct Server {
    pub(crate) address: String,
    log: Log,
    task: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let log = Log::default();
        let router = Router::new().fallback(answer).with_state(log.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, log, task }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.log.0.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// `/status/CODE/WAIT` answers the status, with WAIT as `Retry-After` where it is not `-`, and 200 from the second time on.
fn status(path: &str, before: usize) -> Response {
    if before > 0 {
        return axum::Json(serde_json::json!({ "count": before + 1 })).into_response();
    }
    let mut parts = path.split('/').skip(2);
    let code = StatusCode::from_u16(parts.next().unwrap().parse().unwrap()).unwrap();
    match parts.next() {
        None | Some("-") => (code, "later").into_response(),
        Some(wait) => (code, [("retry-after", wait)], "later").into_response(),
    }
}

/// `/to?URL` redirects there, `/large` is larger than allowed, `/hang…` hangs the first time that it is asked, everything else says what it was asked.
async fn answer(
    State(log): State<Log>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let asked = Asked {
        method: method.to_string(),
        path: uri.path().to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let before = {
        let mut log = log.0.lock().unwrap();
        log.push(asked.clone());
        log.iter().filter(|other| other.path == asked.path).count() - 1
    };
    match uri.path() {
        "/to" => {
            let to = uri.query().unwrap().to_owned();
            (StatusCode::TEMPORARY_REDIRECT, [("location", to)]).into_response()
        }
        "/large" => "x".repeat((1 << 20) + 1).into_response(),
        path if path.starts_with("/hang") && before == 0 => {
            tokio::time::sleep(Duration::from_secs(600)).await;
            StatusCode::OK.into_response()
        }
        "/text" => "plain".into_response(),
        path if path.starts_with("/status/") => status(path, before),
        _ => axum::Json(serde_json::json!({
            "method": asked.method,
            "path": asked.path,
            "body": asked.body,
            "count": before + 1,
        }))
        .into_response(),
    }
}
