//! Sets up the streams of the platform on a server, and shows them.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use muster_bus::{Bus, Plan, Settings, StreamChange, StreamInfo};
use muster_contracts::permissions::OPERATOR;
use muster_runtime::Env;
use serde_json::json;
use tracing::{info, warn};

use super::streams_file::named;
use crate::{
    cli::Streams,
    output::{Colour, Output},
};

/// How long the server may take to let us in.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn streams(what: &Streams, output: &Output) -> Result<ExitCode> {
    let env = Env::of_process();
    let settings = operator(&env)?;
    let percent = settings.bytes_percent;
    let bus = connect(settings).await?;
    match what {
        Streams::Apply { file, plan, json } => {
            let names = file.as_deref().map(named).transpose()?;
            let wanted = Wanted { names, only_plan: *plan, as_json: *json, percent };
            apply(&bus, wanted, output).await?;
        }
        Streams::Ls { json } => list(&bus.streams().list().await?, *json, output)?,
        Streams::Info { name, json } => match bus.streams().info(name).await? {
            Some(stream) => show(&stream, *json, output)?,
            None => bail!("there is no stream {name:?}: `muster streams ls` lists what is there"),
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// The settings of an operator: `NATS_PASSWORD_OPERATOR` and the like, or what all share.
pub(crate) fn operator(env: &Env) -> Result<Settings> {
    let mut settings = Settings::from_variables(OPERATOR, |name| env.get(name))?;
    settings.creates_streams = false;
    Ok(settings)
}

/// What `muster up` does beside its services where it has an operator's login: all streams become as the contract says, now or when the server is there.
pub(crate) async fn set_up(env: Env) {
    if env.get("NATS_PASSWORD_OPERATOR").is_none() {
        return;
    }
    if let Err(error) = set_up_once(&env).await {
        warn!(%error, "streams are not as the contract says: run `muster streams apply`");
    }
}

async fn set_up_once(env: &Env) -> Result<()> {
    let settings = operator(env)?;
    let percent = settings.bytes_percent;
    if percent < 100 {
        info!(
            percent,
            "streams have less than the contract's max_bytes (NATS_STREAM_BYTES_PERCENT)"
        );
    }
    let bus = Bus::open(settings).await?;
    bus.ready().await;
    let plan = bus.streams().plan().await?;
    for (stream, change) in plan.changes.iter().filter(|(_, change)| *change != StreamChange::None)
    {
        info!(stream, ?change, "set up");
    }
    bus.streams().apply(&plan).await?;
    Ok(())
}

/// A connection of an operator.
async fn connect(settings: Settings) -> Result<Bus> {
    let bus = Bus::open(settings).await?;
    bus.connected(PATIENCE).await.context("streams are set up and shown at NATS_URL by the user `operator` (NATS_PASSWORD_OPERATOR, or NATS_USER and NATS_PASSWORD; beside `make up`, `eval \"$(python3 deploy/local/servers.py env)\"` sets them)")?;
    Ok(bus)
}

/// What is to be applied, and how it is told.
struct Wanted {
    /// Absent: every stream.
    names: Option<Vec<String>>,
    only_plan: bool,
    as_json: bool,
    percent: u8,
}

async fn apply(bus: &Bus, wanted: Wanted, output: &Output) -> Result<()> {
    let Wanted { names, only_plan, as_json, percent } = wanted;
    let streams = bus.streams();
    let mut plan = streams.plan().await?;
    if let Some(names) = names {
        plan = plan.only(&names);
    }
    if as_json {
        output.line(&serde_json::to_string_pretty(&plan_json(&plan))?);
    } else {
        tell(&plan, output);
        if percent < 100 {
            output.line(&format!(
                "max_bytes are {percent} % of the contract's (NATS_STREAM_BYTES_PERCENT)"
            ));
        }
    }
    if !only_plan && !plan.is_empty() {
        streams.apply(&plan).await?;
    }
    Ok(())
}

fn tell(plan: &Plan, output: &Output) {
    for (name, change) in &plan.changes {
        match change {
            StreamChange::None => output.line(&format!("{name}: unchanged")),
            StreamChange::Create => {
                output.line(&format!("{name}: {}", output.paint(Colour::Green, "create")));
            }
            StreamChange::Update(differences) => {
                output.line(&format!("{name}: {}", output.paint(Colour::Bold, "change")));
                for difference in differences {
                    let (from, to) = (&difference.from, &difference.to);
                    output.line(&format!("  {}: {from} -> {to}", difference.field));
                }
            }
        }
    }
    output.line(&format!("{} of {} streams change", plan.len(), plan.changes.len()));
}

fn plan_json(plan: &Plan) -> serde_json::Value {
    let changes = plan.changes.iter().map(|(name, change)| match change {
        StreamChange::None => json!({"stream": name, "change": "unchanged"}),
        StreamChange::Create => json!({"stream": name, "change": "create"}),
        StreamChange::Update(differences) => {
            let fields = differences.iter().map(
                |difference| json!({"field": difference.field, "from": difference.from, "to": difference.to}),
            );
            json!({"stream": name, "change": "change", "fields": fields.collect::<Vec<_>>()})
        }
    });
    json!({"changes": plan.len(), "streams": changes.collect::<Vec<_>>()})
}

fn list(streams: &[StreamInfo], as_json: bool, output: &Output) -> Result<()> {
    if as_json {
        output.line(&serde_json::to_string_pretty(streams)?);
        return Ok(());
    }
    output.line(&output.paint(
        Colour::Bold,
        &format!("{:<26}{:>12}{:>16}{:>12}", "STREAM", "MESSAGES", "BYTES", "CONSUMERS"),
    ));
    for stream in streams {
        output.line(&format!(
            "{:<26}{:>12}{:>16}{:>12}",
            stream.name(),
            stream.messages,
            stream.bytes,
            stream.consumers
        ));
    }
    Ok(())
}

fn show(stream: &StreamInfo, as_json: bool, output: &Output) -> Result<()> {
    if as_json {
        output.line(&serde_json::to_string_pretty(stream)?);
        return Ok(());
    }
    for (name, value) in stream.config.as_object().into_iter().flatten() {
        output.line(&format!("{name:<24}{value}"));
    }
    let state = [
        ("messages", stream.messages.to_string()),
        ("bytes", stream.bytes.to_string()),
        ("first_sequence", stream.first_sequence.to_string()),
        ("last_sequence", stream.last_sequence.to_string()),
        ("consumers", stream.consumers.to_string()),
        ("created", stream.created.to_rfc3339()),
    ];
    for (name, value) in state {
        output.line(&format!("{name:<24}{value}"));
    }
    Ok(())
}
