//! Registers the models, templates, tools, agents and workflows of a folder.

mod diff;
mod files;
mod kind;
mod plan;
mod said;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use self::files::{File, read_all};
use self::kind::Kind;
use self::plan::{Change, Planned, plan};
use super::version_check;
use crate::{
    client::Client,
    output::{Colour, Output},
};

/// A platform that is just starting gets this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to apply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// Only tell what would change.
    pub(crate) plan: bool,
    pub(crate) json: bool,
    /// A workflow on whose new version an execution that runs would have gone another way is refused.
    pub(crate) strict: bool,
}

pub(crate) async fn apply(
    folder: &Path,
    server: &str,
    how: How,
    output: &Output,
) -> Result<ExitCode> {
    let client = Client::new(server, PATIENCE)?;
    let planned = plan(&client, read_all(folder)?).await?;
    let mut checks = Vec::new();
    if !how.plan {
        // Told before all is done: where it fails in the middle, everybody sees how far it came.
        send_all(&client, &planned, how.strict, |planned, check| {
            if !how.json {
                planned.tell(output);
                tell_check(&check, output);
            }
            checks.push(check);
        })
        .await?;
    } else if !how.json {
        planned.iter().for_each(|planned| planned.tell(output));
    }
    if how.json {
        let checks = checks.into_iter().chain(std::iter::repeat(Value::Null));
        let told: Vec<Value> =
            planned.iter().zip(checks).map(|(one, check)| one.json(check)).collect();
        output.line(&serde_json::to_string_pretty(&told)?);
    } else {
        output.line(&summary(&planned, how.plan));
    }
    Ok(ExitCode::SUCCESS)
}

/// Registers everything. Returns the names of the workflows.
pub(crate) async fn register(
    client: &Client,
    folder: &Path,
    output: &Output,
) -> Result<Vec<String>> {
    let planned = plan(client, read_all(folder)?).await?;
    send_all(client, &planned, false, |planned, _check| output.line(&planned.title())).await?;
    let workflows = planned.iter().filter(|planned| planned.file.kind == Kind::Workflow);
    Ok(workflows.map(|planned| planned.file.name.clone()).collect())
}

/// What the new version of a workflow would have changed for the executions that run.
fn tell_check(check: &Value, output: &Output) {
    for line in version_check::lines(check) {
        output.line(&output.paint(Colour::Speaker(2), &format!("    would differ: {line}")));
    }
}

async fn send_all(
    client: &Client,
    planned: &[Planned],
    strict: bool,
    mut done: impl FnMut(&Planned, Value),
) -> Result<()> {
    for planned in planned {
        let check = match planned.change {
            Change::Unchanged => Value::Null,
            Change::Create | Change::Replace => send(client, &planned.file, strict).await?,
        };
        done(planned, check);
    }
    Ok(())
}

/// Registers a file. Returns what the platform found out about the executions that run.
async fn send(client: &Client, file: &File, strict: bool) -> Result<Value> {
    let path = match (file.kind, strict) {
        (Kind::Workflow, true) => "/v1/workflows?check=strict".to_owned(),
        (Kind::Workflow, false) => "/v1/workflows".to_owned(),
        _ => file.kind.path(&file.name),
    };
    let sent = client.put_yaml(&path, file.body()).await;
    sent.map(|sent| sent.get("check").cloned().unwrap_or_default())
        .map_err(|error| anyhow!(file.at(&format!("{error:#}"))))
        .with_context(|| format!("{} {} is not registered", file.kind.name(), file.name))
}

fn summary(planned: &[Planned], only_plan: bool) -> String {
    let count = |change| planned.iter().filter(|planned| planned.change == change).count();
    let (new, changed, same) =
        (count(Change::Create), count(Change::Replace), count(Change::Unchanged));
    if only_plan {
        format!("{new} to create, {changed} to change, {same} unchanged; nothing was done")
    } else {
        format!("{new} created, {changed} changed, {same} unchanged")
    }
}
