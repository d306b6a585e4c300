//! Documents in, hits out; and what agents produced.

use muster_bus::MessageId;
use muster_contracts::deliverable::v1::Deliverable;
use reqwest::Method;
use serde_json::json;

use crate::platform::{Platform, problem, told};

const DOCUMENTS: &str = "/v1/collections/papers/documents";

#[tokio::test]
async fn a_document_can_be_searched_when_its_upload_is_answered() {
    let platform = Platform::start().await;
    let response = platform
        .post(
            DOCUMENTS,
            json!({"id": "a.md", "title": "A", "text": "words", "metadata": {"year": 2026}}),
        )
        .await;
    assert_eq!(response.headers()["location"], "/v1/collections/papers/documents/a.md");
    let (status, document) = told(response).await;
    assert_eq!(
        (status, &document["id"], &document["title"], &document["chunks"]),
        (201, &json!("a.md"), &json!("A"), &json!(2))
    );
    assert_eq!(
        told(platform.get("/v1/collections/papers/documents/a.md").await).await.1["chunks"],
        2
    );
    let (_, hits) = told(
        platform.post("/v1/collections/papers/search", json!({"query": "words", "top_k": 3})).await,
    )
    .await;
    assert_eq!(hits["hits"][0]["text"], "words");
}

#[tokio::test]
async fn a_text_is_a_document_and_the_same_text_the_same_one() {
    let platform = Platform::start().await;
    let post = async |path: &str, text: &str| {
        let request = platform
            .request(Method::POST, path)
            .header("content-type", "text/markdown; charset=utf-8");
        request.body(text.to_owned()).send().await.unwrap()
    };
    let (status, one) = told(post(DOCUMENTS, "# Title\n\nText.").await).await;
    let (_, two) = told(post(&format!("{DOCUMENTS}?title=T"), "# Title\n\nText.").await).await;
    assert_eq!((status, &one["id"]), (201, &two["id"]));
    assert_eq!(two["title"], "T");
    let (_, named) = told(post(&format!("{DOCUMENTS}?id=x"), "Text.").await).await;
    assert_eq!(named["id"], "x");
    let refused = problem(post(DOCUMENTS, "unreadable").await, 400, &["no words in it"]).await;
    assert_eq!(refused["code"], "INVALID");
}

#[tokio::test]
async fn an_upload_with_a_key_happens_once() {
    let platform = Platform::start().await;
    let post = async |text: &str| {
        let request = platform.request(Method::POST, DOCUMENTS).header("idempotency-key", "k1");
        request.json(&json!({"id": "a", "text": text})).send().await.unwrap()
    };
    assert_eq!(
        (post("one").await.status().as_u16(), post("one").await.status().as_u16()),
        (201, 201)
    );
    problem(post("two").await, 422, &["\"k1\""]).await;
    assert_eq!(platform.peers.uploads(), [("a".to_owned(), 3)]);
}

#[tokio::test]
async fn documents_that_are_none_are_refused_by_what_is_wrong() {
    let platform = Platform::start().await;
    let post = async |content_type: &str, body: Vec<u8>| {
        let request =
            platform.request(Method::POST, DOCUMENTS).header("content-type", content_type);
        request.body(body).send().await.unwrap()
    };
    problem(post("text/plain", Vec::new()).await, 400, &["0 bytes"]).await;
    problem(post("application/json", br#"{"text": ""}"#.to_vec()).await, 400, &["0 bytes"]).await;
    problem(post("text/plain", vec![0xff, 0xfe]).await, 400, &["UTF-8", "byte 0", "binary"]).await;
    problem(post("text/plain", b"a\0b".to_vec()).await, 400, &["NUL"]).await;
    problem(
        post("application/pdf", b"%PDF".to_vec()).await,
        415,
        &["application/pdf", "text/markdown"],
    )
    .await;
    problem(post("text/plain", vec![b'a'; 50_000_000]).await, 413, &["50000000", "8388608"]).await;
    problem(
        platform.post("/v1/collections/Bad%20Name/documents", json!({"text": "x"})).await,
        400,
        &["Bad Name"],
    )
    .await;
    problem(platform.post(DOCUMENTS, json!({"text": "x", "id": "a/b"})).await, 400, &["a/b"]).await;
    problem(platform.post(DOCUMENTS, json!({"text": "x", "tags": []})).await, 400, &["`tags`"])
        .await;
    problem(
        platform.post("/v1/collections/papers/search", json!({"query": " "})).await,
        400,
        &["query"],
    )
    .await;
    problem(
        platform.post("/v1/collections/papers/search", json!({"query": "q", "top_k": 101})).await,
        400,
        &["101"],
    )
    .await;
    problem(platform.get("/v1/collections/papers/documents/none").await, 404, &["none"]).await;
    assert_eq!(platform.peers.uploads(), []);
}

#[tokio::test]
async fn a_document_of_the_largest_size_is_taken() {
    let platform = Platform::start().await;
    let request = platform.request(Method::POST, DOCUMENTS).header("content-type", "text/plain");
    let response = request.body(vec![b'a'; 8 << 20]).send().await.unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(platform.peers.uploads()[0].1, 8 << 20);
}

#[tokio::test]
async fn a_deliverable_is_read_in_full() {
    let platform = Platform::start().await;
    let deliverable = Deliverable {
        agent: "writer".to_owned(),
        r#type: "report".to_owned(),
        feature: "f1".to_owned(),
        content: "All of it.".to_owned(),
        tokens: 4,
        ..Deliverable::default()
    };
    platform.bus.publish(&deliverable, &MessageId::random()).await.unwrap();
    let (status, read) = told(platform.get("/v1/deliverables/writer/report/f1").await).await;
    assert_eq!(
        (status, &read["content"], &read["type"]),
        (200, &json!("All of it."), &json!("report"))
    );
    problem(platform.get("/v1/deliverables/writer/report/f2").await, 404, &["writer/report/f2"])
        .await;
    problem(platform.get("/v1/deliverables/writer/report/f.2").await, 400, &["f.2"]).await;
}
