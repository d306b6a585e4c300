//! The past of executions, by the REST interface of the gateway.

mod timeline;

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};
use reqwest::{Method, header};
use serde_json::{Map, Value, json};

use super::validate::read;
use super::version_check;
use crate::{
    cli::{Diff, Export, Fork, Import, Replay, Server, Timeline, Workflows},
    client::Client,
    output::{Colour, Output},
};

/// So much of a value stands in a line.
const WIDTH: usize = 120;

fn client(server: &Server) -> Result<Client> {
    Client::new(&server.server, Duration::ZERO)
}

/// The path of an execution, or of something of it.
pub(super) fn path(id: &str, what: &str) -> String {
    // Ids of executions need no escapes; whatever else is given must not become another path.
    let id: String = id
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("/v1/executions/{id}{what}")
}

/// Shows the state at a position; exit code 1 where the state in memory is another one.
pub(crate) async fn replay(what: &Replay, output: &Output) -> Result<ExitCode> {
    let query = what.at.map(|position| format!("?position={position}")).unwrap_or_default();
    let replay = client(&what.server)?.get(&path(&what.id, &format!("/replay{query}"))).await?;
    if what.json {
        output.line(&serde_json::to_string_pretty(&replay)?);
    } else {
        state(&replay, output);
    }
    let (hash, live) = (replay.get("hash"), replay.get("live_hash"));
    if live.is_some() && live != hash {
        output.error("the state in memory has another hash than what the journal gives: this is a bug, please report it");
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn state(replay: &Value, output: &Output) {
    let live = match replay.get("live_hash") {
        Some(_) => " (as in memory)",
        None => "",
    };
    for (name, text) in [
        ("position", format!("{} of {}", text(replay, "/position"), text(replay, "/transitions"))),
        ("at", text(replay, "/at")),
        ("hash", format!("{}{live}", text(replay, "/hash"))),
        ("status", text(replay, "/execution/status")),
        ("context", short(replay.get("context"))),
    ] {
        output.line(&format!("{} {text}", output.paint(Colour::Dim, &format!("{name:<10}"))));
    }
    for name in ["input", "output", "error"] {
        if let Some(value) = replay.pointer(&format!("/execution/{name}")) {
            let name = output.paint(Colour::Dim, &format!("{name:<10}"));
            output.line(&format!("{name} {}", short(Some(value))));
        }
    }
    for task in replay.pointer("/execution/tasks").and_then(Value::as_array).into_iter().flatten() {
        let (status, kind) = (text(task, "/status"), text(task, "/kind"));
        output.line(&format!("{status:<10} {kind:<8} {}", text(task, "/task")));
    }
}

/// Tells what happened, transition by transition.
pub(crate) async fn timeline(what: &Timeline, output: &Output) -> Result<ExitCode> {
    let file = client(&what.server)?.get(&path(&what.id, "/export")).await?;
    for transition in file.get("transitions").and_then(Value::as_array).into_iter().flatten() {
        let head = format!("{:>4}  {}", text(transition, "/position"), text(transition, "/at"));
        output.line(&output.paint(Colour::Bold, &head));
        for fact in transition.get("facts").and_then(Value::as_array).into_iter().flatten() {
            output.line(&format!("      {}", timeline::told(fact)));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Begins an execution as a copy of another and says its id.
pub(crate) async fn fork(what: &Fork, output: &Output) -> Result<ExitCode> {
    let mut set = Map::new();
    for (name, given) in [("context", &what.context), ("data", &what.data)] {
        if let Some(text) = given {
            let value: Value = serde_json::from_str(text)
                .with_context(|| format!("--{name} is {text:?}, which is no JSON"))?;
            set.insert(name.to_owned(), value);
        }
    }
    if let Some(task) = &what.task {
        set.insert("task".to_owned(), json!(task));
    }
    let mut body = Map::new();
    if let Some(position) = what.at {
        body.insert("position".to_owned(), json!(position));
    }
    if !set.is_empty() {
        body.insert("set".to_owned(), Value::Object(set));
    }
    let client = client(&what.server)?;
    let mut request = client.request(Method::POST, &path(&what.id, "/fork")).json(&body);
    if let Some(key) = &what.key {
        request = request.header("idempotency-key", key);
    }
    let fork = client.json(request).await?;
    output.line(&format!("{} {}", text(&fork, "/execution_id"), text(&fork, "/status")));
    Ok(ExitCode::SUCCESS)
}

/// Shows what two executions did differently.
pub(crate) async fn diff(what: &Diff, output: &Output) -> Result<ExitCode> {
    let other = path(&what.right, "");
    let other = other.strip_prefix("/v1/executions/").unwrap_or_default();
    let path = path(&what.left, &format!("/diff/{other}"));
    let diff = client(&what.server)?.get(&path).await?;
    if what.json {
        output.line(&serde_json::to_string_pretty(&diff)?);
        return Ok(ExitCode::SUCCESS);
    }
    for side in ["left", "right"] {
        let at = |name: &str| text(&diff, &format!("/{side}/{name}"));
        let name = output.paint(Colour::Dim, &format!("{side:<6}"));
        let digest = at("digest").get(..12).unwrap_or_default().to_owned();
        output.line(&format!(
            "{name} {} {} {} ({digest}) {}, {} transitions",
            at("execution_id"),
            at("workflow"),
            at("version"),
            at("status"),
            at("transitions"),
        ));
    }
    let same = text(&diff, "/same");
    match diff.get("parted_at") {
        None => output.line(&format!("the same transitions; {same} runs of tasks")),
        Some(position) => output.line(&format!(
            "they part at transition {position}; {same} runs of tasks are the same, these are not:"
        )),
    }
    for task in diff.get("tasks").and_then(Value::as_array).into_iter().flatten() {
        output.line(&format!("{:<10} {}", text(task, "/difference"), text(task, "/task")));
        for (sign, side, colour) in [("-", "left", Colour::Red), ("+", "right", Colour::Green)] {
            if let Some(value) = task.get(side) {
                let line = format!("           {sign} {}", short(Some(value)));
                output.line(&output.paint(colour, &line));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes an execution as a file.
pub(crate) async fn export(what: &Export, output: &Output) -> Result<ExitCode> {
    let file = client(&what.server)?.get(&path(&what.id, "/export")).await?;
    let text = serde_json::to_string_pretty(&file)?;
    match &what.output {
        None => output.line(&text),
        Some(file) => std::fs::write(file, text + "\n")
            .with_context(|| format!("cannot write {}", file.display()))?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Brings an exported execution back.
pub(crate) async fn import(what: &Import, output: &Output) -> Result<ExitCode> {
    let text_of_file = read(&what.file)?;
    let client = client(&what.server)?;
    let request = client
        .request(Method::POST, "/v1/executions/import")
        .header(header::CONTENT_TYPE, "application/json")
        .body(text_of_file);
    let imported = client.json(request).await.with_context(|| what.file.display().to_string())?;
    output.line(&format!("{} {}", text(&imported, "/execution_id"), text(&imported, "/status")));
    Ok(ExitCode::SUCCESS)
}

/// Says what a new version would change; exit code 1 where it would change something.
pub(crate) async fn workflows(what: &Workflows, output: &Output) -> Result<ExitCode> {
    let Workflows::Check { file, json, server } = what;
    let client = client(server)?;
    let request = client
        .request(Method::POST, "/v1/workflows/check")
        .header(header::CONTENT_TYPE, "application/yaml")
        .body(read(file)?);
    let check = client.json(request).await.with_context(|| file.display().to_string())?;
    let differ = version_check::count(&check);
    if *json {
        output.line(&serde_json::to_string_pretty(&check)?);
    } else {
        output.line(&format!(
            "{} {}: executions that run: {} checked, {} not; would have gone another way: {differ}",
            text(&check, "/name"),
            text(&check, "/version"),
            text(&check, "/checked"),
            text(&check, "/unchecked"),
        ));
        version_check::lines(&check).iter().for_each(|line| output.line(line));
    }
    Ok(if differ == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What stands at a pointer, as text.
fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

/// The beginning of a value.
fn short(value: Option<&Value>) -> String {
    let mut text = value.map(Value::to_string).unwrap_or_default();
    if let Some((end, _)) = text.char_indices().nth(WIDTH) {
        text.truncate(end);
        text.push('…');
    }
    text
}
