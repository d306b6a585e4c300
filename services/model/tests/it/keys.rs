//! Keys of providers and of clients.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_box::aead::{Aead, OsRng};
use crypto_box::{PublicKey, SalsaBox, SecretKey};
use muster_bus::After;
use muster_contracts::llm::v1::CompleteRequest;
use muster_contracts::model::v1::{
    CheckVirtualKeyRequest, CreateVirtualKeyRequest, DeleteVirtualKeyRequest, GetConfigRequest,
    GetKeyRequest, GetVirtualKeyRequest, KeyReply, KeyRetrieved, ListProviderKeysRequest,
    PutProviderKeyRequest, RewrapProviderKeysRequest, VirtualKey,
};
use muster_contracts::{Code, Fault, Stream};
use muster_testkit::{Answer, eventually};

use crate::guarded::{COST, DEADLINE, Guarded, small};

const A: &str = "a:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const B: &str = "b:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";
const SEAL: &str = "s:AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";
const CANARY: &str = "sk-canary-93ab7c";

/// Settings of a service whose provider has its key in the store.
fn stored(master: &str) -> Vec<(&str, &str)> {
    vec![
        ("MUSTER_MASTER_KEY", master),
        ("MUSTER_SEAL_KEYS", SEAL),
        // Empty: neither key nor address of the built-in names.
        ("OPENAI_BASE_URL", ""),
        ("OPENAI_API_KEY", ""),
    ]
}

async fn models_file(world: &Guarded) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("models.yaml");
    let text = format!(
        "providers:\n  mine: {{dialect: openai, base_url: '{}', key: main, default_model: scripted}}\n",
        world.model.base_url()
    );
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}

fn open(mine: &SecretKey, reply: &KeyReply) -> Option<Vec<u8>> {
    let bytes = STANDARD.decode(&reply.r#box).unwrap();
    let sender: [u8; 32] = STANDARD.decode(&reply.sender_key).unwrap().try_into().unwrap();
    let (nonce, sealed) = bytes.split_at(24);
    let salsa = SalsaBox::new(&PublicKey::from(sender), mine);
    salsa.decrypt(crypto_box::Nonce::from_slice(nonce), sealed).ok()
}

#[tokio::test]
async fn a_stored_key_is_used_and_given_to_its_requester_only_and_stands_nowhere() {
    let world = Guarded::start().await;
    let (_dir, models) = models_file(&world).await;
    let mut settings = stored(A);
    settings.push(("MUSTER_MODELS_FILE", &models));
    let _service = world.serve(&settings).await;
    let gateway = world.sealing("gateway", SEAL).await;
    let request = CompleteRequest { provider: "mine".into(), ..small("", "k1") };
    let missing = world.agent.request_within(&request, DEADLINE).await.unwrap_err();
    assert_eq!(missing.code, Code::NotFound, "{missing}");
    let put = |key_id: &str, key: &str| PutProviderKeyRequest {
        provider: "mine".into(),
        key_id: key_id.into(),
        key: key.into(),
    };
    let shown = gateway.request_within(&put("main", CANARY), DEADLINE).await.unwrap();
    assert_eq!((shown.key_id.as_str(), shown.master_key_id.as_str()), ("main", "a"));
    let bad = put("main", "sk-canary no");
    let mut errors: Vec<Fault> = vec![gateway.request_within(&bad, DEADLINE).await.unwrap_err()];
    world.model.push(Answer::text("fine").usage(3, 5));
    world.agent.request_within(&request, DEADLINE).await.unwrap();
    let asked = world.model.requests();
    assert_eq!(asked[0].headers["authorization"], format!("Bearer {CANARY}"));
    let echo = format!("the key {CANARY} is bad");
    world.model.push(Answer::failure(500.try_into().unwrap(), echo));
    let again = CompleteRequest { idempotency_key: "k2".into(), ..request };
    errors.push(world.agent.request_within(&again, DEADLINE).await.unwrap_err());

    let mine = SecretKey::generate(&mut OsRng);
    let ask = |provider: &str, public_key: String| GetKeyRequest {
        provider: provider.into(),
        requester: "agent".into(),
        public_key,
        ..Default::default()
    };
    let public = STANDARD.encode(mine.public_key().as_bytes());
    let reply = world.agent.request_within(&ask("mine", public.clone()), DEADLINE).await.unwrap();
    assert_eq!(open(&mine, &reply).as_deref(), Some(CANARY.as_bytes()));
    assert_eq!(open(&SecretKey::generate(&mut OsRng), &reply), None);
    for (provider, key, code) in
        [("other", public, Code::NotFound), ("mine", "AAAA".into(), Code::Invalid)]
    {
        let fault = world.agent.request_within(&ask(provider, key), DEADLINE).await.unwrap_err();
        assert_eq!(fault.code, code, "{fault}");
        errors.push(fault);
    }
    let told: KeyRetrieved = world.event("model.key.retrieved").await;
    assert_eq!((told.key_id.as_str(), told.requester.as_str()), ("main", "agent"));
    let config = GetConfigRequest {
        provider: "mine".into(),
        requester: "agent".into(),
        ..Default::default()
    };
    let config = world.agent.request_within(&config, DEADLINE).await.unwrap();
    assert_eq!((config.model.as_str(), config.base_url.is_empty()), ("scripted", false));
    let list = gateway.request_within(&ListProviderKeysRequest::default(), DEADLINE).await.unwrap();
    let texts = format!("{errors:?} {list:?} {config:?} {shown:?} {}", world.nats.log());
    let kept = String::from_utf8_lossy(&world.nats.kept().await).into_owned();
    assert!(kept.contains("provider.mine.main") && kept.contains("model.key.retrieved"));
    for text in [texts, kept] {
        hidden(&text);
    }
}

/// No form of the key is in a text: neither as it is nor in base64.
fn hidden(text: &str) {
    for part in ["canary", "c2stY2FuYXJ5", "Y2FuYXJ5"] {
        let at = text.find(part);
        assert!(at.is_none(), "{:?}", at.map(|at| text.get(at.saturating_sub(80)..at + 20)));
    }
}

#[tokio::test]
async fn a_new_master_key_takes_over_without_a_pause() {
    let world = Guarded::start().await;
    let service = world.serve(&stored(A)).await;
    let gateway = world.sealing("gateway", SEAL).await;
    let put = PutProviderKeyRequest {
        provider: "openai".into(),
        key_id: String::new(),
        key: CANARY.into(),
    };
    let slip = PutProviderKeyRequest { provider: "opnai".into(), ..put.clone() };
    let refused = gateway.request_within(&slip, DEADLINE).await.unwrap_err();
    assert_eq!(refused.code, Code::NotFound);
    assert!(refused.message.contains("there is no provider \"opnai\": those"), "{refused}");
    assert!(
        refused.message.contains("openai, ") && refused.message.contains("is \"openai\" meant?")
    );
    let first = gateway.request_within(&put, DEADLINE).await.unwrap();
    assert_eq!(first.master_key_id, "a");
    assert!(service.stop().await);
    let both = format!("{B},{A}");
    let service = world.serve(&stored(&both)).await;
    let done = gateway.request_within(&RewrapProviderKeysRequest {}, DEADLINE).await.unwrap();
    assert_eq!((done.master_key_id.as_str(), done.rewrapped, done.unchanged), ("b", 1, 0));
    let done = gateway.request_within(&RewrapProviderKeysRequest {}, DEADLINE).await.unwrap();
    assert_eq!((done.rewrapped, done.unchanged), (0, 1));
    assert!(service.stop().await);
    let _service = world.serve(&stored(B)).await;
    let mine = SecretKey::generate(&mut OsRng);
    let request = GetKeyRequest {
        provider: "openai".into(),
        requester: "agent".into(),
        public_key: STANDARD.encode(mine.public_key().as_bytes()),
        ..Default::default()
    };
    let reply = world.agent.request_within(&request, DEADLINE).await.unwrap();
    assert_eq!(open(&mine, &reply).as_deref(), Some(CANARY.as_bytes()));
}

#[tokio::test]
async fn a_virtual_key_is_found_by_its_hash_and_limits_who_has_it() {
    let world = Guarded::start().await;
    let _service = world.serve(&[]).await;
    world.model.respond_with(|_| Answer::text("x").usage(3, 5));
    let hash = "0123456789abcdef".repeat(4);
    let create = CreateVirtualKeyRequest {
        key: Some(VirtualKey {
            tenant: "acme".into(),
            name: "tests".into(),
            budget_nanos: 2 * COST,
            models: vec!["scripted*".into()],
            ..Default::default()
        }),
        hash: hash.clone(),
    };
    let created = world.gateway.request_within(&create, DEADLINE).await.unwrap();
    let fault = world.gateway.request_within(&create, DEADLINE).await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict);
    let check = CheckVirtualKeyRequest { hash: hash.clone() };
    let found = world.gateway.request_within(&check, DEADLINE).await.unwrap();
    assert_eq!((&found.key_id, found.tenant.as_str()), (&created.key_id, "acme"));
    let other = CheckVirtualKeyRequest { hash: "f".repeat(64) };
    let fault = world.gateway.request_within(&other, DEADLINE).await.unwrap_err();
    assert_eq!(fault.code, Code::Unauthenticated);
    let with = |key: &str, model: &str| CompleteRequest {
        key_id: created.key_id.clone(),
        model: model.into(),
        provider: "openai".into(),
        // Of a client: what an execution may ask is not a matter of its key.
        execution_id: String::new(),
        ..small("acme", key)
    };
    let ask = async |request: CompleteRequest| world.agent.request_within(&request, DEADLINE).await;
    assert_eq!(ask(with("k1", "gpt-4o")).await.unwrap_err().code, Code::Denied);
    let stranger = CompleteRequest { tenant: "other".into(), ..with("k2", "scripted") };
    assert_eq!(ask(stranger).await.unwrap_err().code, Code::Denied);
    assert!(ask(with("k3", "scripted")).await.is_ok());
    assert!(ask(with("k4", "scripted")).await.is_ok());
    assert_eq!(ask(with("k5", "scripted")).await.unwrap_err().code, Code::Exhausted);
    let get = GetVirtualKeyRequest { key_id: created.key_id.clone() };
    eventually(DEADLINE, "both calls are charged", || async {
        let key = world.gateway.request_within(&get, DEADLINE).await.unwrap();
        key.spending.unwrap().spent_nanos == 2 * COST
    })
    .await;
    let delete = DeleteVirtualKeyRequest { key_id: created.key_id.clone() };
    world.gateway.request_within(&delete, DEADLINE).await.unwrap();
    assert_eq!(ask(with("k6", "scripted")).await.unwrap_err().code, Code::Unauthenticated);
    let fault = world.gateway.request_within(&check, DEADLINE).await.unwrap_err();
    assert_eq!(fault.code, Code::Unauthenticated);
    let fault = world.gateway.request_within(&delete, DEADLINE).await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
}

impl Guarded {
    /// A connection of a service that seals what the contract wants sealed.
    async fn sealing(&self, service: &str, keys: &str) -> muster_bus::Bus {
        let mut settings = self.nats.settings(service);
        settings.seal_keys = muster_bus::SealKeys::parse(keys).unwrap();
        let bus = muster_bus::Bus::open(settings).await.unwrap();
        bus.ready().await;
        bus
    }

    /// The first event with this subject.
    async fn event<M: muster_contracts::Message>(&self, subject: &str) -> M {
        use futures::StreamExt as _;
        let operator = muster_bus::Bus::open(self.nats.settings("operator")).await.unwrap();
        let stream = operator.follow(Stream::Executions, vec![subject.to_owned()], After(0));
        let event = tokio::time::timeout(DEADLINE, Box::pin(stream).next()).await.unwrap().unwrap();
        event.decode().unwrap()
    }
}
