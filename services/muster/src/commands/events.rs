//! Reads streams again, or as they grow, without touching those who consume them.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use chrono::{SecondsFormat, Utc};
use futures::StreamExt as _;
use muster_bus::{Bus, Recorded, Start};
use muster_contracts::{Stream, subject};
use muster_runtime::Env;
use serde_json::{Value, json};

use super::{publish_event, streams::operator};
use crate::{
    cli::{Events, Part},
    moment::moment,
    output::{Colour, Output},
};

/// How long the server may take to let us in.
const PATIENCE: Duration = Duration::from_secs(10);
/// So much of a body stands in a line.
const WIDTH: usize = 160;

pub(crate) async fn events(what: &Events, output: &Output) -> Result<ExitCode> {
    match what {
        Events::Replay(reading) => replay(&reading.stream, &reading.part, output).await,
        Events::Publish(what) => publish_event::publish(what, output).await,
        Events::Tail(reading) => {
            let part = &reading.part;
            let (stream, patterns) = chosen(&reading.stream, &part.subjects)?;
            let start = since(part.since.as_deref(), Start::Now)?;
            let messages = connect().await?.tail(stream, start, patterns).await?;
            let mut messages = Box::pin(messages);
            while let Some(message) = messages.next().await {
                show(stream, &message, part.json, output);
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

pub(crate) async fn replay(stream: &str, part: &Part, output: &Output) -> Result<ExitCode> {
    let (stream, patterns) = chosen(stream, &part.subjects)?;
    let start = since(part.since.as_deref(), Start::Sequence(1))?;
    let mut messages = Box::pin(connect().await?.replay(stream, start, patterns));
    while let Some(message) = messages.next().await {
        show(stream, &message?, part.json, output);
    }
    Ok(ExitCode::SUCCESS)
}

/// A connection of an operator.
async fn connect() -> Result<Bus> {
    let bus = Bus::open(operator(&Env::of_process())?).await?;
    bus.connected(PATIENCE).await.context("streams are read at NATS_URL by the user `operator` (NATS_PASSWORD_OPERATOR, or NATS_USER and NATS_PASSWORD; beside `make up`, `eval \"$(python3 deploy/local/servers.py env)\"` sets them)")?;
    Ok(bus)
}

fn chosen(name: &str, patterns: &[String]) -> Result<(Stream, Vec<String>)> {
    let Some(stream) = Stream::ALL.iter().copied().find(|stream| stream.name() == name) else {
        let names: Vec<&str> = Stream::ALL.iter().map(|stream| stream.name()).collect();
        bail!("there is no stream {name:?}; the streams are {}", names.join(", "));
    };
    let subjects = stream.subjects();
    for pattern in patterns {
        let tokens: Vec<&str> = pattern.split('.').collect();
        let wild = tokens.iter().position(|token| *token == ">");
        if tokens.iter().any(|token| token.is_empty() || token.contains(char::is_whitespace))
            || wild.is_some_and(|place| place + 1 != tokens.len())
        {
            bail!(
                "{pattern:?} is no pattern of subjects: write tokens with dots between, `*` for any token and `>` at the end for any rest, such as agent.*.inbox or agent.>"
            );
        }
        let copies = !stream.settings().sources.is_empty();
        if !copies && !subjects.iter().any(|subject| subject::overlaps(subject, pattern)) {
            bail!("{name} has no subject that fits {pattern:?}; it has {}", subjects.join(", "));
        }
    }
    Ok((stream, patterns.to_vec()))
}

fn since(text: Option<&str>, usual: Start) -> Result<Start> {
    let Some(text) = text else { return Ok(usual) };
    if let Ok(sequence) = text.parse() {
        return Ok(Start::Sequence(sequence));
    }
    let time = moment(text, Utc::now());
    Ok(Start::Time(time.map_err(|error| anyhow!("--since: {error}, or a sequence such as 1200"))?))
}

fn show(stream: Stream, message: &Recorded, as_json: bool, output: &Output) {
    let body = serde_json::from_slice(&message.body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&message.body).into_owned()));
    let time = message.time.to_rfc3339_opts(SecondsFormat::Millis, true);
    if as_json {
        let line = json!({
            "stream": stream.name(), "sequence": message.sequence, "time": time, "subject": message.subject, "id": message.id,
            "type": message.message_type, "source": message.source, "execution_id": message.execution_id, "body": body,
        });
        return output.line(&line.to_string());
    }
    let mut text: String = body.to_string();
    if let Some((end, _)) = text.char_indices().nth(WIDTH) {
        text.truncate(end);
        text.push('…');
    }
    let place = output.paint(Colour::Dim, &format!("{:>8} {time}", message.sequence));
    let subject = output.paint(Colour::Bold, &message.subject);
    output.line(&format!("{place} {subject} {text}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_that_cannot_fit_is_refused_with_what_there_is() {
        let check = |stream: &str, pattern: &str, expected: &str| {
            let error = chosen(stream, &[pattern.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        };
        check("EXECUTION", ">", "there is no stream \"EXECUTION\"; the streams are EXECUTIONS,");
        check("DLQ", "agent.>", "DLQ has no subject that fits \"agent.>\"; it has ");
        check("DLQ", "dlq..x", "is no pattern of subjects");
        check("DLQ", "dlq.>.x", "is no pattern of subjects");
        assert!(chosen("FACTS", &["facts.tech_stack.>".to_owned()]).is_ok());
        assert!(chosen("EXECUTIONS", &[]).is_ok());
    }

    #[test]
    fn since_is_a_sequence_or_a_time() {
        assert_eq!(since(None, Start::Now).unwrap(), Start::Now);
        assert_eq!(since(Some("1200"), Start::Now).unwrap(), Start::Sequence(1200));
        assert!(matches!(since(Some("1h"), Start::Now).unwrap(), Start::Time(_)));
        let error = format!("{:#}", since(Some("soon"), Start::Now).unwrap_err());
        let start = "--since: \"soon\" is no time: write 30s, 15m, 12h or 30d for so long ago";
        assert!(
            error.starts_with(start) && error.ends_with("or a sequence such as 1200"),
            "{error}"
        );
    }
}
