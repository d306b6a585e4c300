//! Publishes a message of the contract that a person wrote.

use std::{
    io::{Read as _, stdin},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use muster_bus::{Bus, MessageId};
use muster_contracts::{CATALOGUE, Entry, Kind, subject};
use muster_runtime::Env;
use serde_json::{Map, Value, json};

use super::streams::operator;
use crate::{cli::NewMessage, contracts::fields, output::Output};

/// How long the server may take to let us in.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest body that is read, in bytes: a service puts larger ones into an object store.
const LARGEST: u64 = 512 * 1024;

pub(crate) async fn publish(what: &NewMessage, output: &Output) -> Result<ExitCode> {
    let text = match what.body.as_str() {
        "-" => read()?,
        text => text.to_owned(),
    };
    let entry = entry(&what.subject)?;
    let body = body(entry, &what.subject, &text)?;
    if what.check {
        output.line(&format!("{} may be published on {}", entry.message, what.subject));
        return Ok(ExitCode::SUCCESS);
    }
    let bus = Bus::open(operator(&Env::of_process())?).await?;
    bus.connected(PATIENCE).await.context("messages are published at NATS_URL by the user `operator` (NATS_PASSWORD_OPERATOR, or NATS_USER and NATS_PASSWORD; beside `make up`, `eval \"$(python3 deploy/local/servers.py env)\"` sets them)")?;
    let id = match &what.id {
        Some(id) => MessageId::derived(["publish", id.as_str()]),
        None => MessageId::random(),
    };
    let stored = bus.publish_by_hand(entry, &what.subject, &body, &id).await?;
    let stream = entry.stream.map_or("", muster_contracts::Stream::name);
    if what.json {
        let line = json!({
            "subject": what.subject, "message": entry.message, "stream": stream,
            "sequence": stored.sequence, "duplicate": stored.duplicate, "id": id.as_str(),
        });
        output.line(&line.to_string());
        return Ok(ExitCode::SUCCESS);
    }
    let place = match (stored.sequence, stored.duplicate) {
        (0, _) => format!("sent to {stream}, which does not acknowledge"),
        (sequence, false) => format!("stored in {stream} at {sequence}"),
        (sequence, true) => format!("was in {stream} already, at {sequence}"),
    };
    output.line(&format!("{}: {place}, id {}", what.subject, id.as_str()));
    Ok(ExitCode::SUCCESS)
}

fn read() -> Result<String> {
    let mut text = String::new();
    let read = stdin().take(LARGEST + 1).read_to_string(&mut text);
    read.context("the body cannot be read from standard input")?;
    Ok(text)
}

/// What the contract says about a subject.
fn entry(given: &str) -> Result<&'static Entry> {
    let tokens: Vec<&str> = given.split('.').collect();
    let plain = |token: &&str| {
        !token.is_empty() && !token.contains(|c: char| c.is_whitespace() || "*>{}".contains(c))
    };
    ensure!(
        tokens.iter().all(plain),
        "{given:?} is no subject: it must have tokens with dots between and no wildcards, such as agent.critic.status"
    );
    let fits = |entry: &&Entry| subject::covers(&subject::pattern(entry.subject), given);
    // A subject of words is nobody else's, also where it fits another's pattern.
    let order = |entry: &&Entry| (entry.subject.matches('{').count(), !is_published(entry));
    let Some(entry) = CATALOGUE.iter().filter(fits).min_by_key(order) else {
        bail!("the contract has no subject {given}; {}", alike(given));
    };
    let Entry { subject, message, .. } = entry;
    match entry.kind {
        Kind::Event | Kind::Command => Ok(entry),
        Kind::Request => bail!(
            "{subject} is a request ({message}), which wants an answer: `nats request {given}` asks it"
        ),
        Kind::Journal => {
            bail!("{subject} is a journal ({message}), which its service alone writes")
        }
        Kind::Token => bail!("{subject} is a live stream ({message}), which keeps nothing"),
    }
}

fn is_published(entry: &Entry) -> bool {
    matches!(entry.kind, Kind::Event | Kind::Command)
}

/// Subjects that begin like one, for errors.
fn alike(given: &str) -> String {
    let first = given.split('.').next().unwrap_or_default();
    let published = |entry: &&Entry| is_published(entry);
    let begins = |entry: &&Entry| entry.subject.split('.').next() == Some(first);
    let mut near: Vec<&str> =
        CATALOGUE.iter().filter(published).filter(begins).map(|entry| entry.subject).collect();
    near.sort_unstable();
    near.dedup();
    if near.is_empty() {
        let mut areas: Vec<&str> = CATALOGUE
            .iter()
            .filter(published)
            .filter_map(|entry| entry.subject.split('.').next())
            .filter(|area| !area.starts_with('{'))
            .collect();
        areas.sort_unstable();
        areas.dedup();
        return format!("subjects begin with one of {}", areas.join(", "));
    }
    format!("those that begin with {first} are {}", near.join(", "))
}

/// The body, with what the subject says of it.
fn body(entry: &Entry, given: &str, text: &str) -> Result<Value> {
    ensure!(
        u64::try_from(text.len()).is_ok_and(|size| size <= LARGEST),
        "the body has {} bytes, but may have at most {LARGEST}",
        text.len()
    );
    let parsed: Value = serde_json::from_str(text).context("the body is no JSON")?;
    let Value::Object(mut body) = parsed else {
        bail!(
            "the body is {parsed:.80}, but must be a JSON object such as {{\"agent_id\": \"a\"}}"
        );
    };
    address(entry.subject, given, &mut body)?;
    let body = Value::Object(body);
    fields::check(entry.message, &body)?;
    let message = muster_contracts::MessageType::named(entry.message)
        .ok_or_else(|| anyhow!("the contract has no message {}", entry.message))?;
    ensure!(
        message.sealed.is_empty(),
        "{} has fields that only services can encrypt: {}",
        entry.message,
        message.sealed.join(", ")
    );
    let missing = message
        .missing(body.to_string().as_bytes())
        .map_err(|error| anyhow!("the body is no {}: {error}", entry.message))?;
    if let Some(field) = missing {
        bail!("{} needs `{field}`; docs/events.md says what it means", entry.message);
    }
    Ok(body)
}

/// Fields that are tokens of the subject are those that it says.
fn address(template: &str, given: &str, body: &mut Map<String, Value>) -> Result<()> {
    for (word, token) in template.split('.').zip(given.split('.')) {
        let Some(field) = word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) else {
            continue;
        };
        match body.get(field) {
            None | Some(Value::Null) => {
                body.insert(field.to_owned(), Value::String(token.to_owned()));
            }
            Some(Value::String(value)) if value == token => {}
            Some(Value::Number(value)) if value.to_string() == token => {}
            Some(other) => bail!(
                "`{field}` is {other:.80} in the body, but {token:?} in the subject {given}: they must be the same"
            ),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(subject: &str, text: &str) -> Result<Value> {
        body(entry(subject)?, subject, text)
    }

    #[test]
    fn a_body_gets_what_its_subject_says() {
        let body = checked("agent.critic.status", r#"{"status": "idle"}"#).unwrap();
        assert_eq!(body, json!({ "agent_id": "critic", "status": "idle" }));
    }

    #[test]
    fn what_the_contract_does_not_have_is_refused_by_its_name() {
        let check = |subject: &str, text: &str, expected: &str| {
            let error = format!("{:#}", checked(subject, text).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check(
            "agnt.x",
            "{}",
            "the contract has no subject agnt.x; subjects begin with one of agent,",
        );
        check("tool.nothing", "{}", "those that begin with tool are tool.execution.cancelled, ");
        check("agent.*.inbox", "{}", "is no subject");
        check("agent..inbox", "{}", "is no subject");
        check("tool.execute", "{}", "tool.execute is a request");
        let started = "tool.execution.started";
        check(started, "[1]", "the body is [1], but must be a JSON object");
        check(started, "{", "the body is no JSON");
        check("agent.a.inbox", "{}", "has fields that only services can encrypt: content");
        check(started, "{}", "needs `tool`");
        check(started, r#"{"tool": 7}"#, "the body is no muster.tool.v1.ToolExecutionStarted");
        check(started, r#"{"tool": "x", "tol": 1}"#, "has no field `tol`");
        check(
            "agent.a.status",
            r#"{"agent_id": "b"}"#,
            "`agent_id` is \"b\" in the body, but \"a\" in the",
        );
    }
}
