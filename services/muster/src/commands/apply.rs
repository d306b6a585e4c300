//! Registers the models, templates, tools, agents and workflows of a folder.

mod diff;
mod files;
mod kind;
mod plan;

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use self::files::{File, read_all};
use self::kind::Kind;
use self::plan::{Change, Planned, plan};
use crate::{client::Client, output::Output};

/// A platform that is just starting gets this long.
const PATIENCE: Duration = Duration::from_secs(10);

/// How to apply.
#[derive(Debug, Clone, Copy)]
pub(crate) struct How {
    /// Only tell what would change.
    pub(crate) plan: bool,
    pub(crate) json: bool,
}

pub(crate) async fn apply(
    folder: &Path,
    server: &str,
    how: How,
    output: &Output,
) -> Result<ExitCode> {
    let client = Client::new(server, PATIENCE)?;
    let planned = plan(&client, read_all(folder)?).await?;
    if !how.plan {
        // Told before it is done: where it fails in the middle, everybody sees how far it came.
        send_all(&client, &planned, |planned| {
            if !how.json {
                planned.tell(output);
            }
        })
        .await?;
    } else if !how.json {
        planned.iter().for_each(|planned| planned.tell(output));
    }
    if how.json {
        let told: Vec<Value> = planned.iter().map(Planned::json).collect();
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
    send_all(client, &planned, |planned| output.line(&planned.title())).await?;
    let workflows = planned.iter().filter(|planned| planned.file.kind == Kind::Workflow);
    Ok(workflows.map(|planned| planned.file.name.clone()).collect())
}

async fn send_all(
    client: &Client,
    planned: &[Planned],
    mut done: impl FnMut(&Planned),
) -> Result<()> {
    for planned in planned {
        if planned.change != Change::Unchanged {
            send(client, &planned.file).await?;
        }
        done(planned);
    }
    Ok(())
}

async fn send(client: &Client, file: &File) -> Result<()> {
    let path = if file.kind == Kind::Workflow {
        "/v1/workflows".to_owned()
    } else {
        file.kind.path(&file.name)
    };
    let sent = client.put_yaml(&path, file.body()).await;
    sent.map(drop)
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
