//! Prompt templates: registered by REST or from a folder, filled by workflows, whatever becomes of who fills them.

use std::time::Duration;

use muster_testkit::Program;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::platform::{Platform, read};

const DEADLINE: Duration = Duration::from_secs(120);
const REPORT: &str = "---
description: Asks for a report.
variables:
  required: [topic]
  properties:
    topic: {type: string, description: What it is about.}
    points: {type: array, items: {type: string}}
---
Write about {{ topic }}.
{% for point in points %}
- {{ point }}
{% endfor %}
";
/// What fails because the knowledge service is away for long is tried again.
const WORKFLOW: &str = "
document: {dsl: '1.0.3', namespace: tests, name: report, version: '1.0.0'}
do:
- asked:
    try:
    - prompt: {call: template, with: {template: report, vars: {topic: '${ .topic }', points: [honey, wax]}}}
    catch: {retry: {delay: {seconds: 1}, limit: {attempt: {count: 100}}}}
    export: {as: .}
- written: {call: model, with: {model: offline, prompt: '${ .text }'}}
- both: {set: {prompt: '${ $context.text }', version: '${ $context.version }', answer: '${ .text }'}}
";

impl Platform {
    async fn registered(&self, text: &str) -> String {
        let template = json!({
            "text": text,
            "variables": {"required": ["topic"], "properties": {"topic": {"type": "string"}, "points": {"type": "array"}}},
        });
        let (status, body) = self.put_yaml("/v1/templates/report", template.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["digest"].as_str().unwrap().to_owned()
    }
}

async fn muster(platform: &Platform, arguments: &[&str]) -> (bool, String) {
    let program = arguments.iter().copied().fold(Program::of_workspace("muster"), Program::arg);
    let process = program.env("MUSTER_SERVER", &platform.http).env("NO_COLOR", "1").spawn();
    (process.wait(DEADLINE).await.success(), process.log())
}

async fn says(platform: &Platform, arguments: &[&str], words: &[&str]) {
    let (good, log) = muster(platform, arguments).await;
    assert!(good, "{arguments:?}: {log}");
    for word in words {
        assert!(log.contains(word), "{word:?} is not in {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_comes_from_a_file_or_by_rest_and_is_filled_in_any_version() {
    let platform = Platform::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("templates")).unwrap();
    std::fs::write(folder.path().join("templates/report.md"), REPORT).unwrap();
    let here = folder.path().to_str().unwrap();
    says(&platform, &["apply", "-f", here, "--plan"], &["+ template report", "1 to create"]).await;
    says(&platform, &["apply", "-f", here], &["+ template report", "1 created"]).await;
    says(&platform, &["apply", "-f", here], &["0 created, 0 changed, 1 unchanged"]).await;
    std::fs::write(folder.path().join("templates/report.md"), REPORT.replace("Write", "Tell"))
        .unwrap();
    let changed = ["~ template report", "-   Write about", "+   Tell about"];
    says(&platform, &["apply", "-f", here, "--plan"], &changed).await;
    std::fs::write(
        folder.path().join("templates/report.md"),
        REPORT.replace("topic }}", "topik }}"),
    )
    .unwrap();
    let (good, log) = muster(&platform, &["apply", "-f", here]).await;
    assert!(!good && log.contains("templates/report.md") && log.contains("\"topik\""), "{log}");

    says(&platform, &["templates", "ls"], &["report", "registered", "specification", "built in"])
        .await;
    says(&platform, &["templates", "show", "report"], &["topic", "required", "What it is about."])
        .await;
    let render =
        ["templates", "render", "report", "--var", "topic=bees", "--var", "points=[\"honey\"]"];
    says(&platform, &render, &["Write about bees.\n- honey"]).await;
    says(
        &platform,
        &["templates", "render", "specification", "--var", "task=a hive"],
        &["a hive", "## Requirements"],
    )
    .await;

    versions_are_filled_and_stay(&platform).await;
}

async fn versions_are_filled_and_stay(platform: &Platform) {
    let (_, first) = platform.get("/v1/templates/report").await;
    let second = platform.registered("About {{ topic }}").await;
    let (_, versions) = platform.get("/v1/templates/report/versions").await;
    assert_eq!(
        versions["versions"][0],
        json!({"digest": second, "latest": true, "built_in": false, "registered_at": versions["versions"][0]["registered_at"]})
    );
    assert_eq!(versions["versions"][1]["digest"], first["digest"]);
    let fill = async |body: Value| {
        let (status, body) = platform.post("/v1/templates/report/render", &body).await;
        (status.as_u16(), body)
    };
    let (_, new) = fill(json!({"vars": {"topic": "ants"}})).await;
    assert_eq!((&new["text"], &new["version"]), (&json!("About ants"), &json!(second)));
    let (_, old) = fill(json!({"vars": {"topic": "ants"}, "version": first["digest"]})).await;
    assert_eq!(old["text"], "Write about ants.\n");
    let (status, problem) = fill(json!({"vars": {"theme": "ants"}})).await;
    assert!(
        status == 400 && problem["detail"].as_str().unwrap().contains("\"theme\""),
        "{problem}"
    );
    let url = platform.url("/v1/templates/report");
    let removed = platform.client.delete(&url).send().await.unwrap().status();
    assert_eq!(removed, StatusCode::NO_CONTENT);
    assert_eq!(
        read(platform.client.delete(&url).send().await.unwrap()).await.0,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        platform.get(&format!("/v1/templates/report?version={second}")).await.0,
        StatusCode::OK
    );
    let built_in = platform.url("/v1/templates/specification");
    assert_eq!(
        platform.client.delete(built_in).send().await.unwrap().status(),
        StatusCode::CONFLICT
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_fill_templates_through_kills_and_remember_what_they_got() {
    let mut platform = Platform::start().await;
    let first = platform.registered("Write about {{ topic }}.").await;
    platform.put_workflow(WORKFLOW.to_owned()).await;
    let mut begun = Vec::new();
    for number in 0..30 {
        let topic = format!("bees {number}");
        let id = platform
            .start_execution("report", &json!({"topic": topic}), &format!("e{number}"))
            .await;
        begun.push((topic, id));
        // Killed in the middle, and back with nothing but what was written down.
        if [5, 15].contains(&number) {
            platform.processes.remove("knowledge").unwrap().kill_9();
            let again = platform.another("knowledge");
            platform.processes.insert("knowledge", again);
        }
    }
    for (topic, id) in &begun {
        let state = platform.ended(id, DEADLINE).await;
        assert_eq!(state["status"], "completed", "{state:#}");
        let output = &state["output"];
        assert_eq!(output["prompt"], format!("Write about {topic}."), "{output}");
        assert_eq!(output["version"], first);
        assert!(output["answer"].as_str().is_some_and(|text| !text.is_empty()), "{output}");
    }
    // The text is in the journal: the past stays as it was, whatever the template says now.
    platform.registered("Something else: {{ topic }}.").await;
    let (_, id) = &begun[0];
    let (status, replay) = platform.get(&format!("/v1/executions/{id}/replay")).await;
    assert_eq!((status, &replay["hash"]), (StatusCode::OK, &replay["live_hash"]), "{replay}");
    let late = platform.start_execution("report", &json!({"topic": "ants"}), "late").await;
    let state = platform.ended(&late, DEADLINE).await;
    assert_eq!(state["output"]["prompt"], "Something else: ants.", "{state:#}");

    // What is wrong is an error of the task, with the name.
    let wrong = WORKFLOW
        .replace("name: report", "name: wrong")
        .replace("topic: '${ .topic }', points: [honey, wax]", "theme: x")
        .replace("catch: {", "catch: {errors: {with: {status: 503}}, ");
    platform.put_workflow(wrong).await;
    let id = platform.start_execution("wrong", &json!({}), "wrong").await;
    let state = platform.ended(&id, DEADLINE).await;
    assert_eq!(
        (&state["status"], &state["error"]["status"]),
        (&json!("faulted"), &json!(400)),
        "{state:#}"
    );
    assert!(state["error"]["detail"].as_str().unwrap().contains("\"theme\""), "{state:#}");
}
