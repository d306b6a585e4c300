//! `muster doctor` and `muster publish`, as an operator runs them.

use muster_testkit::{Database, NatsServer, Program, free_port};

use crate::{
    PATIENCE,
    program::{Muster, program},
};

struct World {
    nats: NatsServer,
    database: Database,
}

impl World {
    async fn start() -> Self {
        Self { nats: NatsServer::start().await, database: Database::create().await }
    }

    /// The program with everything in its environment that an operator has there.
    fn program(&self, arguments: &[&str]) -> Program {
        let password = self.nats.password("operator");
        let more = [
            ("NATS_PASSWORD_OPERATOR", password.as_str()),
            ("NATS_STREAM_BYTES_PERCENT", "1"),
            ("DATABASE_URL", self.database.url()),
            ("OPENAI_API_KEY", "sk-canary"),
        ];
        let nobody = format!("http://127.0.0.1:{}", free_port());
        program(arguments).envs(self.nats.env(&more)).env("MUSTER_SERVER", nobody)
    }

    async fn run(&self, arguments: &[&str]) -> Muster {
        Muster::run_for(self.program(arguments), PATIENCE).await
    }
}

#[tokio::test]
async fn the_doctor_says_what_is_well_and_what_to_do_about_the_rest() {
    let world = World::start().await;
    let first = world.run(&["doctor"]).await;
    first.succeeded(&[
        "ok   settings   those of 8 services can be used",
        "ok   nats ",
        "ok   users      all 8 services are let in, each as its own user",
        "warn streams    not there yet: ",
        "`muster streams apply` mends them",
        "ok   letters    no dead letters",
        "ok   disk ",
        "ok   clock ",
        "ok   postgres   Postgres ",
        "with pgvector ",
        "ok   models     set: OPENAI_API_KEY",
        "warn gateway    nobody answers at ",
        " ok, 2 to look at, 0 wrong",
    ]);
    assert!(!first.log.contains("canary"), "{}", first.log);
    world.run(&["streams", "apply"]).await.succeeded(&["create"]);
    let again = world.run(&["doctor", "--json"]).await;
    again.succeeded(&["are as the contract says", "\"level\": \"ok\"", "\"what\": \"streams\""]);

    let wrong = world
        .program(&["doctor"])
        .env("MUSTER_TOOL_TIMEOUT_SECONDS", "0")
        .env("MUSTER_HTTP_ALOW", "x")
        .env("DATABASE_URL", format!("postgres://me:hush-hush@127.0.0.1:{}/x", free_port()));
    let wrong = Muster::run_for(wrong, PATIENCE).await;
    wrong.failed(
        1,
        &[
            "fail settings   tool: MUSTER_TOOL_TIMEOUT_SECONDS is",
            "services/tool/README.md",
            "is MUSTER_HTTP_ALLOW meant?",
            "fail postgres   vector: ",
        ],
    );
    assert!(!wrong.log.contains("hush-hush"), "{}", wrong.log);
}

#[tokio::test]
async fn a_doctor_without_nats_says_how_to_have_it() {
    let nowhere = format!("nats://me:hush-hush@127.0.0.1:{}", free_port());
    let doctor = program(&["doctor"]).env("NATS_URL", nowhere);
    let doctor = Muster::run_for(doctor, PATIENCE).await;
    doctor.failed(
        1,
        &[
            "fail nats       nats://***@127.0.0.1:",
            "does not let the user `operator` in",
            "DATABASE_URL is not set",
        ],
    );
    assert!(!doctor.log.contains("hush-hush"), "{}", doctor.log);
}

#[tokio::test]
async fn a_message_is_published_where_the_contract_allows_it() {
    let nats = NatsServer::start().await;
    let run = async |arguments: &[&str]| {
        let publish = program(&[&["publish"], arguments].concat());
        Muster::run_for(publish.envs(nats.operator_env(&[])), PATIENCE).await
    };
    let streams = program(&["streams", "apply"]).env("NATS_STREAM_BYTES_PERCENT", "1");
    Muster::run_for(streams.envs(nats.operator_env(&[])), PATIENCE).await.succeeded(&["create"]);
    let body = r#"{"tool": "echo", "execution_id": "e1"}"#;
    let subject = "tool.execution.started";
    run(&[subject, body, "--check"])
        .await
        .succeeded(&["muster.tool.v1.ToolExecutionStarted may be published on"]);
    run(&[subject, body, "--id", "once"]).await.succeeded(&["stored in EXECUTIONS at 1, id "]);
    run(&[subject, body, "--id", "once"]).await.succeeded(&["was in EXECUTIONS already, at 1"]);
    run(&[subject, body, "--json"]).await.succeeded(&["\"sequence\":2", "\"duplicate\":false"]);
    let tail = program(&["events", "replay", "--json"]).envs(nats.operator_env(&[]));
    let tail = Muster::run_for(tail, PATIENCE).await;
    tail.succeeded(&[
        "\"type\":\"muster.tool.v1.ToolExecutionStarted\"",
        "\"source\":\"/muster/operator\"",
        "\"execution_id\":\"e1\"",
    ]);
    assert_eq!(tail.log.lines().filter(|line| line.contains(subject)).count(), 2);
    for (arguments, words) in [
        ([subject, r#"{"tool": "x", "tol": 1}"#], "has no field `tol`; it has execution_id, "),
        ([subject, "{}"], "needs `tool`"),
        (["tool.execution.begun", "{}"], "the contract has no subject tool.execution.begun"),
        (["tool.execute", "{}"], "is a request"),
    ] {
        run(&arguments).await.failed(1, &[words]);
    }
}
