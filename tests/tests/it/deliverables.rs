//! The team of six: what each makes is stored once, passed on as a notice, and fetched where it is needed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use muster_contracts::gateway::v1::TokensSaved;
use muster_testkit::{Database, NatsServer, Program, eventually};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::documents::{blocks, patient, root};
use crate::platform::Platform;

const ENDS_WITHIN: Duration = Duration::from_secs(240);
const FEATURE: &str = "csv-export";
/// Each member with the type of what it makes, and its stream.
const TEAM: [(&str, &str, &str); 6] = [
    ("cynthia", "research", "agog_features_research"),
    ("sylvia", "critique", "agog_features_critique"),
    ("roy", "backend", "agog_features_backend"),
    ("jen", "frontend", "agog_features_frontend"),
    ("billy", "qa", "agog_features_qa"),
    ("priya", "statistics", "agog_features_statistics"),
];

fn example() -> PathBuf {
    root().join("examples/feature-team")
}

/// Stores the description and returns its notice.
async fn describe(platform: &Platform) -> Value {
    let content = std::fs::read_to_string(example().join("feature.md")).unwrap();
    let body =
        json!({"agent": "product", "type": "description", "feature": FEATURE, "content": content});
    let (status, stored) = platform.post("/v1/deliverables", &body).await;
    assert_eq!(status, StatusCode::CREATED, "{stored}");
    let (status, again) = platform.post("/v1/deliverables", &body).await;
    assert_eq!((status, &again["address"]), (StatusCode::OK, &stored["address"]), "{again}");
    let address = stored["address"].as_str().unwrap();
    let (status, notice) = platform.get(&format!("/v1/{address}?notice=true")).await;
    assert_eq!(status, StatusCode::OK, "{notice}");
    notice
}

/// Runs the team to its end, and returns the execution's id and output.
async fn run(platform: &Platform) -> (String, Value) {
    let workflow = platform.load(&example()).await;
    let input = json!({"feature": FEATURE, "description": describe(platform).await});
    let id = platform.start_execution(&workflow, &input, "team").await;
    let state = platform.ended(&id, ENDS_WITHIN).await;
    assert_eq!(state["status"], "completed", "{state:#}");
    (id, state["output"].clone())
}

/// The usage of each agent, once the log has it.
async fn usage(platform: &Platform, id: &str) -> Value {
    eventually(ENDS_WITHIN, "the log has the usage of all six", || async {
        let (_, usage) = platform.get(&format!("/v1/executions/{id}/usage")).await;
        match usage["agents"].as_array().map(Vec::len) {
            Some(6) => Ok(usage),
            _ => Err(usage.to_string()),
        }
    })
    .await
}

fn of<'a>(usage: &'a Value, agent: &str) -> &'a Value {
    let agents = usage["agents"].as_array().unwrap();
    &agents.iter().find(|one| one["agent"] == agent).unwrap()["usage"]
}

/// What an agent's runs fetched, addresses and tokens, once the execution's events say as much as its usage.
async fn fetched(platform: &Platform, id: &str, usage: &Value, agent: &str) -> Vec<(String, u64)> {
    let told = of(usage, agent)["fetched_tokens"].as_u64().unwrap_or_default();
    eventually(ENDS_WITHIN, "every fetch is recorded", || async {
        let (_, page) = platform.get(&format!("/v1/executions/{id}/events?limit=1000")).await;
        let found = fetches(&page, agent);
        if found.iter().map(|(_, tokens)| tokens).sum::<u64>() == told {
            Ok(found)
        } else {
            Err(format!("{agent} fetched {told} tokens: {found:?}"))
        }
    })
    .await
}

fn fetches(page: &Value, agent: &str) -> Vec<(String, u64)> {
    let events = page["events"].as_array().unwrap().iter();
    let facts = events.map(|event| &event["body"]).filter(|body| body["agent"] == agent);
    facts
        .map(|body| &body["fact"])
        .filter(|fact| fact["type"] == "tool_returned" && fact["name"] == "fetch_deliverable")
        .map(|fact| {
            let address = fact["result"]["deliverable"].as_str().unwrap_or_default();
            (address.to_owned(), fact["fetched_tokens"].as_u64().unwrap_or_default())
        })
        .collect()
}

/// The command line, as a person uses it: whether it succeeded, and what it said.
async fn muster(platform: &Platform, arguments: &[&str]) -> (bool, String) {
    let program = arguments.iter().copied().fold(Program::of_workspace("muster"), Program::arg);
    let process = program.env("MUSTER_SERVER", &platform.http).env("NO_COLOR", "1").spawn();
    let status = process.wait(ENDS_WITHIN).await;
    (status.success(), process.log())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_team_saves_95_per_cent_and_what_nobody_fetched_stayed_where_it_was() {
    let platform = Platform::start().await;
    let bus = platform.bus().await;
    let mut savings = std::pin::pin!(bus.listen::<TokensSaved>().await.unwrap());
    let (id, output) = run(&platform).await;
    let usage = usage(&platform, &id).await;

    // 1. Everybody published, into a stream of its own, which has that and nothing else.
    for (agent, kind, stream) in TEAM {
        let notice = output.as_object().unwrap().values().find(|one| one["agent"] == agent);
        let address = notice.unwrap()["deliverable"].as_str().unwrap();
        assert_eq!(address, format!("deliverables/agog/{agent}/{kind}/{FEATURE}@1"));
        let (status, status_of) = platform.get(&format!("/v1/streams/{stream}")).await;
        assert_eq!(status, StatusCode::OK, "{status_of}");
        assert_eq!(status_of["messages"], 1, "{status_of}");
        assert_eq!(status_of["limits"]["messages"], 10_000, "{status_of}");
        assert_eq!(status_of["limits"]["age_seconds"], 7 * 86_400, "{status_of}");
    }

    // 2. The critic fetched the research and made a critique of it.
    let critic = fetched(&platform, &id, &usage, "sylvia").await;
    let research = output["research"]["deliverable"].as_str().unwrap();
    assert!(!critic.is_empty() && critic.iter().all(|(address, _)| address == research));
    // Roy fetched the research only: not a byte of the critique.
    let roy = fetched(&platform, &id, &usage, "roy").await;
    assert!(!roy.is_empty() && roy.iter().all(|(address, _)| address == research), "{roy:?}");

    // 3. Jen fetched both.
    let jen = fetched(&platform, &id, &usage, "jen").await;
    let critique = output["critique"]["deliverable"].as_str().unwrap();
    for wanted in [research, critique] {
        assert!(jen.iter().any(|(address, _)| address == wanted), "{wanted} is not in {jen:?}");
    }

    // 4. What is stored is what was noticed.
    stored_as_noticed(&platform, &id, &output).await;

    // 5. The saving, by the tokenizer.
    for (agent, _, _) in TEAM {
        fetched(&platform, &id, &usage, agent).await;
    }
    let total = |name: &str| usage["total"][name].as_f64().unwrap_or_default();
    assert!(total("pasted_tokens") > 10_000.0, "{usage:#}");
    assert!(total("saved_tokens") >= 0.95 * total("pasted_tokens"), "{usage:#}");
    told_as_events(&mut savings, &id, total("saved_tokens")).await;
    the_command_line_tells_it(&platform, &id).await;
}

async fn stored_as_noticed(platform: &Platform, id: &str, output: &Value) {
    for (agent, kind, _) in TEAM {
        let notice = output.as_object().unwrap().values().find(|one| one["agent"] == agent);
        let address = notice.unwrap()["deliverable"].as_str().unwrap();
        let (status, found) = platform.get(&format!("/v1/{address}")).await;
        assert_eq!(status, StatusCode::OK, "{found}");
        assert_eq!((&found["address"], &found["type"]), (&json!(address), &json!(kind)));
        assert_eq!(found["tokens"], notice.unwrap()["tokens"]);
        assert_eq!(found["execution_id"], id);
    }
    let (_, listed) = platform.get(&format!("/v1/deliverables?team=agog&execution={id}")).await;
    assert_eq!(listed["deliverables"].as_array().unwrap().len(), 6, "{listed}");
    let (_, cynthia) = platform.get("/v1/streams/agents/cynthia").await;
    assert_eq!(cynthia["stream"]["name"], "agog_features_research", "{cynthia}");
    assert_eq!(cynthia["types"], json!({"research": 1}), "{cynthia}");
    let (status, problem) = platform.get("/v1/streams/agents/nobody").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
}

/// Each run says what its notices saved; together they say what the usage says.
async fn told_as_events(
    savings: &mut (impl futures::Stream<Item = TokensSaved> + Unpin),
    id: &str,
    saved: f64,
) {
    use futures::StreamExt;
    let mut sum = 0.0;
    while sum < saved {
        let next = tokio::time::timeout(ENDS_WITHIN, savings.next()).await;
        let event = next.expect("all savings are told").unwrap();
        if event.execution_id == id && event.by == "notice" {
            assert_eq!(event.pasted_tokens - event.notice_tokens, event.tokens, "{event:?}");
            sum += f64::from(event.tokens);
        }
    }
    assert!((sum - saved).abs() < 0.5, "{sum} and {saved}");
}

async fn the_command_line_tells_it(platform: &Platform, id: &str) {
    let (good, report) = muster(platform, &["tokens", "report", id, "--at-least", "95"]).await;
    assert!(good, "{report}");
    for words in
        ["roy fetched", "roy left deliverables/agog/sylvia/critique/csv-export@1 where it is"]
    {
        assert!(report.contains(words), "{words:?} is not in {report}");
    }
    let (good, report) = muster(platform, &["tokens", "report", id, "--at-least", "99.9"]).await;
    assert!(!good && report.contains("at least 99.9 % must be"), "{report}");
    let (good, listed) = muster(platform, &["deliverables", "ls", "--team", "agog"]).await;
    assert!(good && listed.contains("deliverables/agog/priya/statistics/csv-export@1"), "{listed}");
    let address = "deliverables/agog/roy/backend/csv-export";
    let (good, text) = muster(platform, &["deliverables", "get", address]).await;
    assert!(good && text.starts_with("# Backend: csv-export"), "{text}");
    let (good, text) = muster(platform, &["deliverables", "get", "deliverables/x/y/z"]).await;
    assert!(!good && text.contains("deliverables/x/y/z is not there"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_a_deliverable_is_refused_with_what_would_be_right() {
    let platform = Platform::start().await;
    let check = async |body: Value, words: &str| {
        let (status, problem) = platform.post("/v1/deliverables", &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    };
    let of = |agent: &str, feature: &str, content: &str| json!({"agent": agent, "feature": feature, "content": content});
    check(of("a.b", "x", "text"), "`agent` is \"a.b\"").await;
    check(of("a", "x/y", "text"), "`feature` is \"x/y\"").await;
    check(of("a", "x", ""), "`content` is empty").await;
    check(
        json!({"agent": "rob", "feature": "x", "content": "t", "team": "agog"}),
        "cynthia, sylvia",
    )
    .await;
    check(json!({"agent": "a", "feature": "x", "content": "t", "colour": 1}), "colour").await;
    check(of("a", "x", &"word ".repeat(2_000_001)), "but a deliverable has at most 10000000").await;
    for (path, words) in [
        ("/v1/deliverables?limit=0", "`limit` is 0"),
        ("/v1/deliverables?after=x", "`after` is \"x\""),
        ("/v1/deliverables?team=agag", "`team` is \"agag\""),
        ("/v1/deliverables/a/b/c@d", "no address"),
    ] {
        let (status, problem) = platform.get(path).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{path}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(words), "{path}: {problem}");
    }
    let (status, problem) = platform.get("/v1/deliverables/a/b/c?sequence=7").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{problem}");
    let bad = "name: rob\ninstructions: x\ndeliverable: {team: agog}\n";
    let (status, problem) = platform.put_yaml("/v1/agents/rob", bad.to_owned()).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    assert!(problem["detail"].as_str().unwrap().contains("cynthia, sylvia"), "{problem}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_runs_the_team_on_servers_and_prints_the_saving() {
    let (nats, database) = (NatsServer::start().await, Database::create().await);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("Short feature.md");
    let demo = async |arguments: &[&str]| {
        let demo = ["demo", "deliverables"].iter().chain(arguments).copied();
        let program = demo.fold(Program::of_workspace("muster"), Program::arg);
        let program = program.envs(nats.env(&[])).env("DATABASE_URL", database.url());
        let process = program.env("NO_COLOR", "1").spawn();
        let status = process.wait(ENDS_WITHIN).await;
        (status.success(), process.log())
    };
    let (good, told) = demo(&[]).await;
    assert!(good, "{told}");
    for words in [
        "% saved (at least 95 % must be); what was not fetched was not transferred.",
        "roy left deliverables/agog/sylvia/critique/csv-export@1 where it is",
        "Answered by: offline",
    ] {
        assert!(told.contains(words), "{words:?} is not in {told}");
    }
    // Of a text that is hardly longer than its notice there is little to save.
    std::fs::write(&file, "# Bells\n\nA bell must ring at noon. It must stop after 10 seconds.\n")
        .unwrap();
    let (good, told) = demo(&[file.to_str().unwrap()]).await;
    assert!(!good && told.contains("at least 95 % must be"), "{told}");
    assert!(told.contains("deliverables/agog/roy/backend/short-feature"), "{told}");
}

/// Runs the commands of a page, and returns what they said.
async fn commands_of(platform: &Platform, page: PathBuf) -> String {
    let text = std::fs::read_to_string(page).unwrap();
    let blocks = blocks(&text).into_iter().filter(|block| block.language == "sh");
    let script: Vec<String> = blocks.map(|block| block.text).collect();
    let script = patient(&format!("set -eu\n{}", script.join("\n")));
    let mut command = Command::new("sh");
    command.arg("-c").arg(script).env("MUSTER", &platform.http).current_dir(root());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    let (told, complained) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{told}\n{complained}");
    told.into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_guide_and_of_the_example_do_what_they_say() {
    let platform = Platform::start().await;
    let guide = commands_of(&platform, root().join("docs/deliverables.md")).await;
    for words in [
        "\"address\":\"deliverables/ann/report/csv-export@1\"",
        "\"summary\":\"Exports stream rows. They take minutes, not days.\"",
        "\"name\":\"DELIVERABLES\"",
        "\"types\":{\"report\":1}",
    ] {
        assert!(guide.contains(words), "{words} is not in {guide}");
    }
    let example = commands_of(&platform, example().join("README.md")).await;
    for words in ["\"status\":\"completed\"", "# Backend: csv-export", "agog_features_research"] {
        assert!(example.contains(words), "{words} is not in {example}");
    }
}
