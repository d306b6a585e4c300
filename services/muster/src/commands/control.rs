//! Lists, shows and steers executions, by the REST interface of the gateway.

use std::{process::ExitCode, time::Duration};

use anyhow::Result;
use chrono::{SecondsFormat, Utc};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::time_travel::path;
use crate::{
    cli::{Ls, One, Server, Why},
    client::Client,
    moment::moment,
    output::{Colour, Output},
};

/// The most executions in one answer of the gateway.
const PAGE: u64 = 1000;

fn client(server: &Server) -> Result<Client> {
    Client::new(&server.server, Duration::ZERO)
}

/// Lists executions, those that began last first.
pub(crate) async fn ls(what: &Ls, output: &Output) -> Result<ExitCode> {
    let (client, mut query) = (client(&what.server)?, query(what)?);
    let (mut left, mut listed) = (what.limit, Vec::new());
    while left > 0 {
        query.push(("limit", left.min(PAGE).to_string()));
        let url = Url::parse_with_params("http://gateway/v1/executions", &query)?;
        let page = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let mut page = client.json(client.request(Method::GET, &page)).await?;
        if let Some(Value::Array(executions)) = page.get_mut("executions").map(Value::take) {
            left = left.saturating_sub(executions.len() as u64);
            listed.extend(executions);
        }
        let Some(next) = page.get("next").and_then(Value::as_str) else { break };
        query.retain(|(name, _)| !matches!(*name, "limit" | "cursor"));
        query.push(("cursor", next.to_owned()));
    }
    if what.json {
        output.line(&serde_json::to_string_pretty(&listed)?);
        return Ok(ExitCode::SUCCESS);
    }
    if listed.is_empty() {
        output.line("no executions");
        return Ok(ExitCode::SUCCESS);
    }
    let head = format!("{:<36}  {:<10}  {:<19}  WORKFLOW", "EXECUTION", "STATUS", "BEGUN");
    output.line(&output.paint(Colour::Bold, &head));
    for one in &listed {
        let begun = text(one, "/started_at");
        output.line(&format!(
            "{:<36}  {:<10}  {:<19}  {} {}",
            text(one, "/execution_id"),
            text(one, "/status"),
            begun.get(..19).unwrap_or(&begun),
            text(one, "/workflow"),
            text(one, "/version"),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// Shows an execution.
pub(crate) async fn get(what: &One, output: &Output) -> Result<ExitCode> {
    let state = client(&what.server)?.get(&path(&what.id, "")).await?;
    show(&state, what.json, output)
}

/// Cancels an execution, or lets it stand still.
pub(crate) async fn because(verb: &str, what: &Why, output: &Output) -> Result<ExitCode> {
    let client = client(&what.one.server)?;
    let request = client.request(Method::POST, &path(&what.one.id, &format!("/{verb}")));
    let state = client.json(request.json(&json!({"reason": what.reason}))).await?;
    show(&state, what.one.json, output)
}

/// Lets an execution go on.
pub(crate) async fn go_on(verb: &str, what: &One, output: &Output) -> Result<ExitCode> {
    let client = client(&what.server)?;
    let request = client.request(Method::POST, &path(&what.id, &format!("/{verb}")));
    show(&client.json(request).await?, what.json, output)
}

fn show(state: &Value, as_json: bool, output: &Output) -> Result<ExitCode> {
    if as_json {
        output.line(&serde_json::to_string_pretty(state)?);
        return Ok(ExitCode::SUCCESS);
    }
    for name in
        ["execution_id", "workflow", "version", "status", "reason", "started_at", "ended_at"]
    {
        if state.get(name).is_some() {
            let label = output.paint(Colour::Dim, &format!("{name:<12}"));
            output.line(&format!("{label} {}", text(state, &format!("/{name}"))));
        }
    }
    for (name, pointer) in [
        ("parent", "/parent/execution_id"),
        ("fork of", "/fork/execution_id"),
        ("fork at", "/fork/position"),
    ] {
        if state.pointer(pointer).is_some() {
            let label = output.paint(Colour::Dim, &format!("{name:<12}"));
            output.line(&format!("{label} {}", text(state, pointer)));
        }
    }
    for name in ["input", "output", "error"] {
        if let Some(value) = state.get(name) {
            let label = output.paint(Colour::Dim, &format!("{name:<12}"));
            output.line(&format!("{label} {value}"));
        }
    }
    for task in state.get("tasks").and_then(Value::as_array).into_iter().flatten() {
        let (status, kind) = (text(task, "/status"), text(task, "/kind"));
        let child = task.get("child_execution_id").and_then(Value::as_str);
        let child = child.map(|child| format!("  -> {child}")).unwrap_or_default();
        output.line(&format!("{status:<10} {kind:<8} {}{child}", text(task, "/task")));
    }
    Ok(ExitCode::SUCCESS)
}

fn query(what: &Ls) -> Result<Vec<(&'static str, String)>> {
    let time = |text: &Option<String>| {
        let time = text.as_ref().map(|text| moment(text, Utc::now())).transpose()?;
        anyhow::Ok(time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)))
    };
    let fields = [
        ("status", what.status.clone()),
        ("workflow", what.workflow.clone()),
        ("since", time(&what.since)?),
        ("until", time(&what.until)?),
    ];
    Ok(fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

/// A value as people read it; `-` where it is absent.
fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    }
}
