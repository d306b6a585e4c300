//! Dead letters, by the REST interface of the gateway.

use std::{process::ExitCode, time::Duration};

use anyhow::{Result, anyhow, bail};
use chrono::{SecondsFormat, Utc};
use reqwest::{Method, Url};
use serde_json::{Value, json};

use crate::{
    cli::{Chosen, Dlq, Which},
    client::Client,
    moment::moment,
    output::{Colour, Output},
};

const PATH: &str = "/v1/dead-letters";
/// So much of a reason stands in a line of the list.
const WIDTH: usize = 100;

pub(crate) async fn dlq(what: &Dlq, output: &Output) -> Result<ExitCode> {
    // A service that does not run is no reason to ask for ten seconds.
    let client = |server: &crate::cli::Server| Client::new(&server.server, Duration::ZERO);
    match what {
        Dlq::Ls { chosen, limit, json, server } => {
            ls(&client(server)?, chosen, usize::from(*limit), *json, output).await
        }
        Dlq::Show { sequence, json, server } => {
            show(&client(server)?, *sequence, *json, output).await
        }
        Dlq::Replay { which, rate, json, server } => {
            let client = client(server)?;
            if which.sequences.is_empty() {
                replay_many(&client, which, u32::from(*rate), *json, output).await
            } else {
                replay_each(&client, &which.sequences, *json, output).await
            }
        }
        Dlq::Purge { which, yes, server } => purge(&client(server)?, which, *yes, output).await,
    }
}

async fn ls(
    client: &Client,
    chosen: &Chosen,
    limit: usize,
    as_json: bool,
    output: &Output,
) -> Result<ExitCode> {
    let mut query = filter(chosen)?;
    query.push(("limit", limit.to_string()));
    let page = page(client, &query).await?;
    if as_json {
        output.line(&serde_json::to_string_pretty(&page)?);
        return Ok(ExitCode::SUCCESS);
    }
    let letters = page.get("dead_letters").and_then(Value::as_array).into_iter().flatten();
    let mut letters = letters.peekable();
    if letters.peek().is_none() {
        output.line("no dead letters");
        return Ok(ExitCode::SUCCESS);
    }
    let head = format!(
        "{:>8}  {:<20}  {:<14}  {:>5}  {:<40}  REASON",
        "SEQUENCE", "LAST TRY", "CODE", "TRIES", "CONSUMER"
    );
    output.line(&output.paint(Colour::Bold, &head));
    for letter in letters {
        let mut reason = text(letter, "/reason").replace('\n', " ");
        if let Some((end, _)) = reason.char_indices().nth(WIDTH) {
            reason.truncate(end);
            reason.push('…');
        }
        output.line(&format!(
            "{:>8}  {:<20}  {:<14}  {:>5}  {:<40}  {reason}",
            text(letter, "/sequence"),
            text(letter, "/last_at").get(..19).unwrap_or_default(),
            text(letter, "/code"),
            text(letter, "/deliveries"),
            text(letter, "/consumer"),
        ));
    }
    if page.get("next").is_some() {
        output.line(&output.paint(
            Colour::Dim,
            &format!(
                "there are more than {limit}: --limit shows up to 1000, filters narrow the list"
            ),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(client: &Client, sequence: u64, as_json: bool, output: &Output) -> Result<ExitCode> {
    let letter = client.get(&format!("{PATH}/{sequence}")).await?;
    if as_json {
        output.line(&serde_json::to_string_pretty(&letter)?);
        return Ok(ExitCode::SUCCESS);
    }
    for (name, pointer) in [
        ("sequence", "/sequence"),
        ("code", "/code"),
        ("reason", "/reason"),
        ("tries", "/deliveries"),
        ("first", "/first_at"),
        ("last", "/last_at"),
        ("consumer", "/consumer"),
        ("service", "/service"),
        ("stream", "/message/stream"),
        ("place", "/message/sequence"),
        ("subject", "/message/subject"),
        ("type", "/message/type"),
        ("id", "/message/id"),
        ("execution", "/message/execution_id"),
    ] {
        output.line(&format!(
            "{} {}",
            output.paint(Colour::Dim, &format!("{name:<10}")),
            text(&letter, pointer)
        ));
    }
    output.heading("headers");
    let headers = letter.pointer("/message/headers").and_then(Value::as_object);
    for (name, value) in headers.into_iter().flatten() {
        output.line(&format!("{name}: {}", value.as_str().unwrap_or_default()));
    }
    output.heading("body");
    match letter.pointer("/message/body") {
        Some(body) => output.line(&serde_json::to_string_pretty(body)?),
        None => {
            output.line(&format!("not JSON, in base64: {}", text(&letter, "/message/body_base64")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn replay_each(
    client: &Client,
    sequences: &[u64],
    as_json: bool,
    output: &Output,
) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for sequence in sequences {
        let replay = client.request(Method::POST, &format!("{PATH}/{sequence}/replay"));
        let ended = match client.json(replay).await {
            Ok(ended) => ended,
            Err(error) => {
                code = ExitCode::FAILURE;
                output.line(&format!(
                    "{sequence} {}: {error:#}",
                    output.paint(Colour::Red, "failed")
                ));
                continue;
            }
        };
        if as_json {
            output.line(&ended.to_string());
        }
        let told = match text(&ended, "/outcome").as_str() {
            "handled" => format!("{sequence} {}", output.paint(Colour::Green, "handled")),
            "running" => format!("{sequence} still runs; its letter goes when it is handled"),
            _ => {
                code = ExitCode::FAILURE;
                let why = format!("{}: {}", text(&ended, "/code"), text(&ended, "/reason"));
                let failed = output.paint(Colour::Red, "failed");
                format!(
                    "{sequence} {failed}, the letter is {} now: {why}",
                    text(&ended, "/sequence")
                )
            }
        };
        if !as_json {
            output.line(&told);
        }
    }
    Ok(code)
}

async fn replay_many(
    client: &Client,
    which: &Which,
    rate: u32,
    as_json: bool,
    output: &Output,
) -> Result<ExitCode> {
    named(which, "replay")?;
    let mut body: serde_json::Map<String, Value> = filter(&which.chosen)?
        .into_iter()
        .map(|(name, value)| (name.to_owned(), Value::String(value)))
        .collect();
    body.insert("rate".to_owned(), json!(rate));
    if which.all {
        body.insert("all".to_owned(), json!(true));
    }
    let mut failures = 0;
    loop {
        let request = client.request(Method::POST, &format!("{PATH}/replay")).json(&body);
        let batch = client.json(request).await?;
        let count = |name| batch.get(name).and_then(Value::as_u64).unwrap_or_default();
        failures += count("failed");
        if as_json {
            output.line(&batch.to_string());
        } else {
            let (handled, failed, running) = (count("handled"), count("failed"), count("running"));
            output.line(&format!("{handled} handled, {failed} failed, {running} still run"));
            for error in batch.get("errors").and_then(Value::as_array).into_iter().flatten() {
                output.line(&format!("  {}: {}", text(error, "/sequence"), text(error, "/error")));
            }
        }
        let Some(next) = batch.get("next") else { break };
        body.insert("cursor".to_owned(), next.clone());
    }
    Ok(if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn purge(client: &Client, which: &Which, yes: bool, output: &Output) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    for sequence in &which.sequences {
        let removal = client.request(Method::DELETE, &format!("{PATH}/{sequence}"));
        match client.send(removal).await {
            Ok(_done) => output.line(&format!("{sequence} removed")),
            Err(error) => {
                code = ExitCode::FAILURE;
                output.line(&format!(
                    "{sequence} {}: {error:#}",
                    output.paint(Colour::Red, "failed")
                ));
            }
        }
    }
    if !which.sequences.is_empty() {
        return Ok(code);
    }
    named(which, "purge")?;
    let mut query = filter(&which.chosen)?;
    if !yes {
        query.push(("limit", "1000".to_owned()));
        let page = page(client, &query).await?;
        let count = page.get("dead_letters").and_then(Value::as_array).map_or(0, Vec::len);
        let more = if page.get("next").is_some() { "more than " } else { "" };
        bail!(
            "{more}{count} dead letters fit; nothing was removed: repeat the command with --yes to remove them"
        );
    }
    if which.all {
        query.push(("all", "true".to_owned()));
    }
    let purged = client.json(client.request(Method::DELETE, &path(&query)?)).await?;
    output.line(&format!("{} removed", text(&purged, "/purged")));
    Ok(ExitCode::SUCCESS)
}

/// A slip must not mean every letter.
fn named(which: &Which, verb: &str) -> Result<()> {
    if which.all || !filter(&which.chosen)?.is_empty() {
        return Ok(());
    }
    bail!(
        "which letters? Name their sequences, a filter such as --code INVALID, or --all: `muster dlq {verb} --all`"
    )
}

fn filter(chosen: &Chosen) -> Result<Vec<(&'static str, String)>> {
    let now = Utc::now();
    let time = |name: &str, text: &Option<String>| {
        let time = text.as_ref().map(|text| moment(text, now)).transpose();
        let time = time.map_err(|error| anyhow!("{name}: {error}"))?;
        anyhow::Ok(time.map(|time| time.to_rfc3339_opts(SecondsFormat::Millis, true)))
    };
    let fields = [
        ("stream", chosen.stream.clone()),
        ("consumer", chosen.consumer.clone()),
        ("code", chosen.code.clone()),
        ("type", chosen.message_type.clone()),
        ("execution_id", chosen.execution.clone()),
        ("since", time("--since", &chosen.since)?),
        ("until", time("--until", &chosen.until)?),
    ];
    Ok(fields.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

/// A list of letters.
async fn page(client: &Client, query: &[(&str, String)]) -> Result<Value> {
    let page = client.json(client.request(Method::GET, &path(query)?)).await?;
    if page.get("dead_letters").is_none_or(|letters| !letters.is_array()) {
        bail!("{}", client.is_another("its answer has no list `dead_letters`"));
    }
    Ok(page)
}

/// The path of the list with these parameters.
fn path(query: &[(&str, String)]) -> Result<String> {
    let url = Url::parse_with_params(&format!("http://gateway{PATH}"), query)?;
    Ok(format!("{}?{}", url.path(), url.query().unwrap_or_default()))
}

/// A value as people read it; `-` where it is absent.
fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => "-".to_owned(),
    }
}
