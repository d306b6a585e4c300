//! Calls that wait for somebody's approval, and what agents are told, by the REST interface of the gateway.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use super::rest::{client, path, show, text};
use crate::{
    cli::{Agents, Approvals, Decided, How, Message},
    output::{Colour, Output},
};

pub(crate) async fn approvals(what: &Approvals, output: &Output) -> Result<ExitCode> {
    match what {
        Approvals::Ls { status, agent, how } => ls((status, agent), how, output).await,
        Approvals::Show { id, how } => {
            show(&client(how)?.get(&path(["approvals", id])).await?, output)
        }
        Approvals::Approve { id, arguments, why } => {
            let arguments = arguments.as_deref().map(serde_json::from_str::<Value>).transpose();
            let arguments = arguments.context("--arguments must be a JSON object")?;
            let mut decision = json!({"decision": "approve", "by": why.by, "reason": why.reason});
            if let (Some(arguments), Some(fields)) = (arguments, decision.as_object_mut()) {
                fields.insert("arguments".to_owned(), arguments);
            }
            decide(id, &decision, why, output).await
        }
        Approvals::Reject { id, why } => {
            let decision = json!({"decision": "reject", "by": why.by, "reason": why.reason});
            decide(id, &decision, why, output).await
        }
    }
}

pub(crate) async fn agents(what: &Agents, output: &Output) -> Result<ExitCode> {
    match what {
        Agents::Status { name, how } => {
            let status = client(how)?.get(&format!("{}/status", path(["agents", name]))).await?;
            if how.json {
                return show(&status, output);
            }
            let stale =
                if status.get("stale") == Some(&Value::Bool(true)) { " (stale)" } else { "" };
            let (status, at) = (text(&status, "status"), text(&status, "timestamp"));
            output.line(&format!("{name}  {status}{stale}  {at}"));
            Ok(ExitCode::SUCCESS)
        }
        Agents::Send { name, message } => {
            send(&format!("{}/inbox", path(["agents", name])), message, output).await
        }
        Agents::Broadcast { message } => send("/v1/agents/broadcast", message, output).await,
    }
}

async fn ls(
    (status, agent): (&Option<String>, &Option<String>),
    how: &How,
    output: &Output,
) -> Result<ExitCode> {
    let wanted = [("status", status), ("agent", agent)];
    let query = wanted.iter().filter_map(|(name, value)| Some((*name, value.as_ref()?)));
    let url = Url::parse_with_params("http://gateway/v1/approvals", query)?;
    let page = format!("{}?{}", url.path(), url.query().unwrap_or_default());
    let list = client(how)?.get(&page).await?;
    if how.json {
        return show(&list, output);
    }
    let approvals = list.get("approvals").and_then(Value::as_array).cloned().unwrap_or_default();
    if approvals.is_empty() {
        output.line("no approvals");
        return Ok(ExitCode::SUCCESS);
    }
    let head = format!("{:<24}  {:<9}  {:<16}  CALL", "APPROVAL", "STATUS", "AGENT");
    output.line(&output.paint(Colour::Bold, &head));
    for one in &approvals {
        let arguments = one.get("arguments").map(Value::to_string).unwrap_or_default();
        output.line(&format!(
            "{:<24}  {:<9}  {:<16}  {} {:.100}",
            text(one, "approval_id"),
            text(one, "status"),
            text(one, "agent"),
            text(one, "tool"),
            arguments,
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn decide(id: &str, decision: &Value, why: &Decided, output: &Output) -> Result<ExitCode> {
    let client = client(&why.how)?;
    let request = client.request(Method::POST, &path(["approvals", id])).json(decision);
    let approval = client.json(request).await?;
    if why.how.json {
        return show(&approval, output);
    }
    output.line(&format!("{} {}", text(&approval, "tool"), text(&approval, "status")));
    Ok(ExitCode::SUCCESS)
}

async fn send(path: &str, message: &Message, output: &Output) -> Result<ExitCode> {
    let client = client(&message.how)?;
    let body = json!({
        "from_agent": message.from,
        "content": message.content,
        "message_type": message.kind,
    });
    let sent = client.json(client.request(Method::POST, path).json(&body)).await?;
    if message.how.json {
        return show(&sent, output);
    }
    output.line(&format!("sent {}", text(&sent, "id")));
    Ok(ExitCode::SUCCESS)
}
