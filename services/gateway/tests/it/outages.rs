//! Without the bus, and when it comes back.

use muster_testkit::{NatsServer, eventually};
use serde_json::json;

use crate::platform::{PATIENCE, Platform, problem};

#[tokio::test]
async fn without_the_bus_the_gateway_lives_and_says_what_is_missing() {
    let nats = NatsServer::start().await;
    nats.kill();
    let platform = Platform::start_gateway(nats).await;
    assert_eq!(platform.get("/healthz").await.status(), 200);
    let ready = problem(platform.get("/readyz").await, 503, &["bus"]).await;
    assert_eq!(ready["code"], "UNAVAILABLE");
    let refused = platform.post("/v1/executions", json!({"workflow": "quick"})).await;
    assert_eq!(refused.headers()["retry-after"], "1");
    problem(refused, 503, &[]).await;
    platform.nats.restart().await;
    eventually(PATIENCE, "the gateway is ready", || async {
        platform.get("/readyz").await.status() == 200
    })
    .await;
}

#[tokio::test]
async fn a_bus_that_goes_and_comes_back_is_found_again() {
    let platform = Platform::start().await;
    platform.nats.kill();
    eventually(PATIENCE, "the gateway is not ready", || async {
        platform.get("/readyz").await.status() == 503
    })
    .await;
    assert_eq!(platform.get("/healthz").await.status(), 200);
    platform.nats.restart().await;
    eventually(PATIENCE, "requests are served", || async {
        platform.get("/v1/workflows").await.status() == 200
    })
    .await;
}
