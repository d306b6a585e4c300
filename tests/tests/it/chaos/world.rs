//! The outside world: what executions did to it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::put;
use tokio::net::TcpListener;

/// What was done, by the idempotency keys of the requests for it.
#[derive(Clone, Default)]
pub(super) struct World {
    marks: Arc<Mutex<BTreeMap<String, BTreeSet<String>>>>,
    pub(super) address: String,
}

impl World {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let world = Self { address, ..Self::default() };
        let app = Router::new().route("/{name}", put(mark)).with_state(world.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        world
    }

    /// Each mark with the keys under which it was made.
    pub(super) fn marks(&self) -> BTreeMap<String, BTreeSet<String>> {
        self.marks.lock().unwrap().clone()
    }
}

/// Does what a server that honours `Idempotency-Key` does: a second request with the key changes nothing.
async fn mark(
    State(world): State<World>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> &'static str {
    let key = headers.get("idempotency-key").map(|key| key.to_str().unwrap().to_owned());
    world.marks.lock().unwrap().entry(name).or_default().insert(key.unwrap_or_default());
    "marked"
}
