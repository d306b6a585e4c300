//! The `muster` program as a person or a container runs it.

mod apply;
mod demo;
mod letters;
mod operator;
mod program;
mod services;
mod tools_example;

use std::{fs, time::Duration};

use program::{Muster, folder_with};

const WORKFLOW: &str = "document: {dsl: 1.0.3, namespace: test, name: one, version: 1.0.0}\ndo:\n  - greet: {set: {hello: world}}\n";

#[tokio::test]
async fn a_valid_workflow_is_called_valid_and_a_wrong_one_by_every_error() {
    let folder = folder_with(&[
        ("good.yaml", WORKFLOW),
        ("bad.yaml", &WORKFLOW.replace("set: {hello: world}", "teleport: {}")),
        ("broken.yaml", "document: [\n  do: }"),
    ]);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let good = Muster::run(&["validate", &path("good.yaml")]).await;
    good.succeeded(&["good.yaml: valid (workflow one, version 1.0.0)"]);
    let bad =
        Muster::run(&["validate", &path("good.yaml"), &path("bad.yaml"), &path("broken.yaml")])
            .await;
    bad.failed(
        1,
        &["good.yaml: valid", "bad.yaml:3:5: error", "teleport", "broken.yaml:3:1: error"],
    );
}

#[tokio::test]
async fn every_problem_of_a_file_is_told_with_line_and_column_for_people_and_for_programs() {
    let bad =
        WORKFLOW.replace("set: {hello: world}", "set: {hello: 'dear ${ .name }'}, then: away");
    let folder = folder_with(&[("good.yaml", WORKFLOW), ("bad.yaml", &bad)]);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let told = Muster::run(&["validate", &path("bad.yaml")]).await;
    told.failed(
        1,
        &[
            "bad.yaml:3:19: error /do/0/greet/set/hello: ",
            "bad.yaml:3:46: error /do/0/greet/then: `away`",
        ],
    );
    let told = Muster::run(&["validate", "--json", &path("good.yaml"), &path("bad.yaml")]).await;
    told.failed(
        1,
        &[
            "\"workflow\": {",
            "\"name\": \"one\"",
            "\"pointer\": \"/do/0/greet/then\"",
            "\"line\": 3",
            "\"column\": 46",
        ],
    );
}

#[tokio::test]
async fn what_cannot_work_is_told_before_anything_is_started() {
    let folder = folder_with(&[
        ("workflow.yaml", WORKFLOW),
        ("empty.md", ""),
        ("binary.md", "a\0b"),
        ("blank.txt", " \n"),
    ]);
    fs::write(folder.path().join("large.md"), vec![b'a'; (8 << 20) + 1]).unwrap();
    let here = folder.path().display().to_string();
    let check = async |file: &str, words: &[&str]| {
        let file = folder.path().join(file).display().to_string();
        Muster::run(&["demo", &file, "--example", &here]).await.failed(1, words);
    };
    check("missing.md", &["missing.md", "No such file"]).await;
    check("empty.md", &["empty.md", "0 bytes"]).await;
    check("blank.txt", &["white space"]).await;
    check("binary.md", &["no text", "NUL"]).await;
    check("large.md", &["8388609 bytes", "8 MiB"]).await;
    Muster::run(&["demo", "--example", "/nowhere"]).await.failed(1, &["/nowhere", "workflow.yaml"]);
    Muster::run(&["up", "--services", "gatway"]).await.failed(1, &["\"gatway\"", "gateway"]);
    Muster::run(&["apply", "-f", "/nowhere"]).await.failed(1, &["there is no folder /nowhere"]);
    Muster::run(&["apply", "-f", &here, "--server", "ftp://x"])
        .await
        .failed(1, &["ftp://x", "http"]);
    Muster::run(&["launch"]).await.failed(2, &["launch"]);
}

#[tokio::test]
async fn a_health_check_of_nobody_fails() {
    let address = format!("http://127.0.0.1:{}/readyz", muster_testkit::free_port());
    Muster::run(&["health", &address]).await.failed(1, &[&address, "does not answer"]);
}

const PATIENCE: Duration = Duration::from_secs(60);
