//! Services in the program's own process, and commands that speak to them.

use muster_testkit::{Database, NatsServer, free_port};

use crate::{
    PATIENCE, WORKFLOW,
    program::{Muster, folder_with, program, up},
};

#[tokio::test]
async fn some_services_run_until_they_are_asked_to_stop() {
    let nats = NatsServer::start().await;
    let (running, server) = up(&nats, "gateway,orchestration").await;

    let folder = folder_with(&[("workflows/one.yaml", WORKFLOW)]);
    let here = folder.path().display().to_string();
    let apply = Muster::run(&["apply", "-f", &here, "--server", &server]).await;
    apply.succeeded(&["workflow one 1.0.0"]);
    let wrong =
        folder_with(&[("workflow.yaml", &WORKFLOW.replace("set: {hello: world}", "teleport: {}"))]);
    let here = wrong.path().display().to_string();
    Muster::run(&["apply", "-f", &here, "--server", &server])
        .await
        .failed(1, &["workflow.yaml:", "teleport"]);

    assert_eq!(running.terminate(PATIENCE).await.code(), Some(0), "{}", running.log());
}

#[tokio::test]
async fn bad_settings_are_told_at_once_and_together_also_where_nats_is_away() {
    let nowhere = format!("nats://127.0.0.1:{}", free_port());
    let bad = program(&["up"])
        .env("NATS_URL", &nowhere)
        .env("MUSTER_AGENT_CONCURRENCY", "many")
        .env("MUSTER_TOOL_TIMEOUT_SECONDS", "0")
        .env("DATABASE_URL_VECTOR", "mysql://me:hush@localhost/x");
    let bad = Muster::run_for(bad, PATIENCE).await;
    bad.failed(
        64,
        &[
            "MUSTER_AGENT_CONCURRENCY is",
            "many",
            "MUSTER_TOOL_TIMEOUT_SECONDS is",
            "which cannot be used: it must be 1 to 600",
            "DATABASE_URL_VECTOR cannot be used: it must be a Postgres address",
            "DATABASE_URL is not set: a Postgres address",
        ],
    );
    assert!(!bad.log.contains("hush"), "{}", bad.log);
}

#[tokio::test]
async fn a_platform_that_is_not_there_is_named() {
    let folder = folder_with(&[("workflow.yaml", WORKFLOW)]);
    let (here, server) =
        (folder.path().display().to_string(), format!("http://127.0.0.1:{}", free_port()));
    let apply = Muster::run(&["apply", "-f", &here, "--server", &server]).await;
    apply.failed(1, &["cannot reach Muster", &server, "refused", "--server"]);
}

#[tokio::test]
async fn the_demo_runs_any_example_on_a_platform_that_is_there() {
    let (nats, database) = (NatsServer::start().await, Database::create().await);
    let rest = format!("127.0.0.1:{}", free_port());
    let services = ["up", "--services", "gateway,orchestration,vector,execution-log"];
    let running = program(&services)
        .envs(nats.env(&[]))
        .env("DATABASE_URL", database.url())
        .env("MUSTER_HTTP_ADDR", &rest)
        .spawn();
    let folder = folder_with(&[
        ("workflow.yaml", &WORKFLOW.replace("{hello: world}", "{brief: Bees dance.}")),
        ("input.yaml", "question: How do bees tell where flowers are?\n"),
        ("document.md", "# On bees\n\nBees dance to tell where flowers are.\n"),
    ]);
    let here = folder.path().display().to_string();
    let server = format!("http://{rest}");
    let demo = Muster::run(&["demo", "--example", &here, "--server", &server]).await;
    demo.succeeded(&[
        "document \"On bees\"",
        "Running one: How do bees tell where flowers are?",
        "workflow | completed",
        "Bees dance.",
        "Timeline",
        "greet",
        "nothing to save",
    ]);
    // The platform is not the demo's to stop.
    assert!(running.is_running());

    let failing = WORKFLOW.replace(
        "set: {hello: world}",
        "raise: {error: {type: 'https://serverlessworkflow.io/spec/1.0.0/errors/runtime', status: 500, title: It broke}}",
    );
    std::fs::write(folder.path().join("workflow.yaml"), failing.replace("1.0.0", "1.0.1")).unwrap();
    let demo = Muster::run(&["demo", "--example", &here, "--server", &server]).await;
    demo.failed(1, &["ended as faulted", "It broke"]);
}
