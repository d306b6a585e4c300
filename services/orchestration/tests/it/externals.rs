//! What a workflow needs from outside is fetched once, when it is registered.

use muster_contracts::tool::v1::{FetchResourceRequest, Resource};
use muster_contracts::{Code, Fault, Json};
use serde_json::{Value, json};

use crate::{Peers, World, workflow};

/// The world outside.
pub(crate) async fn resource(
    peers: Peers,
    request: FetchResourceRequest,
) -> Result<Resource, Fault> {
    *peers.calls.lock().unwrap().entry(request.uri.clone()).or_default() += 1;
    let token = request
        .authentication
        .and_then(|policy| policy.into_value().pointer("/bearer/token").cloned());
    let text = match request.uri.as_str() {
        "https://example.com/catalog/functions/double/1.0.0/function.yaml" => {
            assert_eq!(token, Some(json!("sesame")));
            "
input: {schema: {resource: {endpoint: 'https://example.com/number.json'}}}
set: {doubled: '${ .n * 2 }'}
"
        }
        "https://example.com/number.json" => "{\"type\": \"object\", \"required\": [\"n\"]}",
        "https://example.com/loop.yaml" => {
            "do: [{again: {call: 'https://example.com/loop2.yaml'}}]"
        }
        "https://example.com/loop2.yaml" => {
            "do: [{again: {call: 'https://example.com/loop.yaml'}}]"
        }
        "https://example.com/large.json" => {
            return Ok(Resource { text: json!({ "enum": ["x".repeat(900_000)] }).to_string() });
        }
        "https://example.com/broken.yaml" => "set: [",
        other => return Err(Fault::new(Code::NotFound, format!("{other} answered 404"))),
    };
    Ok(Resource { text: text.to_owned() })
}

const CATALOG: &str = "
use:
  catalogs:
    c: {endpoint: {uri: 'https://example.com/catalog', authentication: {bearer: {token: sesame}}}}
";

#[tokio::test]
async fn functions_of_a_catalog_are_pinned_with_what_they_need() {
    let world = World::new().await;
    let tasks = "
- a: {call: 'double:1.0.0@c', with: {n: '${ .n }'}}
- b: {call: 'double:1.0.0@c', with: {n: '${ .doubled }'}}
";
    let source = format!("{}{CATALOG}", workflow("w", tasks));
    let definition = world.put(&source).await.unwrap();
    let document = definition.document.clone().unwrap().0;
    let function = &document["use"]["functions"]["double:1.0.0@c"];
    assert_eq!(function["input"]["schema"]["document"]["required"], json!(["n"]), "{document}");
    world.start("e1", &definition, json!({"n": 3})).await;
    let state = world.ended("e1").await;
    assert_eq!(state.output, Some(Json(json!({"doubled": 12}))), "{state:?}");

    let asked = world.calls.lock().unwrap().clone();
    assert!(asked.values().all(|count| *count == 1), "{asked:?}");
    assert!(!world.put(&source).await.unwrap().created, "the same again");
}

#[tokio::test]
async fn what_cannot_be_fetched_is_told_with_its_place() {
    let world = World::new().await;
    let refused = async |tasks: &str| {
        let fault = world.put(&format!("{}{CATALOG}", workflow("w", tasks))).await.unwrap_err();
        assert_eq!(fault.code, Code::Invalid, "{fault:?}");
        fault.message
    };
    let told = refused("- a: {call: 'none:1.0.0@c'}").await;
    assert!(
        told.contains("/do/0/a/call: the function none:1.0.0@c cannot be fetched from https://example.com/catalog/functions/none/1.0.0/function.yaml")
            && told.contains("answered 404"),
        "{told}"
    );
    let told = refused("- a: {call: 'https://example.com/broken.yaml'}").await;
    assert!(told.contains("what https://example.com/broken.yaml answers"), "{told}");
    let told = refused("- a: {call: 'https://example.com/loop.yaml'}").await;
    assert!(told.contains("calls itself"), "{told}");
    let many: String = (0..6)
        .map(|n| format!("- a{n}: {{set: {{x: 1}}, output: {{schema: {{resource: {{endpoint: 'https://example.com/large.json'}}}}}}}}\n"))
        .collect();
    let told = refused(&many).await;
    assert!(told.contains("more than 4194304 bytes from outside"), "{told}");
    let told = refused(
        "- a: {set: {x: 1}, output: {schema: {resource: {endpoint: 'https://example.com/none'}}}}",
    )
    .await;
    assert!(told.contains("/do/0/a/output/schema: the schema cannot be fetched"), "{told}");
}

#[tokio::test]
async fn registered_workflows_are_the_functions_of_the_default_catalog() {
    let world = World::new().await;
    let missing = world.put(&workflow("w", "- a: {call: 'sub:1.0.0@default'}")).await.unwrap_err();
    assert!(missing.message.contains("/do/0/a runs the workflow sub:1.0.0"), "{missing:?}");
    world.put(&workflow("sub", "- x: {set: {got: '${ .n }'}}")).await.unwrap();
    let state = world.run("- a: {call: 'sub:1.0.0@default', with: {n: 5}}", Value::Null).await;
    assert_eq!(state.output, Some(Json(json!({"got": 5}))), "{state:?}");
}
