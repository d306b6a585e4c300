//! Deliverables, by the REST interface of the gateway.

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, bail};
use muster_runtime::files::piped_text;
use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::{
    cli::{Deliverables, Listed, Published},
    client::Client,
    demo::report::grouped,
    output::{Colour, Output},
};

/// A platform that is just starting gets this long.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest content that is read, in bytes; the gateway takes less.
const LARGEST: u64 = 64 << 20;
/// The most that the gateway lists at once.
const PAGE: u64 = 1000;

pub(crate) async fn deliverables(what: &Deliverables, output: &Output) -> Result<ExitCode> {
    match what {
        Deliverables::Ls(listed) => ls(listed, output).await?,
        Deliverables::Get { address, notice, json, server } => {
            let client = Client::new(&server.server, PATIENCE)?;
            let query = if *notice { "?notice=true" } else { "" };
            let found = client.get(&format!("{}{query}", path(address)?)).await?;
            if *notice || *json {
                output.line(&serde_json::to_string_pretty(&found)?);
            } else {
                output.line(text(&found, "content"));
            }
        }
        Deliverables::Publish(published) => publish(published, output).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn ls(listed: &Listed, output: &Output) -> Result<()> {
    let client = Client::new(&listed.server.server, PATIENCE)?;
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let missing = listed.limit.saturating_sub(found.len() as u64);
        let page = client.get(&query(listed, missing.min(PAGE), after.as_deref())?).await?;
        found.extend(
            page.get("deliverables").and_then(Value::as_array).cloned().unwrap_or_default(),
        );
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() || found.len() as u64 >= listed.limit {
            break;
        }
    }
    if listed.json {
        output.line(&serde_json::to_string_pretty(&found)?);
        return Ok(());
    }
    let head = format!("{:<25}  {:>8}  {:>10}  ADDRESS", "STORED", "TOKENS", "BYTES");
    output.line(&output.paint(Colour::Bold, &head));
    for one in &found {
        let tokens = one.get("tokens").and_then(Value::as_u64);
        let bytes = one.get("bytes").and_then(Value::as_u64).unwrap_or_default();
        let at: String = text(one, "at").chars().take(19).collect();
        output.line(&format!(
            "{:<25}  {:>8}  {:>10}  {}",
            format!("{at}Z"),
            tokens.map_or_else(|| "?".to_owned(), grouped),
            grouped(bytes),
            text(one, "address")
        ));
    }
    if after.is_some() {
        output.line("(there are more: --limit)");
    }
    Ok(())
}

fn query(listed: &Listed, limit: u64, after: Option<&str>) -> Result<String> {
    let mut url = Url::parse("http://any/v1/deliverables")?;
    let limit = limit.to_string();
    let given = [
        ("team", listed.team.as_deref()),
        ("agent", listed.agent.as_deref()),
        ("type", listed.kind.as_deref()),
        ("feature", listed.feature.as_deref()),
        ("execution", listed.execution.as_deref()),
        ("versions", listed.versions.then_some("true")),
        ("after", after),
        ("limit", Some(limit.as_str())),
    ];
    for (name, value) in given {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
    Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

async fn publish(published: &Published, output: &Output) -> Result<()> {
    let content = piped_text(&published.file, LARGEST)?;
    let parts: Vec<&str> = published.address.split('/').collect();
    let (team, agent, kind, feature) = match parts.as_slice() {
        ["deliverables", agent, kind, feature] => (None, agent, kind, feature),
        ["deliverables", team, agent, kind, feature] => (Some(team), agent, kind, feature),
        _ => bail!(wrong(&published.address)),
    };
    let mut body = json!({"agent": agent, "type": kind, "feature": feature, "content": content});
    if let Some(fields) = body.as_object_mut() {
        fields.extend(team.map(|team| ("team".to_owned(), json!(team))));
        fields
            .extend(published.execution.as_ref().map(|id| ("execution_id".to_owned(), json!(id))));
    }
    let client = Client::new(&published.server.server, PATIENCE)?;
    let mut request = client.request(Method::POST, "/v1/deliverables").json(&body);
    if let Some(key) = &published.key {
        request = request.header("idempotency-key", key);
    }
    let stored = client.json(request).await?;
    if published.json {
        output.line(&serde_json::to_string_pretty(&stored)?);
        return Ok(());
    }
    let tokens = stored.get("tokens").and_then(Value::as_u64).unwrap_or_default();
    let known = stored.get("duplicate").and_then(Value::as_bool).unwrap_or_default();
    let what = if known { "was there already" } else { "stored" };
    output.line(&format!("{}: {what}, {} tokens", text(&stored, "address"), grouped(tokens)));
    Ok(())
}

/// The path of an address, with its parts escaped.
fn path(address: &str) -> Result<String> {
    let mut url = Url::parse("http://any/v1")?;
    let parts: Vec<&str> = address.split('/').collect();
    if !matches!(parts.len(), 4 | 5) || parts.first() != Some(&"deliverables") {
        bail!(wrong(address));
    }
    url.path_segments_mut().map_err(|()| anyhow::anyhow!("no path"))?.extend(parts);
    Ok(url.path().to_owned())
}

fn wrong(address: &str) -> String {
    format!(
        "the address is {address:?}, but it must be like deliverables/researcher/report/e1-r1 or deliverables/agog/roy/backend/csv-export: `muster deliverables ls` lists them"
    )
}

fn text<'a>(data: &'a Value, field: &str) -> &'a str {
    data.get(field).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_path_and_what_is_none_is_refused() {
        let good = path("deliverables/agog/roy/backend/csv-export@7").unwrap();
        assert_eq!(good, "/v1/deliverables/agog/roy/backend/csv-export@7");
        for bad in ["", "roy/backend", "deliverables/a/b", "x/a/b/c"] {
            assert!(path(bad).unwrap_err().to_string().contains("must be like"), "{bad}");
        }
    }
}
