//! Keys of clients and of providers, and what may be spent.

use muster_contracts::model::v1::{
    Allowance, CreateVirtualKeyRequest, DeleteVirtualKeyRequest, GetAllowanceRequest,
    GetVirtualKeyRequest, ListProviderKeysRequest, ProviderKey, ProviderKeyList,
    PutAllowanceRequest, Spending, VirtualKey,
};
use muster_contracts::{Code, Fault};
use serde_json::json;

use crate::platform::{Peers, Platform, problem, told};

/// Answers with what it was asked, and the hash as the name: a test can tell what came over the bus.
pub(crate) async fn create(
    _: Peers,
    request: CreateVirtualKeyRequest,
) -> Result<VirtualKey, Fault> {
    let key = request.key.unwrap();
    if key.tenant == "Acme" {
        return Err(Fault::new(Code::Invalid, "key.tenant is \"Acme\""));
    }
    Ok(VirtualKey { key_id: "k1".into(), name: request.hash, ..key })
}

pub(crate) async fn get(_: Peers, request: GetVirtualKeyRequest) -> Result<VirtualKey, Fault> {
    let spending = Spending { spent_nanos: 1_500_000_000, reserved_nanos: 10_000, since: None };
    Ok(VirtualKey { key_id: request.key_id, spending: Some(spending), ..Default::default() })
}

pub(crate) async fn delete(
    peers: Peers,
    request: DeleteVirtualKeyRequest,
) -> Result<VirtualKey, Fault> {
    if request.key_id == "gone" {
        return Err(Fault::new(Code::NotFound, "there is no key \"gone\""));
    }
    peers.revoke(&request.key_id);
    Ok(VirtualKey { tenant: "acme".to_owned(), ..VirtualKey::default() })
}

pub(crate) async fn allow(_: Peers, request: PutAllowanceRequest) -> Result<Allowance, Fault> {
    Ok(request.allowance.unwrap())
}

pub(crate) async fn allowance(_: Peers, request: GetAllowanceRequest) -> Result<Allowance, Fault> {
    Ok(Allowance { kind: request.kind, name: request.name, ..Default::default() })
}

pub(crate) async fn provider_keys(
    _: Peers,
    request: ListProviderKeysRequest,
) -> Result<ProviderKeyList, Fault> {
    let key = ProviderKey {
        provider: request.provider,
        key_id: "main".into(),
        master_key_id: "a".into(),
        created_at: None,
    };
    Ok(ProviderKeyList { keys: vec![key] })
}

#[tokio::test]
async fn a_key_is_shown_once_and_only_its_hash_leaves_the_gateway() {
    let platform = Platform::start().await;
    let new = json!({ "tenant": "acme", "budget_usd": 12.5, "period": "month", "requests_per_minute": 60, "models": ["gpt-*"] });
    let response = platform.post("/v1/keys", new.clone()).await;
    assert_eq!(response.headers()["location"], "/v1/keys/k1");
    assert_eq!(response.headers()["cache-control"], "no-store");
    let (status, made) = told(response).await;
    assert_eq!(status, 201, "{made}");
    let key = made["key"].as_str().unwrap();
    assert!(key.starts_with("sk-muster-") && key.len() == 53, "{made}");
    assert_eq!(made["start"], key[..14]);
    let hash: String = {
        use sha2::Digest as _;
        sha2::Sha256::digest(key.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert_eq!(made["name"], hash);
    for field in ["tenant", "budget_usd", "period", "requests_per_minute", "models"] {
        assert_eq!(made[field], new[field], "{field}");
    }
    let (_, other) = told(platform.post("/v1/keys", new).await).await;
    assert_ne!(other["key"], made["key"]);
    let (_, shown) = told(platform.get("/v1/keys/k1").await).await;
    assert!(shown.get("key").is_none(), "{shown}");
    assert_eq!(shown["spending"]["spent_usd"], 1.5);
    assert_eq!(shown["spending"]["spent_nanos"], 1_500_000_000);
    assert_eq!(platform.delete("/v1/keys/k1").await.status(), 204);
    problem(platform.delete("/v1/keys/gone").await, 404, &["gone"]).await;
}

#[tokio::test]
async fn a_wrong_key_is_told_what_is_wrong() {
    let platform = Platform::start().await;
    for (new, part) in [
        (json!({ "tenant": "Acme" }), "Acme"),
        (json!({}), "tenant"),
        (json!({ "tenant": "acme", "budget_usd": -1 }), "budget_usd is -1"),
        (json!({ "tenant": "acme", "budget_usd": 0 }), "leave it out for no limit"),
        (json!({ "tenant": "acme", "budget_usd": 4e-10 }), "0.000000001"),
        (json!({ "tenant": "acme", "period": "year" }), "year"),
        (json!({ "tenant": "acme", "rpm": 5 }), "rpm"),
        (
            json!({ "tenant": "acme", "expires_at": "tomorrow" }),
            "`expires_at`: it is \"tomorrow\", but must be a time such as 2027-",
        ),
    ] {
        problem(platform.post("/v1/keys", new).await, 400, &[part]).await;
    }
}

#[tokio::test]
async fn allowances_and_stored_keys_have_their_paths() {
    let platform = Platform::start().await;
    let body = r#"{"budget_usd": 0.25, "tokens_per_minute": 9000}"#;
    let path = "/v1/allowances/provider/openai%2Fgpt-4o";
    let (status, set) = told(platform.put(path, "application/json", body).await).await;
    assert_eq!(status, 200, "{set}");
    assert_eq!((&set["kind"], &set["name"]), (&json!("provider"), &json!("openai/gpt-4o")));
    assert_eq!((&set["budget_usd"], &set["period"]), (&json!(0.25), &json!("total")));
    let (_, shown) = told(platform.get(path).await).await;
    assert_eq!(shown["name"], "openai/gpt-4o");
    let wrong = platform.put(path, "application/json", r#"{"budget": 1}"#).await;
    problem(wrong, 400, &["budget"]).await;
    let (_, list) = told(platform.get("/v1/providers/openai/keys").await).await;
    assert_eq!(list["keys"][0]["key_id"], "main");
    assert!(list["keys"][0].get("key").is_none());
    // The gateway of this test has no key for sealed fields: a provider's key must not travel in plain.
    let put = platform.post("/v1/providers/openai/keys", json!({ "key": "sk-x" })).await;
    problem(put, 503, &["MUSTER_SEAL_KEYS"]).await;
}
