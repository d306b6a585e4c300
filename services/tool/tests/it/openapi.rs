//! `call: openapi`: operations of documents.

use muster_testkit::WebServer;
use serde_json::{Value, json};

use crate::World;

fn call(document: String, operation: &str, parameters: Value) -> Value {
    json!({ "document": { "endpoint": { "uri": document } }, "operationId": operation, "parameters": parameters })
}

#[tokio::test]
async fn the_same_store_is_called_by_swagger_2_and_openapi_3() {
    let server = WebServer::start().await;
    let world = World::allowing(server.address()).await;
    for document in ["/v2/swagger.json", "/v3/openapi.json", "/v31/openapi.yaml"] {
        let ask = async |operation: &str, parameters: Value| {
            let arguments = call(server.url(document), operation, parameters);
            world
                .outward("openapi", arguments)
                .await
                .unwrap_or_else(|raised| panic!("{document} {operation}: {raised:?}"))
        };
        let found = ask("findPetsByStatus", json!({ "status": ["pending", "sold"] })).await;
        assert_eq!(found.as_array().unwrap().len(), 2, "{document}");
        assert_eq!(ask("getPetById", json!({ "petId": 1 })).await["id"], 1);
        let added =
            ask("addPet", json!({ "body": { "id": 77, "name": "Ada", "photoUrls": [] } })).await;
        assert_eq!(added["name"], "Ada");
        ask("updatePetWithForm", json!({ "petId": 77, "name": "Ada & Co", "status": "sold" }))
            .await;
        assert_eq!(ask("getPetById", json!({ "petId": 77 })).await["name"], "Ada & Co");
        ask("deletePet", json!({ "petId": 77, "api_key": "k" })).await;
        assert_eq!(server.asked().last().unwrap().headers["api_key"], "k");
        // The document was read once.
        assert_eq!(server.asked_at(document).len(), 1);
    }
    let mut arguments =
        call(server.url("/v3/openapi.json"), "getPetById", json!({ "petId": 1, "trace": "t" }));
    arguments["output"] = json!("response");
    let response = world.outward("openapi", arguments).await.unwrap();
    assert_eq!((&response["statusCode"], &response["content"]["id"]), (&json!(200), &json!(1)));
    assert_eq!(server.asked().last().unwrap().headers["cookie"], "trace=t");
}

#[tokio::test]
async fn what_is_missing_is_named_with_what_there_is() {
    let server = WebServer::start().await;
    let world = World::allowing(server.address()).await;
    let document = || server.url("/v2/swagger.json");
    for (arguments, kind, status, part) in [
        (
            call(document(), "getPet", json!({})),
            "configuration",
            404,
            "no operation \"getPet\"; it has 7: addPet",
        ),
        (
            call(document(), "getPetById", json!({})),
            "validation",
            400,
            "needs the parameter \"petId\"; its parameters are: petId (required)",
        ),
        (
            call(document(), "getPetById", json!({ "petId": 1, "id": 2 })),
            "validation",
            400,
            "no parameter \"id\"",
        ),
        (
            call(server.url("/v3/openapi.json"), "addPet", json!({})),
            "validation",
            400,
            "needs the parameter \"body\"",
        ),
        (
            call(server.url("/nothing.json"), "getPet", json!({})),
            "communication",
            404,
            "it answered 404",
        ),
        (
            call(server.url("/json"), "getPet", json!({})),
            "configuration",
            400,
            "is no OpenAPI: its version is none",
        ),
        (call(server.url("/html"), "getPet", json!({})), "configuration", 400, "is no OpenAPI"),
        (
            call(document(), "getPetById", json!({ "petId": 4711 })),
            "communication",
            404,
            "Pet not found",
        ),
    ] {
        let raised = world.outward("openapi", arguments).await.unwrap_err();
        assert_eq!((raised.0.as_str(), raised.1), (kind, status), "{raised:?}");
        assert!(raised.2.contains(part), "{raised:?}");
    }
    let outside = call("http://10.0.0.1/swagger.json".to_owned(), "x", json!({}));
    assert_eq!(world.outward("openapi", outside).await.unwrap_err().0, "DENIED");
}

#[tokio::test]
async fn an_operation_is_authorized_and_a_document_too() {
    let server = WebServer::start().await;
    let world = World::allowing(server.address()).await;
    let mut arguments = call(server.url("/v2/swagger.json"), "getInventory", json!({}));
    arguments["authentication"] = json!({ "bearer": { "token": "t-1" } });
    arguments["document"]["endpoint"]["authentication"] =
        json!({ "basic": { "username": "a", "password": "b" } });
    world.outward("openapi", arguments).await.unwrap();
    let authorization = |at: usize| server.asked()[at].headers["authorization"].clone();
    assert_eq!(
        (authorization(0).as_str(), authorization(1).as_str()),
        ("Basic YTpi", "Bearer t-1")
    );
}
