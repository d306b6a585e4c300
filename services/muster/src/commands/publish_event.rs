//! Publishes events through the gateway.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use chrono::{SecondsFormat, Utc};
use reqwest::{Method, header};
use serde_json::{Map, Value};

use super::validate::read;
use crate::{cli::Publish, client::Client, output::Output};

const STRUCTURED: &str = "application/cloudevents+json";
const BATCH: &str = "application/cloudevents-batch+json";
/// A platform that is just starting gets this long.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn publish(what: &Publish, output: &Output) -> Result<ExitCode> {
    let event = event(what)?;
    let media = if event.is_array() { BATCH } else { STRUCTURED };
    let client = Client::new(&what.server.server, PATIENCE)?;
    let request = client.request(Method::POST, "/v1/events");
    let request = request.header(header::CONTENT_TYPE, media).body(event.to_string());
    let answer = client.json(request).await?;
    for event in answer.get("events").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| event.get(name).and_then(Value::as_str).unwrap_or_default();
        let again = event.get("duplicate") == Some(&Value::Bool(true));
        let note = if again { " (was there already)" } else { "" };
        output.line(&format!("{} {} {}{note}", text("type"), text("source"), text("id")));
    }
    Ok(ExitCode::SUCCESS)
}

/// The event, or the list of events.
fn event(what: &Publish) -> Result<Value> {
    let mut event = match &what.file {
        None => Map::new(),
        Some(file) => {
            let parsed = serde_json::from_str(&read(file)?);
            match parsed.with_context(|| format!("{} is no JSON", file.display()))? {
                Value::Object(event) => event,
                Value::Array(events) => return Ok(Value::Array(events)),
                other => bail!(
                    "{} has {other:.100}, but it must have an event (an object) or a list of events",
                    file.display()
                ),
            }
        }
    };
    let data = what.data.as_deref().map(|data| {
        serde_json::from_str::<Value>(data).with_context(|| {
            format!(
                "--data is {data:?}, but it must be JSON; a text has quotes of its own: '\"text\"'"
            )
        })
    });
    if let Some(data) = data {
        event.insert("data".to_owned(), data?);
    }
    for attribute in &what.attributes {
        let (name, value) = attribute.split_once('=').ok_or_else(|| {
            anyhow!("--attribute is {attribute:?}, but it must be NAME=VALUE such as roomid=7")
        })?;
        event.insert(name.to_owned(), Value::String(value.to_owned()));
    }
    let given = [("type", &what.kind), ("id", &what.id), ("subject", &what.subject)];
    for (name, value) in given {
        if let Some(value) = value {
            event.insert(name.to_owned(), Value::String(value.clone()));
        }
    }
    let mut missing = |name: &str, value: String| {
        event.entry(name.to_owned()).or_insert(Value::String(value));
    };
    missing("specversion", "1.0".to_owned());
    missing("id", uuid::Uuid::now_v7().to_string());
    missing("source", what.source.clone());
    missing("time", Utc::now().to_rfc3339_opts(SecondsFormat::Millis, true));
    Ok(Value::Object(event))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::cli::{Cli, Command, Events};

    fn made(arguments: &[&str]) -> Result<Value> {
        let all = ["muster", "events", "publish"].iter().chain(arguments);
        match Cli::try_parse_from(all)?.command {
            Command::Events(Events::Publish(what)) => event(&what),
            other => bail!("{other:?}"),
        }
    }

    #[test]
    fn an_event_is_made_of_its_parts() {
        let event = made(&[
            "--type",
            "order.placed",
            "--source",
            "https://example.com",
            "--id",
            "7",
            "--subject",
            "x",
            "--data",
            "{\"n\": 1}",
            "--attribute",
            "roomid=a=b",
        ])
        .unwrap();
        let time = event.get("time").cloned();
        assert_eq!(
            event,
            json!({
                "specversion": "1.0", "id": "7", "source": "https://example.com", "type": "order.placed",
                "subject": "x", "roomid": "a=b", "data": {"n": 1}, "time": time,
            })
        );
    }

    #[test]
    fn what_is_wrong_is_told_with_its_value() {
        let check = |arguments: &[&str], expected: &str| {
            let error = format!("{:#}", made(arguments).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(&["--type", "a", "--data", "hello"], "--data is \"hello\", but it must be JSON");
        check(
            &["--type", "a", "--attribute", "room"],
            "--attribute is \"room\", but it must be NAME=VALUE",
        );
        check(&["--file", "/nowhere"], "cannot read /nowhere");
        check(&[], "--type");
    }
}
