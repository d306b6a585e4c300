//! Secrets: only where they are used, and nowhere else.

use std::fs;
use std::path::Path;

use muster_contracts::tool::v1::ListSecretsRequest;
use muster_testkit::WebServer;
use serde_json::{Value, json};

use crate::World;
use crate::outward::get;

const API: &str = "canary-4f9a \"quoted\"/+ä";
const PASSWORD: &str = "canary-77c1";

fn mark(path: &str) -> String {
    format!("\u{FDD0}{}\u{FDD1}", path.replace('.', "\u{FDD2}"))
}

/// The folder as Kubernetes mounts it: files, a folder, hidden entries.
fn folder(at: &Path) {
    fs::write(at.join("api"), format!("{API}\n")).unwrap();
    let login =
        json!({ "username": "ada", "password": PASSWORD, "pin": 123_456, "more": { "x": [1] } });
    fs::write(at.join("login"), login.to_string()).unwrap();
    fs::create_dir(at.join("db")).unwrap();
    fs::write(at.join("db/password"), PASSWORD).unwrap();
    fs::create_dir(at.join("..data")).unwrap();
}

async fn world() -> (tempfile::TempDir, WebServer, World) {
    let secrets = tempfile::tempdir().unwrap();
    folder(secrets.path());
    let server = WebServer::start().await;
    let world = World::with(server.address(), secrets.path().to_str().unwrap()).await;
    (secrets, server, world)
}

#[tokio::test]
async fn the_names_of_secrets_are_told_and_nothing_else() {
    let (_secrets, _server, world) = world().await;
    let orchestration = crate::connect(&world.nats, "orchestration").await;
    let names = orchestration.request(&ListSecretsRequest {}).await.unwrap().names;
    assert_eq!(names, ["api", "db", "login"]);
    let none = World::start().await;
    let orchestration = crate::connect(&none.nats, "orchestration").await;
    assert!(orchestration.request(&ListSecretsRequest {}).await.unwrap().names.is_empty());
}

#[tokio::test]
async fn a_secret_stands_where_its_mark_was_and_is_hidden_in_what_comes_back() {
    let (_secrets, server, world) = world().await;
    let arguments = json!({
        "method": "post",
        "endpoint": {
            "uri": format!("{}?key={}&user={}", server.url("/anything"), mark("api"), mark("login.username")),
            "authentication": { "basic": { "use": "login" } },
        },
        "headers": { "X-Password": format!("it is {}", mark("db.password")) },
        "query": { "pin": mark("login.pin") },
        "body": { "whole": mark("login"), "text": format!("<{}>", mark("api")) },
        "output": "response",
    });
    let answer = world.outward("http", arguments).await.unwrap();
    let asked = &server.asked()[0];
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(asked.query, [pair("key", API), pair("user", "ada"), pair("pin", "123456")]);
    assert_eq!(asked.headers["x-password"], format!("it is {PASSWORD}"));
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(
        (&body["whole"]["pin"], &body["text"]),
        (&json!(123_456), &json!(format!("<{API}>")))
    );
    let shown = &answer["content"];
    assert_eq!(shown["headers"]["x-password"], "it is ***");
    assert_eq!(
        (&shown["json"]["whole"]["password"], &shown["json"]["whole"]["pin"]),
        (&json!("***"), &json!("***"))
    );
    assert_eq!(shown["headers"]["authorization"], "Basic ***");
    hidden(&answer.to_string());
    for output in ["raw", "content"] {
        let mut arguments = get(server.url("/echo"));
        arguments["method"] = json!("post");
        arguments["body"] = json!(format!("{} {}", mark("api"), mark("db.password")));
        arguments["output"] = json!(output);
        let answer = world.outward("http", arguments).await.unwrap();
        let expected = if output == "raw" { "KioqICoqKg==" } else { "*** ***" };
        assert_eq!(answer, expected);
    }
}

/// No form of a secret is in a text.
fn hidden(text: &str) {
    for part in ["canary", "Y2FuYXJ5"] {
        let found = text.find(part).map(|at| text.get(at.saturating_sub(40)..at + 40));
        assert!(found.is_none(), "{found:?}");
    }
}

#[tokio::test]
async fn a_secret_is_in_no_stream_no_bucket_and_no_error() {
    let (_secrets, server, world) = world().await;
    let mut errors = String::new();
    for (path, policy) in [
        ("/anything", json!({ "bearer": { "use": "api" } })),
        ("/status/500", json!({ "basic": { "use": "login" } })),
        ("/digest-auth/auth/ada/other", json!({ "digest": { "use": "login" } })),
    ] {
        let uri = format!("{}?x={}", server.url(path), mark("db.password"));
        let body = json!({ "x": mark("db.password") });
        let arguments = json!({ "method": "post", "endpoint": { "uri": uri, "authentication": policy }, "body": body });
        errors.push_str(&format!("{:?}", world.outward("http", arguments).await));
    }
    // Nor where the server cannot be reached, or its answer is another's.
    let away = format!("http://127.0.0.1:1/{}", mark("db.password"));
    errors.push_str(&format!("{:?}", world.outward("http", get(away)).await));
    hidden(&errors);
    let kept = String::from_utf8_lossy(&world.nats.kept().await).into_owned();
    assert!(kept.contains("call:http") && kept.contains("answered 500"), "{}", kept.len());
    hidden(&kept);
}

#[tokio::test]
async fn a_secret_that_is_missing_or_not_declared_is_named() {
    let (secrets, server, world) = world().await;
    let with = |mark: String| {
        let mut arguments = get(server.url("/get"));
        arguments["headers"] = json!({ "X": mark });
        arguments
    };
    for (path, status, part) in [
        ("absent", 404, "\"absent\" is not there"),
        ("undeclared", 400, "\"undeclared\" is not in use.secrets"),
        ("db.user", 404, "\"db\" has no field \"user\""),
        ("login.more.y", 404, "\"login\" has no field \"more.y\""),
    ] {
        let raised = world.outward("http", with(mark(path))).await.unwrap_err();
        assert_eq!((raised.0.as_str(), raised.1), ("configuration", status), "{raised:?}");
        assert!(raised.2.contains(part), "{raised:?}");
    }
    let policy = json!({ "method": "get", "endpoint": { "uri": server.url("/get"), "authentication": { "basic": { "use": "api" } } } });
    let raised = world.outward("http", policy).await.unwrap_err();
    assert!(raised.2.contains("must be a JSON object"), "{raised:?}");
    assert!(server.asked().is_empty());
    // It is read anew for each call.
    fs::write(secrets.path().join("absent"), "here").unwrap();
    world.outward("http", with(mark("absent"))).await.unwrap();
    assert_eq!(server.asked()[0].headers["x"], "here");
}

#[tokio::test]
async fn a_secret_may_be_a_whole_address() {
    let (secrets, server, world) = world().await;
    let address = server.url("/status/500?hook=canary {1}");
    fs::write(secrets.path().join("absent"), &address).unwrap();
    let raised = world.outward("http", get(mark("absent"))).await.unwrap_err();
    assert_eq!(server.asked()[0].query[0].1, "canary {1}");
    assert_eq!(raised.2, "GET *** answered 500");
}

#[tokio::test]
async fn a_redirect_takes_no_secret_to_another_server() {
    let (_secrets, server, _) = world().await;
    let other = WebServer::start().await;
    let secrets = tempfile::tempdir().unwrap();
    folder(secrets.path());
    let allow = format!("{},{}", server.address(), other.address());
    let world = World::with(&allow, secrets.path().to_str().unwrap()).await;
    let to = |status: u16| {
        format!(
            "{}&status_code={status}",
            server.url(&format!("/redirect-to?url={}", other.url("/anything")))
        )
    };
    let arguments = |status: u16| {
        json!({
            "method": "post", "endpoint": { "uri": to(status), "authentication": { "bearer": { "use": "api" } } },
            "body": mark("db.password"), "redirect": true,
        })
    };
    let raised = world.outward("http", arguments(307)).await.unwrap_err();
    assert!(raised.0 == "DENIED" && raised.2.contains("with secrets"), "{raised:?}");
    world.outward("http", arguments(303)).await.unwrap();
    let asked = &other.asked()[0];
    assert!(asked.body.is_empty() && !asked.headers.contains_key("authorization"), "{asked:?}");
}
