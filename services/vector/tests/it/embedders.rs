use muster_contracts::Code;
use muster_testkit::ScriptedModel;
use serde_json::json;

use crate::{Platform, handbook};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_openai_compatible_server_makes_the_vectors() {
    let model = ScriptedModel::start().await;
    let mut platform = Platform::start().await;
    platform
        .run(&[
            ("OPENAI_BASE_URL", model.base_url()),
            ("OPENAI_API_KEY", "sk-test"),
            ("MUSTER_EMBEDDING_MODEL", "scripted-embedding"),
        ])
        .await;
    let completed = platform.ingest("handbook", &handbook()).await;
    assert_eq!(completed.embedder, "scripted-embedding");
    let found = platform.search("notes", "Which wood does a luthier use?").await.unwrap();
    assert!(found.hits.first().unwrap().text.contains("luthier"));
    assert_eq!(found.embedder, "scripted-embedding");

    let requests = model.requests();
    let first = requests.first().unwrap();
    assert_eq!(first.path, "/v1/embeddings");
    assert_eq!(first.headers.get("authorization").unwrap(), "Bearer sk-test");
    assert_eq!(first.body.get("model").unwrap(), "scripted-embedding");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vectors_of_different_embedders_are_not_mixed() {
    let model = ScriptedModel::start().await;
    let mut platform = Platform::start().await;
    platform.ingest("pets", "The zebra sleeps in the kitchen.").await;
    platform
        .run(&[
            ("OPENAI_BASE_URL", model.base_url()),
            ("MUSTER_EMBEDDING_MODEL", "scripted-embedding"),
        ])
        .await;
    let fault = platform.search("notes", "zebra").await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict);
    for part in ["\"notes\"", "\"hashing-256\"", "\"scripted-embedding\""] {
        assert!(fault.message.contains(part), "{fault}");
    }
    let request = platform.request("more", b"The giraffe sleeps.", json!({})).await;
    let failed = platform.outcome(&request).await.unwrap_err();
    assert_eq!(failed.code, "CONFLICT");
    assert!(failed.error.contains("\"hashing-256\""), "{}", failed.error);
    assert!(model.requests().is_empty(), "no vector is bought for nothing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn vectors_of_different_lengths_are_not_mixed() {
    let model = ScriptedModel::start().await;
    let mut platform = Platform::start().await;
    let settings =
        [("OPENAI_BASE_URL", model.base_url()), ("MUSTER_EMBEDDING_MODEL", "scripted-embedding")];
    platform.run(&settings).await;
    platform.ingest("pets", "The zebra sleeps in the kitchen.").await;
    let [address, name] = settings;
    platform.run(&[address, name, ("MUSTER_EMBEDDING_DIMENSIONS", "32")]).await;
    let fault = platform.search("notes", "zebra").await.unwrap_err();
    assert_eq!(fault.code, Code::Conflict);
    assert!(fault.message.contains("64 numbers") && fault.message.contains("of 32"), "{fault}");
    let request = platform.request("more", b"The giraffe sleeps.", json!({})).await;
    let failed = platform.outcome(&request).await.unwrap_err();
    assert_eq!(failed.code, "CONFLICT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_wait_for_an_embedding_model_that_is_away() {
    let database = muster_testkit::Database::create().await;
    let model = ScriptedModel::start().await;
    let proxy = muster_testkit::FaultProxy::start(model.base_url()).await;
    let url = database.url().to_owned();
    let mut platform = Platform::start_on(database, &url).await;
    platform
        .run(&[
            ("OPENAI_BASE_URL", &proxy.url(model.base_url())),
            ("MUSTER_EMBEDDING_MODEL", "scripted-embedding"),
        ])
        .await;
    platform.ingest("before", "The zebra sleeps in the kitchen.").await;
    proxy.cut();
    let fault = platform.search("notes", "zebra").await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    assert!(fault.message.contains("\"scripted-embedding\""), "{fault}");
    let request = platform.request("during", b"The giraffe sleeps.", json!({})).await;
    proxy.heal();
    platform.outcome(&request).await.unwrap();
    platform.assert_no_dead_letter().await;
}
