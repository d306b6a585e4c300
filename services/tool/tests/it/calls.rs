//! Calling tools by request.

use futures::future::join_all;
use muster_bus::{MessageId, Routes};
use muster_contracts::Code;
use muster_contracts::deliverable::v1::Deliverable;
use muster_contracts::tool::v1::ListToolsRequest;
use muster_contracts::vector::v1::{Hit, SearchRequest, SearchResponse};
use serde_json::json;

use crate::server::Server;
use crate::{NO_NAMES, World, connect};

#[tokio::test]
async fn every_tool_is_listed_with_its_schema_in_the_order_of_names() {
    let world = World::start().await;
    let tools = world.bus.request(&NO_NAMES).await.unwrap().tools;
    let names: Vec<_> =
        tools.iter().map(|tool| (tool.name.as_str(), tool.effect.as_str())).collect();
    assert_eq!(
        names,
        [
            ("calculate", "pure"),
            ("echo", "pure"),
            ("fetch_deliverable", "pure"),
            ("http_request", "once"),
            ("search", "pure"),
            ("text_coverage", "pure"),
            ("text_stats", "pure"),
        ]
    );
    for tool in tools {
        assert_eq!(tool.kind, "built_in");
        assert_eq!(tool.parameters.unwrap()["type"], "object", "{}", tool.name);
        assert!(!tool.description.is_empty() && tool.timeout_ms == 20_000);
    }
    let some = ListToolsRequest { names: vec!["search".into(), "nope".into()] };
    let fault = world.bus.request(&some).await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    assert!(fault.message.contains("nope; there are: calculate, echo"), "{fault}");
}

#[tokio::test]
async fn arguments_that_do_not_fit_are_refused_with_their_place() {
    let world = World::start().await;
    for (tool, arguments, part) in [
        (
            "search",
            json!({ "collection": "c", "query": "q", "top_k": 500 }),
            "at /top_k: 500 is greater than the maximum of 100",
        ),
        ("search", json!({ "collection": "c" }), "\"query\" is a required property"),
        ("echo", json!({ "value": 1, "more": 2 }), "'more' was unexpected"),
        ("calculate", json!({ "expression": 7 }), "at /expression: 7 is not of type \"string\""),
        ("calculate", json!({ "expression": "1/0" }), "division by zero"),
        ("text_stats", json!({}), "the arguments"),
        ("fetch_deliverable", json!({ "deliverable": "deliverables/a" }), "must be an address"),
    ] {
        let fault = world.call(tool, "k", arguments).await.unwrap_err();
        assert_eq!(fault.code, Code::Invalid, "{fault}");
        assert!(fault.message.contains(part), "{part}: {fault}");
    }
}

#[tokio::test]
async fn texts_and_numbers_are_computed() {
    let world = World::start().await;
    assert_eq!(
        world.result("echo", json!({ "value": [9_007_199_254_740_993_i64] })).await,
        json!([9_007_199_254_740_993_i64])
    );
    let sum = world.result("calculate", json!({ "expression": "0.1 + 0.2" })).await;
    assert_eq!(sum, json!({ "expression": "0.1 + 0.2", "value": 0.3, "exact": "0.3" }));
    let coverage = json!({ "text": "Two boats.", "terms": ["boat", "crane"] });
    let coverage = world.result("text_coverage", coverage).await;
    assert_eq!(coverage, json!({ "covered": ["boat"], "missing": ["crane"], "coverage": 0.5 }));
    assert_eq!(world.result("text_stats", json!({ "text": "Two boats." })).await["words"], 2);
}

#[tokio::test]
async fn a_deliverable_is_fetched_whole_in_parts_and_measured_in_place() {
    let world = World::start().await;
    let content = "# Harbour\n\nIt is old.\n\n## Boats\n\nBoats come at noon.\n\n## Cranes\n\nThe crane is broken.";
    let deliverable = Deliverable {
        agent: "writer".into(),
        r#type: "report".into(),
        feature: "e1-r1".into(),
        content: content.into(),
        sha256: "cafe".into(),
        tokens: 26,
        ..Default::default()
    };
    world.bus.publish(&deliverable, &MessageId::random()).await.unwrap();
    let address = "deliverables/writer/report/e1-r1";
    let fetch = |more: serde_json::Value| {
        let mut arguments = json!({ "deliverable": address });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.call("fetch_deliverable", "", arguments)
    };
    let whole = fetch(json!({})).await.unwrap().result.unwrap().0;
    assert_eq!(
        (&whole["content"], &whole["sha256"], &whole["truncated"]),
        (&json!(content), &json!("cafe"), &json!(false))
    );
    assert_eq!(whole["total_tokens"], 26);
    let part = fetch(json!({ "section": "boats" })).await.unwrap().result.unwrap().0;
    assert_eq!(part["content"], "## Boats\n\nBoats come at noon.");
    let part = fetch(json!({ "query": "broken crane" })).await.unwrap().result.unwrap().0;
    assert_eq!(part["content"], "## Cranes\n\nThe crane is broken.");
    let part = fetch(json!({ "max_tokens": 3 })).await.unwrap().result.unwrap().0;
    assert_eq!((&part["tokens"], &part["truncated"]), (&json!(3), &json!(true)));
    let fault = fetch(json!({ "section": "Trains" })).await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    let measured = json!({ "deliverable": address, "terms": ["noon", "fog"] });
    assert_eq!(world.result("text_coverage", measured).await["missing"], json!(["fog"]));
    let absent = json!({ "deliverable": "deliverables/writer/report/other" });
    assert_eq!(world.call("text_stats", "", absent).await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn search_asks_the_vector_service_and_says_when_it_is_away() {
    let world = World::start().await;
    let arguments = json!({ "collection": "docs", "query": "boats", "filter": { "lang": "en" } });
    let fault = world.call("search", "k1", arguments.clone()).await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable, "{fault}");
    let vector = connect(&world.nats, "vector").await;
    let found = async |_app: (), request: SearchRequest| {
        assert_eq!((request.top_k, request.filter.unwrap()["lang"].as_str()), (0, Some("en")));
        let hit = Hit {
            document_id: "d1".into(),
            chunk: 3,
            text: request.query,
            score: 0.5,
            ..Default::default()
        };
        Ok::<_, muster_contracts::Fault>(SearchResponse { hits: vec![hit], ..Default::default() })
    };
    let routes = Routes::new(()).rpc(found);
    let serving = tokio::spawn(async move { routes.serve(&vector, Default::default()).await });
    let result = muster_testkit::eventually(crate::DEADLINE, "vector answers", || {
        world.call("search", "k1", arguments.clone())
    })
    .await;
    let result = result.result.unwrap().0;
    assert_eq!((&result["count"], &result["hits"][0]["ref"]), (&json!(1), &json!("d1#3")));
    serving.abort();
}

#[tokio::test]
async fn fifty_calls_with_one_key_are_one_effect() {
    let server = Server::start().await;
    let world = World::allowing(&server.address).await;
    let arguments = json!({ "url": server.url("/pay"), "method": "POST", "body": { "amount": 7 } });
    let calls = (0..50).map(|_| world.call("http_request", "k1", arguments.clone()));
    let results: Vec<_> = join_all(calls).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(server.asked().len(), 1);
    assert_eq!(results.iter().filter(|result| !result.replayed).count(), 1);
    assert!(results.iter().all(|result| result.result.as_ref().unwrap()["body"]["count"] == 1));
    // Another order under the same key would be dropped and told as done.
    let other = json!({ "url": server.url("/pay"), "method": "POST", "body": { "amount": 8 } });
    let refused = world.call("http_request", "k1", other).await.unwrap_err();
    assert_eq!(refused.code, Code::Conflict);
    assert!(refused.message.contains("\"k1\""), "{}", refused.message);
    // Without a key every call is a call of its own.
    world.call("http_request", "", arguments).await.unwrap();
    assert_eq!(server.asked().len(), 2);
}
