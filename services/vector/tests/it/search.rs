use muster_contracts::vector::v1::{SearchCompleted, SearchRequest};
use muster_contracts::{Code, JsonObject};
use muster_testkit::eventually;
use serde_json::json;

use crate::{DEADLINE, Platform, handbook};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_finds_the_chunk_that_answers_it() {
    let platform = Platform::start().await;
    platform.ingest("handbook", &handbook()).await;
    for (question, expected) in [
        ("How does a broker make sure that no message is lost?", "redelivers"),
        ("Which wood does a luthier use for the back?", "maple"),
        ("What is needed to bake bread?", "yeast"),
        ("\"two metres\"", "mirror"),
    ] {
        let found = platform.search("notes", question).await.unwrap();
        let best = found.hits.first().unwrap();
        assert!(best.text.contains(expected), "{question}: {}", best.text);
        assert!(best.score > 0.0 && best.similarity.unwrap() > 0.0, "{best:?}");
        assert!(found.hits.len() <= 8);
        assert!(found.hits.is_sorted_by(|a, b| a.score >= b.score));
        assert_eq!(found.embedder, "hashing-256");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_no_document_is_not_found() {
    let platform = Platform::start().await;
    platform.ingest("pets", "The zebra sleeps in the kitchen.").await;
    assert!(platform.documents("?! …").await.is_empty());
    assert!(platform.documents("the of and").await.is_empty());
    platform.ingest("marks", "?! … —").await;
    assert!(platform.documents("?! …").await.is_empty());
    assert!(platform.documents("sleeps -zebra").await.iter().all(|id| id != "marks"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn word_forms_and_operators_are_understood() {
    let platform = Platform::start().await;
    platform.ingest("one", "The engine restarts failed workers.").await;
    platform.ingest("two", "Workers of the world eat “Äpfel”—and lunch.").await;
    assert_eq!(platform.documents("äpfel").await, ["two"]);
    assert_eq!(platform.documents("restarting engines").await.first().unwrap(), "one");
    assert_eq!(platform.documents("\"failed workers\" -lunch").await.first().unwrap(), "one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_documents_with_the_metadata_are_found() {
    let platform = Platform::start().await;
    for (id, lang) in [("de", "de"), ("en", "en")] {
        let request = platform
            .request(id, b"The zebra sleeps.", json!({"lang": lang, "tags": ["a", id]}))
            .await;
        platform.outcome(&request).await.unwrap();
    }
    for (filter, expected) in [
        (json!({"lang": "de"}), vec!["de"]),
        (json!({"tags": ["en"]}), vec!["en"]),
        (json!({"tags": ["a"]}), vec!["de", "en"]),
        (json!({"lang": "fr"}), vec![]),
    ] {
        let request = SearchRequest {
            collection: "notes".into(),
            query: "zebra".into(),
            filter: Some(JsonObject::wrap(filter.clone())),
            ..SearchRequest::default()
        };
        let mut found: Vec<String> = platform
            .bus
            .request(&request)
            .await
            .unwrap()
            .hits
            .into_iter()
            .map(|hit| {
                assert!(hit.metadata.unwrap().contains_key("lang"));
                hit.document_id
            })
            .collect();
        found.sort();
        assert_eq!(found, expected, "{filter}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_searches_are_refused_with_the_value() {
    let platform = Platform::start().await;
    let fault = platform.search("nowhere", "zebra").await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    assert!(fault.message.contains("\"nowhere\""), "{fault}");

    let fault = platform.search("nowhere", &"x".repeat(4097)).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(fault.message.contains("4097"), "{fault}");

    let request = SearchRequest {
        collection: "notes".into(),
        query: "zebra".into(),
        top_k: 101,
        ..SearchRequest::default()
    };
    let fault = platform.bus.request(&request).await.unwrap_err();
    assert_eq!(fault.code, Code::Invalid);
    assert!(fault.message.contains("101"), "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_is_told_as_an_event() {
    let platform = Platform::start().await;
    platform.ingest("pets", "The zebra sleeps in the kitchen.").await;
    let request = SearchRequest {
        collection: "notes".into(),
        query: "zebra".into(),
        execution_id: "e1".into(),
        ..SearchRequest::default()
    };
    platform.bus.request(&request).await.unwrap();
    let event = eventually(DEADLINE, "the event", || async {
        platform.bus.latest(&SearchCompleted::default()).await.unwrap()
    })
    .await;
    assert_eq!((event.1.hits, event.1.execution_id.as_str()), (1, "e1"));
}
