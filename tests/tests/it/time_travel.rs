//! The past of executions and the check of versions, by REST and by the command line, on the whole platform.

use std::time::Duration;

use muster_testkit::{Program, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::platform::{Platform, read};

const LONG: Duration = Duration::from_secs(60);

/// Waits as long as the data says, between two tools.
const GATE: &str = "document: {dsl: '1.0.3', namespace: test, name: gate, version: '1.0.0'}
do:
- count: {call: tool, with: {tool: text_stats, arguments: {text: '${ .text }'}}, output: {as: '${ {words, pause: $input.pause} }'}}
- gate: {wait: '${ .pause }'}
- sum: {call: tool, with: {tool: calculate, arguments: {expression: '${ \"\\(.words) + 1\" }'}}, output: {as: .value}}
";

impl Platform {
    /// An execution that stands at the gate for an hour.
    async fn at_the_gate(&self) -> String {
        let workflow = self.put_workflow(GATE.to_owned()).await;
        let input = json!({"text": "one two three", "pause": "PT1H"});
        let id = self.start_execution(&workflow, &input, "gate").await;
        eventually(LONG, "it stands at the gate", || async {
            let (_, state) = self.get(&format!("/v1/executions/{id}")).await;
            if state["status"] == "waiting" && state["tasks"][1]["name"] == "gate" {
                Ok(())
            } else {
                Err(state)
            }
        })
        .await;
        id
    }

    async fn fork(&self, id: &str, body: &Value) -> (StatusCode, Value) {
        let request = self.client.post(self.url(&format!("/v1/executions/{id}/fork")));
        read(request.header("Idempotency-Key", "fork").json(body).send().await.unwrap()).await
    }

    /// The `muster` program with this platform as its server: whether it ended well, and what it said.
    async fn muster(&self, arguments: &[&str]) -> (bool, String) {
        let program = arguments.iter().copied().fold(Program::of_workspace("muster"), Program::arg);
        let process = program.env("MUSTER_SERVER", &self.http).spawn();
        let status = process.wait(LONG).await;
        (status.success(), process.log())
    }

    /// What the program says where it ends well.
    async fn says(&self, arguments: &[&str]) -> String {
        let (well, told) = self.muster(arguments).await;
        assert!(well, "{arguments:?}: {told}");
        told
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_execution_is_replayed_forked_compared_exported_and_a_version_checked_against_it() {
    let platform = Platform::start().await;
    let id = platform.at_the_gate().await;
    let (status, replay) = platform.get(&format!("/v1/executions/{id}/replay")).await;
    assert_eq!((status, &replay["hash"]), (StatusCode::OK, &replay["live_hash"]), "{replay}");
    let (_, first) = platform.get(&format!("/v1/executions/{id}/replay?position=1")).await;
    assert_eq!(first["execution"]["tasks"].as_array().map(Vec::len), Some(1), "{first}");

    let body = json!({"position": 2, "set": {"data": {"words": 41, "pause": "PT0.01S"}}});
    let (status, fork) = platform.fork(&id, &body).await;
    assert_eq!(
        (status, &fork["fork"]),
        (StatusCode::CREATED, &json!({"execution_id": id, "position": 2})),
        "{fork}"
    );
    let fork_id = fork["execution_id"].as_str().unwrap().to_owned();
    let ended = platform.ended(&fork_id, LONG).await;
    assert_eq!(ended["output"], json!(42), "{ended}");
    assert_eq!(platform.fork(&id, &body).await.1["execution_id"], json!(fork_id));
    let (status, taken) = platform.fork(&id, &json!({"position": 1})).await;
    assert_eq!(status, StatusCode::CONFLICT, "{taken}");
    let (_, origin) = platform.get(&format!("/v1/executions/{id}")).await;
    assert_eq!(origin["status"], "waiting", "{origin}");

    for (body, word) in [
        (json!({"position": 0}), "counted from 1"),
        (json!({"position": 9}), "has 2 transitions"),
        (json!({"set": 5}), "`set` is 5"),
        (json!({"set": {"date": 1}}), "`data`"),
        (json!({"from": 1}), "unknown field `from`"),
    ] {
        let request =
            platform.client.post(platform.url(&format!("/v1/executions/{id}/fork"))).json(&body);
        let (status, problem) = read(request.send().await.unwrap()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(word), "{problem}");
    }
    let (status, _) = platform.get("/v1/executions/none/replay").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    versions(&platform, &id).await;
    command_line(&platform, &id, &fork_id).await;
}

/// Which executions run is known from the log, a moment later.
async fn versions(platform: &Platform, id: &str) {
    let check = async |text: String| {
        let request = platform.client.post(platform.url("/v1/workflows/check"));
        let request = request.header("content-type", "application/yaml").body(text);
        read(request.send().await.unwrap()).await
    };
    let next = GATE.replace("'1.0.0'", "'1.1.0'");
    let (executions, version) = eventually(LONG, "the log knows the execution", || async {
        let (_, checked) = check(next.clone()).await;
        let executions = checked["executions"].clone();
        let only = executions.as_array().is_some_and(|executions| executions.len() == 1);
        if only { Ok((executions, checked["default_version"].clone())) } else { Err(checked) }
    })
    .await;
    assert_eq!(version, "1.0.0");
    assert_eq!(
        (&executions[0]["execution_id"], &executions[0]["differences"]),
        (&json!(id), &json!([]))
    );
    // What is written otherwise and decides alike is no difference.
    let (_, alike) =
        check(next.replace("tool: text_stats, ", "tool: '${ \"text_stats\" }', ")).await;
    assert_eq!(alike["executions"][0]["differences"], json!([]), "{alike}");
    assert_eq!((&alike["checked"], &alike["unchecked"]), (&json!(1), &json!(0)));
    let (_, changed) = check(next.replace("'${ .text }'", "'${ .text + \"!\" }'")).await;
    let difference = &changed["executions"][0]["differences"][0];
    assert_eq!(
        (&difference["difference"], &difference["task"]),
        (&json!("decision"), &json!("/do/0/count")),
        "{changed}"
    );
    let decision = |which: &str| difference[which].as_str().unwrap_or_default().to_owned();
    let (old, new) = (decision("old_decision"), decision("new_decision"));
    assert!(old.contains("three\"") && new.contains("three!\""), "{changed}");
    let (status, problem) = check("do: [".to_owned()).await;
    assert_eq!(
        (status, &problem["details"]["problems"][0]["line"]),
        (StatusCode::BAD_REQUEST, &json!(2)),
        "{problem}"
    );
}

async fn command_line(platform: &Platform, id: &str, fork: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let replay = platform.says(&["executions", "replay", id, "--at", "1"]).await;
    assert!(replay.contains("1 of 2") && replay.contains("/do/0/count"), "{replay}");
    assert!(platform.says(&["executions", "replay", id]).await.contains("(as in memory)"));
    let timeline = platform.says(&["executions", "timeline", id]).await;
    assert!(timeline.contains("call requested       /do/0/count"), "{timeline}");
    let diff = platform.says(&["executions", "diff", id, fork]).await;
    assert!(
        diff.contains("they part at transition 3") && diff.contains("only_right /do/2/sum"),
        "{diff}"
    );
    let forked = platform
        .says(&[
            "executions",
            "fork",
            id,
            "--at",
            "2",
            "--data",
            "{\"words\": 1, \"pause\": \"PT1H\"}",
        ])
        .await;
    assert!(forked.ends_with(" waiting\n"), "{forked}");
    platform.says(&["executions", "export", id, "-o", &path("file.json")]).await;
    assert!(platform.says(&["executions", "import", &path("file.json")]).await.starts_with(id));
    std::fs::write(path("cut.json"), "{\"format\": \"muster-execution/1\"}").unwrap();
    let (well, cut) = platform.muster(&["executions", "import", &path("cut.json")]).await;
    assert!(!well && cut.contains("execution_id"), "{cut}");
    let next = GATE.replace("'1.0.0'", "'1.1.0'");
    std::fs::write(path("same.yaml"), &next).unwrap();
    std::fs::write(path("other.yaml"), next.replace("- gate", "- new: {set: {a: 1}}\n- gate"))
        .unwrap();
    let same = platform.says(&["workflows", "check", &path("same.yaml")]).await;
    assert!(same.contains("would have gone another way: 0"), "{same}");
    let (well, other) = platform.muster(&["workflows", "check", &path("other.yaml")]).await;
    assert!(!well && other.contains("inserted /do/1/new"), "{other}");
}
