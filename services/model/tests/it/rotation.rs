//! Keys that are replaced while two replicas work: no request fails, and the old key opens nothing any more.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use futures::future::join_all;
use muster_bus::{Bus, SealKeys};
use muster_contracts::Code;
use muster_contracts::llm::v1::CompleteRequest;
use muster_contracts::model::v1::{
    CreateVirtualKeyRequest, DeleteVirtualKeyRequest, PutProviderKeyRequest,
    RewrapProviderKeysRequest, VirtualKey,
};
use muster_runtime::testing::Running;
use muster_testkit::eventually;
use tokio::sync::RwLock;

use crate::guarded::{DEADLINE, Guarded, small};

const A: &str = "a:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const B: &str = "b:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const SEAL: &str = "s:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";
const OLD: &str = "sk-old-41c9";
const NEW: &str = "sk-new-77e2";
/// Clients that ask without a pause.
const CLIENTS: usize = 8;

/// A provider that knows which replica asks, by the address that this was given.
#[derive(Clone, Default)]
struct Provider(Arc<Mutex<Asked>>);

#[derive(Default)]
struct Asked {
    /// The key of each replica's last request.
    last: HashMap<String, String>,
    revoked: HashSet<String>,
    refused: usize,
}

async fn answer(
    State(provider): State<Provider>,
    Path(replica): Path<String>,
    headers: HeaderMap,
) -> Response {
    let key = headers
        .get(AUTHORIZATION)
        .unwrap()
        .to_str()
        .unwrap()
        .trim_start_matches("Bearer ")
        .to_owned();
    let mut asked = provider.0.lock().unwrap();
    if asked.revoked.contains(&key) {
        asked.refused += 1;
        return (StatusCode::UNAUTHORIZED, "no").into_response();
    }
    asked.last.insert(replica, key);
    let text = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    ([(CONTENT_TYPE, "text/event-stream")], text).into_response()
}

struct World {
    guarded: Guarded,
    provider: Provider,
    address: String,
    dir: tempfile::TempDir,
    gateway: Bus,
    /// The virtual key that clients use; held while they do.
    key_id: RwLock<String>,
    ended: AtomicBool,
    asked: AtomicUsize,
}

impl World {
    async fn start() -> Self {
        let (guarded, provider) = (Guarded::start().await, Provider::default());
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/{replica}/v1/chat/completions", post(answer));
        let router = router.with_state(provider.clone());
        tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        let mut settings = guarded.nats.settings("gateway");
        settings.seal_keys = SealKeys::parse(SEAL).unwrap();
        let gateway = Bus::open(settings).await.unwrap();
        gateway.ready().await;
        Self {
            guarded,
            provider,
            address,
            dir: tempfile::tempdir().unwrap(),
            gateway,
            key_id: RwLock::default(),
            ended: AtomicBool::new(false),
            asked: AtomicUsize::new(0),
        }
    }

    /// A replica with these master keys.
    async fn replica(&self, name: &str, masters: &str) -> Running {
        let path = self.dir.path().join(format!("{name}.yaml"));
        let address = format!("{}/{name}/v1", self.address);
        let provider = format!(
            "{{dialect: openai, base_url: '{address}', key: main, default_model: scripted}}"
        );
        std::fs::write(&path, format!("providers:\n  mine: {provider}\n")).unwrap();
        let settings = [
            ("MUSTER_MASTER_KEY", masters),
            ("MUSTER_SEAL_KEYS", SEAL),
            ("MUSTER_MODELS_FILE", path.to_str().unwrap()),
            ("OPENAI_BASE_URL", ""),
            ("OPENAI_API_KEY", ""),
        ];
        self.guarded.serve(&settings).await
    }

    async fn store(&self, key: &str) {
        let put = PutProviderKeyRequest {
            provider: "mine".into(),
            key_id: "main".into(),
            key: key.into(),
        };
        self.gateway.request_within(&put, DEADLINE).await.unwrap();
    }

    async fn virtual_key(&self, hash: &str) -> String {
        let key = VirtualKey { tenant: "acme".into(), name: "load".into(), ..Default::default() };
        let create = CreateVirtualKeyRequest { key: Some(key), hash: hash.repeat(64) };
        self.gateway.request_within(&create, DEADLINE).await.unwrap().key_id
    }

    fn request(&self, key_id: &str) -> CompleteRequest {
        let at = self.asked.fetch_add(1, Ordering::Relaxed);
        CompleteRequest {
            provider: "mine".into(),
            key_id: key_id.into(),
            execution_id: String::new(),
            unrecorded: true,
            ..small("acme", &format!("k{at}"))
        }
    }

    /// Asks until the end. Every request is answered.
    async fn client(&self) {
        while !self.ended.load(Ordering::Relaxed) {
            let key_id = self.key_id.read().await;
            let asked = self.guarded.agent.request_within(&self.request(&key_id), DEADLINE).await;
            asked.unwrap();
        }
    }

    /// Waits until this replica has asked with this key, from now on.
    async fn uses(&self, replica: &str, key: &str) {
        self.provider.0.lock().unwrap().last.remove(replica);
        eventually(DEADLINE, &format!("{replica} uses {key}"), || {
            let asked = self.provider.0.lock().unwrap();
            std::future::ready(asked.last.get(replica).is_some_and(|last| last == key))
        })
        .await;
    }

    /// The steps of an operator, one after the other.
    async fn rotate(&self, one: Running) {
        let two = self.replica("two", A).await;
        self.uses("one", OLD).await;
        self.uses("two", OLD).await;
        self.store(NEW).await;
        self.uses("one", NEW).await;
        self.uses("two", NEW).await;
        {
            // Nobody is in the middle of a request that began with the old one.
            let _nobody_asks = self.key_id.write().await;
            self.provider.0.lock().unwrap().revoked.insert(OLD.to_owned());
        }
        let second = self.virtual_key("b").await;
        let first = std::mem::replace(&mut *self.key_id.write().await, second);
        let delete = DeleteVirtualKeyRequest { key_id: first.clone() };
        self.gateway.request_within(&delete, DEADLINE).await.unwrap();
        eventually(DEADLINE, "both replicas refuse the old key", || async {
            let asks = (0..20).map(|_| async {
                let request = self.request(&first);
                self.guarded.agent.request_within(&request, DEADLINE).await
            });
            let answers = join_all(asks).await;
            answers.iter().all(|answer| {
                answer.as_ref().is_err_and(|fault| fault.code == Code::Unauthenticated)
            })
        })
        .await;
        // The master key: first every replica knows both, then the keys are put under the new one, then none knows the old one.
        let both = format!("{B},{A}");
        assert!(one.stop().await, "it ends well");
        let one = self.replica("three", &both).await;
        self.uses("three", NEW).await;
        assert!(two.stop().await, "it ends well");
        let two = self.replica("four", &both).await;
        self.uses("four", NEW).await;
        let rewrap = RewrapProviderKeysRequest {};
        let done = self.gateway.request_within(&rewrap, DEADLINE).await.unwrap();
        assert_eq!((done.master_key_id.as_str(), done.rewrapped), ("b", 1));
        assert!(one.stop().await, "it ends well");
        let one = self.replica("five", B).await;
        self.uses("five", NEW).await;
        assert!(two.stop().await, "it ends well");
        let two = self.replica("six", B).await;
        self.uses("six", NEW).await;
        self.ended.store(true, Ordering::Relaxed);
        assert!(one.stop().await && two.stop().await, "they end well");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_replaced_under_load_over_two_replicas_and_no_request_fails() {
    let world = World::start().await;
    // Before anybody asks there is a key.
    let one = world.replica("one", A).await;
    world.store(OLD).await;
    *world.key_id.write().await = world.virtual_key("a").await;
    let clients = join_all((0..CLIENTS).map(|_| world.client()));
    futures::future::join(clients, Box::pin(world.rotate(one))).await;
    assert_eq!(world.provider.0.lock().unwrap().refused, 0, "nobody used the old key any more");
    // With the old master key alone nothing can be read.
    let _old = world.replica("seven", A).await;
    let key_id = world.key_id.read().await.clone();
    let request = world.request(&key_id);
    let fault = world.guarded.agent.request_within(&request, DEADLINE).await.unwrap_err();
    assert!(
        fault.message.contains("it lies under the master key \"b\", which is not set"),
        "{fault}"
    );
}
