use muster_bus::MessageId;
use muster_contracts::vector::v1::{DocumentState, GetDocumentRequest};
use muster_contracts::{Code, Fault};
use serde_json::json;

use crate::Platform;

async fn document(platform: &Platform, id: &str) -> Result<DocumentState, Fault> {
    let request = GetDocumentRequest { collection: "notes".into(), document_id: id.into() };
    platform.bus.request(&request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingested_document_tells_its_state() {
    let platform = Platform::start().await;
    let completed = platform.ingest("handbook", &crate::handbook()).await;
    assert!(completed.chunks > 5 && completed.tokens > 1000, "{completed:?}");
    assert_eq!(completed.embedder, "hashing-256");

    let state = document(&platform, "handbook").await.unwrap();
    assert_eq!((state.chunks, state.tokens), (completed.chunks, completed.tokens));
    assert_eq!(state.title, "Title of handbook");
    assert_eq!(state.ingested_at, completed.timestamp);

    let fault = document(&platform, "other").await.unwrap_err();
    assert_eq!(fault.code, Code::NotFound);
    assert!(fault.message.contains("\"other\""), "{fault}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_replaces_the_document() {
    let platform = Platform::start().await;
    platform.ingest("pets", "The zebra sleeps in the kitchen.").await;
    assert_eq!(platform.documents("zebra").await, ["pets"]);

    let completed = platform.ingest("pets", "The giraffe sleeps in the attic.").await;
    assert_eq!(completed.chunks, 1);
    assert!(platform.documents("zebra").await.is_empty());
    assert_eq!(platform.documents("giraffe").await, ["pets"]);
    assert_eq!(document(&platform, "pets").await.unwrap().chunks, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_comes_again_changes_nothing() {
    let platform = Platform::start().await;
    let request = platform.request("pets", b"The zebra sleeps in the kitchen.", json!({})).await;
    let first = platform.outcome(&request).await.unwrap();
    // A new message for an old request: what the broker's own window of duplicates does not catch.
    platform.bus.artifacts().delete(&request.artifact).await.unwrap();
    platform.bus.publish(&request, &MessageId::random()).await.unwrap();
    platform.ingest("last", "The giraffe sleeps in the attic.").await;

    let state = document(&platform, "pets").await.unwrap();
    assert_eq!(state.ingested_at, first.timestamp);
    assert_eq!(platform.documents("zebra").await, ["pets"]);
    platform.assert_no_dead_letter().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_that_cannot_be_used_are_told_and_leave_no_dead_letter() {
    async fn check(platform: &Platform, bytes: &[u8], code: &str, expected: &str) {
        let request = platform.request("bad", bytes, json!({})).await;
        let failed = platform.outcome(&request).await.unwrap_err();
        assert_eq!(failed.code, code);
        assert!(failed.error.contains(expected), "{}", failed.error);
    }
    let platform = Platform::start().await;
    check(&platform, b" \n", "INVALID", "is empty").await;
    check(&platform, b"caf\xe9", "INVALID", "not UTF-8 text (byte 3)").await;
    check(&platform, b"PK\0\x01", "INVALID", "NUL character at byte 2").await;
    let large = vec![b'a'; 8 * 1024 * 1024 + 1];
    check(&platform, &large, "INVALID", "8388609 bytes, but at most 8388608").await;

    let mut request = platform.request("bad", b"text", json!({})).await;
    platform.outcome(&request).await.unwrap();
    request.artifact = "nowhere".into();
    request.request_id = "r-nowhere".into();
    platform.bus.publish(&request, &MessageId::random()).await.unwrap();
    let failed = platform.outcome(&request).await.unwrap_err();
    assert_eq!(failed.code, "NOT_FOUND");
    assert!(failed.error.contains("\"nowhere\""), "{}", failed.error);

    request.collection = "not a name".into();
    request.request_id = "r-collection".into();
    platform.bus.publish(&request, &MessageId::random()).await.unwrap();
    let failed = platform.outcome(&request).await.unwrap_err();
    assert!(failed.error.contains("\"not a name\""), "{}", failed.error);
    platform.assert_no_dead_letter().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_versions_at_once_leave_one_whole_document() {
    let platform = Platform::start().await;
    let texts: Vec<String> = (0..8).map(|n| format!("version{n} ").repeat(400)).collect();
    let requests = texts.iter().map(|text| platform.request("doc", text.as_bytes(), json!({})));
    for request in futures::future::join_all(requests).await {
        platform.outcome(&request).await.unwrap();
    }
    let state = document(&platform, "doc").await.unwrap();
    let mut found = 0;
    for n in 0..8 {
        let hits = platform.search("notes", &format!("version{n}")).await.unwrap().hits;
        if !hits.is_empty() {
            found += 1;
            assert_eq!(hits.len(), usize::try_from(state.chunks).unwrap());
        }
    }
    assert_eq!(found, 1);
    platform.assert_no_dead_letter().await;
}
