//! Registers the agents and workflows of a folder.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::validate::read;
use crate::{client::Client, output::Output};

/// A platform that is just starting gets this long.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn apply(folder: &Path, server: &str, output: &Output) -> Result<ExitCode> {
    register(&Client::new(server, PATIENCE)?, folder, output).await?;
    Ok(ExitCode::SUCCESS)
}

/// Registers agents first, because workflows name them. Returns the names of the workflows.
pub(crate) async fn register(
    client: &Client,
    folder: &Path,
    output: &Output,
) -> Result<Vec<String>> {
    if !folder.is_dir() {
        bail!("there is no folder {}", folder.display());
    }
    let agents = definitions(&folder.join("agents"))?;
    let mut workflows = definitions(&folder.join("workflows"))?;
    workflows.extend(
        ["workflow.yaml", "workflow.yml", "workflow.json"]
            .map(|name| folder.join(name))
            .into_iter()
            .filter(|file| file.is_file()),
    );
    if agents.is_empty() && workflows.is_empty() {
        bail!(
            "{} has no agents/*.yaml, no workflow.yaml and no workflows/*.yaml",
            folder.display()
        );
    }
    for file in agents {
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let agent = client.put_yaml(&format!("/v1/agents/{name}"), read(&file)?).await;
        agent.with_context(|| file.display().to_string())?;
        output.line(&format!("agent {name}"));
    }
    let mut names = Vec::new();
    for file in workflows {
        let workflow = client.put_yaml("/v1/workflows", read(&file)?).await;
        let workflow = workflow.with_context(|| file.display().to_string())?;
        let text =
            |field| workflow.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        output.line(&format!("workflow {} {}", text("name"), text("version")));
        names.push(text("name"));
    }
    Ok(names)
}

/// The definitions of a folder in the order of their names; none, where there is no folder.
fn definitions(folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.retain(|file| {
        file.extension().is_some_and(|extension| {
            extension == "yaml" || extension == "yml" || extension == "json"
        })
    });
    files.sort();
    Ok(files)
}
