//! Tools that are registered with what they call: requests, documents, modules; and their limits.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use muster_contracts::tool::v1::{ListToolsRequest, RegisterToolRequest, ToolDefinition, ToolRate};
use muster_contracts::{Code, Fault, JsonObject};
use muster_testkit::WebServer;
use serde_json::{Value, json};

use crate::World;
use crate::server::Server;

/// A definition of a kind; `more` are further fields.
pub(crate) fn definition(name: &str, kind: &str, with: Value) -> RegisterToolRequest {
    RegisterToolRequest {
        name: name.into(),
        kind: kind.into(),
        with: Some(JsonObject::wrap(with)),
        ..Default::default()
    }
}

fn takes(properties: Value, required: &[&str]) -> Option<JsonObject> {
    let schema = json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false });
    Some(JsonObject::wrap(schema))
}

impl World {
    pub(crate) async fn register(
        &self,
        request: RegisterToolRequest,
    ) -> Result<ToolDefinition, Fault> {
        self.bus.request(&request).await
    }

    pub(crate) async fn listed(&self, names: &[&str]) -> Vec<ToolDefinition> {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        self.bus.request(&ListToolsRequest { names }).await.unwrap().tools
    }

    async fn ok(&self, name: &str, arguments: Value) -> Value {
        self.call(name, "", arguments).await.unwrap().result.unwrap().0
    }
}

#[tokio::test]
async fn a_request_is_filled_from_arguments_and_secrets_that_nobody_sees() {
    let secrets = tempfile::tempdir().unwrap();
    std::fs::write(secrets.path().join("key"), "canary-123").unwrap();
    let server = Server::start().await;
    let world = World::with(&server.address, secrets.path().to_str().unwrap()).await;
    let request = RegisterToolRequest {
        description: "The weather of a city.".into(),
        parameters: takes(
            json!({ "city": { "type": "string" }, "days": { "type": "integer" } }),
            &["city"],
        ),
        secrets: vec!["key".into()],
        ..definition(
            "weather",
            "http",
            json!({
                "endpoint": { "uri": server.url("/weather/{city}"), "authentication": { "bearer": { "use": "key" } } },
                "headers": { "x-key": "k {secret.key}" },
                "output": "response",
                "select": { "path": "/content/path", "asked": "/request" },
            }),
        )
    };
    let shown = world.register(request).await.unwrap();
    assert_eq!((shown.kind.as_str(), shown.effect.as_str()), ("http", "pure"));
    assert!(shown.revision > 0 && shown.with.unwrap()["endpoint"]["uri"].is_string());
    let told = world.ok("weather", json!({ "city": "Köln/a", "days": 3 })).await;
    assert_eq!(told["path"], "/weather/K%C3%B6ln%2Fa");
    let asked = server.asked().pop().unwrap();
    assert_eq!(asked.headers["authorization"], "Bearer canary-123");
    assert_eq!(asked.headers["x-key"], "k canary-123");
    assert!(told["asked"]["uri"].as_str().unwrap().ends_with("?days=3"), "{told}");
    assert!(!told.to_string().contains("canary"), "{told}");
    // A mark from outside stands for nothing.
    let mark = "\u{FDD0}key\u{FDD1}";
    world.ok("weather", json!({ "city": mark })).await;
    assert!(!server.asked().pop().unwrap().path.contains("canary"));
    let unfit = world.call("weather", "", json!({ "city": 7 })).await.unwrap_err();
    assert_eq!(unfit.code, Code::Invalid);
    let up = world.call("weather", "", json!({ "city": ".." })).await.unwrap_err();
    assert!(up.message.contains("has a part `.` or `..`"), "{up}");
}

#[tokio::test]
async fn a_post_sends_what_has_no_other_place_and_its_class_follows_from_its_method() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    let takes_both =
        || takes(json!({ "id": { "type": "string" }, "text": { "type": "string" } }), &["id"]);
    let post = |name: &str| RegisterToolRequest {
        parameters: takes_both(),
        ..definition(
            name,
            "http",
            json!({ "method": "POST", "endpoint": server.url("/notes/{id}"), "select": "/body" }),
        )
    };
    assert_eq!(world.register(post("note")).await.unwrap().effect, "once");
    let body = world.ok("note", json!({ "id": "a", "text": "hello" })).await;
    assert_eq!(body, r#"{"text":"hello"}"#);
    let safe = RegisterToolRequest { effect: "idempotent".into(), ..post("note-again") };
    assert_eq!(world.register(safe).await.unwrap().effect, "idempotent");
    world.call("note-again", "k1", json!({ "id": "a" })).await.unwrap();
    assert_eq!(server.asked().pop().unwrap().headers["idempotency-key"], "k1");
    let count = server.asked().len();
    let again = world.call("note-again", "k1", json!({ "id": "a" })).await.unwrap();
    assert!(again.replayed);
    assert_eq!(server.asked().len(), count);
}

#[tokio::test]
async fn what_cannot_be_called_is_not_registered() {
    let world = World::start().await;
    for (request, part) in [
        (definition("a", "http", json!({ "method": "get" })), "missing field `endpoint`"),
        (
            definition("a", "http", json!({ "endpoint": "https://x.example/", "metod": "get" })),
            "unknown field `metod`",
        ),
        (
            definition("a", "http", json!({ "endpoint": "https://{host}/" })),
            "whose host is no argument",
        ),
        (
            definition("a", "http", json!({ "endpoint": "ftp://x.example/" })),
            "must be an http address",
        ),
        (
            definition("a", "http", json!({ "endpoint": "https://x.example/{city}" })),
            "`parameters.properties` has no \"city\"",
        ),
        (
            definition(
                "a",
                "http",
                json!({ "endpoint": "https://x.example/", "headers": { "x": "{secret.k}" } }),
            ),
            "`secrets` does not name \"k\"",
        ),
        (
            definition("a", "http", json!({ "endpoint": "https://x.example/", "method": "brew" })),
            "must be one of get",
        ),
        (
            definition("a", "http", json!({ "endpoint": "https://x.example/", "select": "a.b" })),
            "JSON pointers",
        ),
        (definition("a", "wasm", json!({ "module": "AAAA" })), "no WebAssembly"),
        (definition("a", "wasm", json!({ "sha256": "00" })), "no module was registered"),
        (definition("a", "wasm", json!({ "file": "../x.wasm" })), "MUSTER_WASM_DIR"),
        (definition("a", "wasm", json!({ "file": "x.wasm", "memory_mib": 4096 })), "1 to 512"),
        (definition("a__b", "worker", json!({})), "`__` stands between"),
    ] {
        let fault = world.register(request).await.unwrap_err();
        assert!(fault.message.contains(part), "{part}: {fault}");
    }
}

#[tokio::test]
async fn an_address_that_the_operator_did_not_allow_is_not_reached_by_a_registered_tool() {
    let world = World::allowing("api.example.com").await;
    let inside = definition(
        "inside",
        "http",
        json!({ "endpoint": "http://169.254.169.254/latest/meta-data" }),
    );
    world.register(inside).await.unwrap();
    let refused = world.call("inside", "", json!({})).await.unwrap_err();
    assert_eq!(refused.code, Code::Denied);
    assert!(refused.message.contains("MUSTER_HTTP_ALLOW"), "{refused}");
}

#[tokio::test]
async fn a_document_becomes_tools_with_their_schemas() {
    let server = WebServer::start().await;
    let world = World::allowing(server.address()).await;
    for (name, document) in [("v2", "/v2/swagger.json"), ("v3", "/v3/openapi.json")] {
        let request = definition(name, "openapi", json!({ "document": server.url(document) }));
        let shown = world.register(request).await.unwrap();
        assert_eq!((shown.problem.as_str(), shown.kind.as_str()), ("", "openapi"));
        let all = format!("{name}__*");
        let tools = world.listed(&[&all]).await;
        let get = tools.iter().find(|tool| tool.name == format!("{name}__get_pet_by_id")).unwrap();
        assert_eq!((get.effect.as_str(), get.source.as_str()), ("pure", name));
        assert_eq!(get.parameters.as_ref().unwrap()["required"], json!(["petId"]));
        let add = tools.iter().find(|tool| tool.name == format!("{name}__add_pet")).unwrap();
        assert_eq!(add.effect, "once", "{add:?}");
        let pet = world.ok(&get.name, json!({ "petId": 1 })).await;
        assert_eq!(pet["id"], 1);
        let unfit = world.call(&get.name, "", json!({ "petId": "x" })).await.unwrap_err();
        assert!(unfit.message.contains("do not fit"), "{unfit}");
        let whole = world.call(name, "", json!({})).await.unwrap_err();
        assert!(whole.message.contains("is no tool itself"), "{whole}");
        let unknown = world.call(&format!("{name}__nothing"), "", json!({})).await.unwrap_err();
        assert_eq!(unknown.code, Code::NotFound);
    }
    let one = definition(
        "pet",
        "openapi",
        json!({
            "document": server.url("/v3/openapi.json"), "operationId": "getPetById", "select": "/name",
        }),
    );
    let shown = world.register(one).await.unwrap();
    assert_eq!(
        (shown.effect.as_str(), shown.parameters.unwrap()["required"].clone()),
        ("pure", json!(["petId"]))
    );
    assert!(world.ok("pet", json!({ "petId": 1 })).await.is_string());
    let away = definition("away", "openapi", json!({ "document": server.url("/nothing.json") }));
    let shown = world.register(away).await.unwrap();
    assert!(shown.problem.contains("answered 404"), "{shown:?}");
}

/// Repeats its input; `{"do": ..}` makes it loop, grow, trap, lie or fail.
const MODULE: &str = r#"(module
  (import "muster" "log" (func $log (param i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 8) "{\"error\":\"not today\"}")
  (data (i32.const 64) "no json")
  (func (export "alloc") (param i32) (result i32) (i32.const 1024))
  (func $kind (param i32) (result i32) (i32.load8_u (i32.add (local.get 0) (i32.const 7))))
  (func (export "call") (param $at i32) (param $len i32) (result i64)
    (call $log (local.get $at) (local.get $len))
    (if (i32.eq (call $kind (local.get $at)) (i32.const 108)) (then (loop $l (br $l))))
    (if (i32.eq (call $kind (local.get $at)) (i32.const 103)) (then
      (if (i32.eq (memory.grow (i32.const 5000)) (i32.const -1)) (then unreachable))))
    (if (i32.eq (call $kind (local.get $at)) (i32.const 111)) (then (return (i64.const -1))))
    (if (i32.eq (call $kind (local.get $at)) (i32.const 102)) (then (return (i64.const 0x0000000800000015))))
    (if (i32.eq (call $kind (local.get $at)) (i32.const 110)) (then (return (i64.const 0x0000004000000007))))
    (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32)) (i64.extend_i32_u (local.get $len)))))"#;

#[tokio::test]
async fn a_module_computes_within_its_bounds_and_can_do_nothing_else() {
    let world = World::start().await;
    let module = BASE64_STANDARD.encode(wat::parse_str(MODULE).unwrap());
    let request = definition(
        "repeat",
        "wasm",
        json!({ "module": module, "memory_mib": 1, "fuel": 3_000_000 }),
    );
    let shown = world.register(request).await.unwrap();
    let with = shown.with.clone().unwrap();
    assert!(with["sha256"].is_string() && !with.contains_key("module"), "{with:?}");
    assert_eq!(shown.effect, "pure");
    assert_eq!(world.ok("repeat", json!({ "a": [1, "ä"] })).await, json!({ "a": [1, "ä"] }));
    for (what, part) in [
        ("loop", "used up its fuel of 3000000 steps"),
        ("grow", "broke off"),
        ("outside", "gave a result outside of the memory"),
        ("fail", "not today"),
        ("nojson", "answered no JSON"),
    ] {
        let fault = world.call("repeat", "", json!({ "do": what })).await.unwrap_err();
        assert_eq!(fault.code, Code::Conflict, "{what}: {fault}");
        assert!(fault.message.contains(part), "{what}: {fault}");
    }
    // What was read can be written again, and a long computation ends with its time.
    let mut again = definition("repeat", "wasm", JsonObject::into_value(with));
    again.with.as_mut().unwrap().insert("fuel".into(), json!(1_000_000_000_000u64));
    again.timeout_ms = 300;
    world.register(again).await.unwrap();
    let late = world.call("repeat", "", json!({ "do": "loop" })).await.unwrap_err();
    assert_eq!(late.code, Code::Deadline, "{late}");
    let wasi = r#"(module (import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32))) (memory (export "memory") 1))"#;
    let wasi = BASE64_STANDARD.encode(wat::parse_str(wasi).unwrap());
    let refused =
        world.register(definition("wasi", "wasm", json!({ "module": wasi }))).await.unwrap_err();
    assert!(refused.message.contains("cannot be made ready"), "{refused}");
}

#[tokio::test]
async fn a_tool_refuses_what_is_beyond_its_limits_and_says_when_to_come_again() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    let busy = RegisterToolRequest {
        max_concurrency: 1,
        effect: "idempotent".into(),
        ..definition("busy", "http", json!({ "endpoint": server.url("/hang-busy") }))
    };
    world.register(busy).await.unwrap();
    let first = world.call("busy", "", json!({}));
    let second = async {
        muster_testkit::eventually(crate::DEADLINE, "the first call is at the server", || {
            std::future::ready(server.asked().len() == 1)
        })
        .await;
        world.call("busy", "", json!({})).await.unwrap_err()
    };
    let refused = tokio::select! {
        first = first => panic!("{first:?}"),
        refused = second => refused,
    };
    assert_eq!((refused.code, refused.retry_after_ms), (Code::Exhausted, Some(250)));
    assert!(refused.message.contains("`max_concurrency`"), "{refused}");

    let rated = RegisterToolRequest {
        rate: Some(ToolRate { calls: 2, per_seconds: 3600 }),
        ..definition("rated", "http", json!({ "endpoint": server.url("/rated") }))
    };
    world.register(rated).await.unwrap();
    for _ in 0..2 {
        world.call("rated", "", json!({})).await.unwrap();
    }
    let refused = world.call("rated", "", json!({})).await.unwrap_err();
    assert_eq!(refused.code, Code::Exhausted);
    let wait = refused.retry_after_ms.unwrap();
    assert!((1_000_000..=1_800_000).contains(&wait), "{wait}");
    // Another replica counts the same calls.
    let mut other = world;
    other.crash();
    other.serve().await;
    assert_eq!(other.call("rated", "", json!({})).await.unwrap_err().code, Code::Exhausted);
}

#[tokio::test]
async fn a_command_beyond_a_rate_comes_again_until_it_may_begin() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    let rated = RegisterToolRequest {
        rate: Some(ToolRate { calls: 1, per_seconds: 1 }),
        ..definition(
            "rated",
            "http",
            json!({ "endpoint": server.url("/rated"), "select": "/count" }),
        )
    };
    world.register(rated).await.unwrap();
    for key in ["a", "b", "c"] {
        world.command("rated", key, json!({})).await;
    }
    let mut counts: Vec<_> =
        world.ends(3).await.into_iter().map(|end| end.result.unwrap()).collect();
    counts.sort_by_key(Value::as_u64);
    assert_eq!(counts, [json!(1), json!(2), json!(3)]);
}
