//! Services in the program's own process, and commands that speak to them.

use muster_testkit::{NatsServer, eventually, free_port};

use crate::{
    PATIENCE, WORKFLOW,
    program::{Muster, folder_with, program},
};

#[tokio::test]
async fn some_services_run_until_they_are_asked_to_stop() {
    let nats = NatsServer::start().await;
    let (rest, health) =
        (format!("127.0.0.1:{}", free_port()), format!("127.0.0.1:{}", free_port()));
    let running = program(&["up", "--services", "gateway,orchestration"])
        .env("NATS_URL", nats.url())
        .env("MUSTER_HTTP_ADDR", &rest)
        .env("MUSTER_HEALTH_ADDR", &health)
        .spawn();
    let healthy = format!("http://{health}/readyz");
    eventually(PATIENCE, "the services are ready", || async {
        Muster::run(&["health", &healthy]).await.log.contains("200 OK")
    })
    .await;

    let folder = folder_with(&[("workflows/one.yaml", WORKFLOW)]);
    let here = folder.path().display().to_string();
    let server = format!("http://{rest}");
    let apply = Muster::run(&["apply", "-f", &here, "--server", &server]).await;
    apply.succeeded(&["workflow one 1.0.0"]);
    let wrong =
        folder_with(&[("workflow.yaml", &WORKFLOW.replace("set: {hello: world}", "teleport: {}"))]);
    let here = wrong.path().display().to_string();
    Muster::run(&["apply", "-f", &here, "--server", &server])
        .await
        .failed(1, &["workflow.yaml", "400", "teleport"]);

    assert_eq!(running.terminate(PATIENCE).await.code(), Some(0), "{}", running.log());
}

#[tokio::test]
async fn a_platform_that_is_not_there_is_named() {
    let folder = folder_with(&[("workflow.yaml", WORKFLOW)]);
    let (here, server) =
        (folder.path().display().to_string(), format!("http://127.0.0.1:{}", free_port()));
    let apply = Muster::run(&["apply", "-f", &here, "--server", &server]).await;
    apply.failed(1, &["cannot reach Muster", &server, "refused", "--server"]);
}
