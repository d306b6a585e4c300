use muster_contracts::Code;
use muster_testkit::{Database, FaultProxy};
use serde_json::json;

use crate::Platform;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_postgres_faults_searches_and_delays_documents_until_it_is_back() {
    let database = Database::create().await;
    let proxy = FaultProxy::start(database.url()).await;
    let url = proxy.url(database.url());
    let platform = Platform::start_on(database, &url).await;
    platform.ingest("before", "The zebra sleeps in the kitchen.").await;

    proxy.cut();
    let fault = platform.search("notes", "zebra").await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);
    let request = platform.request("during", b"The giraffe sleeps in the attic.", json!({})).await;
    let fault = platform.search("notes", "zebra").await.unwrap_err();
    assert_eq!(fault.code, Code::Unavailable);

    proxy.heal();
    platform.outcome(&request).await.unwrap();
    assert_eq!(platform.documents("giraffe").await.first().unwrap(), "during");
    assert_eq!(platform.documents("zebra").await.first().unwrap(), "before");
    platform.assert_no_dead_letter().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_outlive_the_service() {
    let mut platform = Platform::start().await;
    platform.ingest("pets", "The zebra sleeps in the kitchen.").await;
    platform.run(&[]).await;
    assert_eq!(platform.documents("zebra").await, ["pets"]);
    // A crash in the middle: what was asked for meanwhile is ingested by the next one.
    platform.service.take().unwrap().crash();
    let request = platform.request("late", b"The giraffe sleeps in the attic.", json!({})).await;
    platform.run(&[]).await;
    platform.outcome(&request).await.unwrap();
    assert_eq!(platform.documents("giraffe").await.first().unwrap(), "late");
}
