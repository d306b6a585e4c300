//! Asks a health endpoint, as container health checks do.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};

use crate::output::Output;

const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn health(url: &str, output: &Output) -> Result<ExitCode> {
    let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
    let response =
        client.get(url).send().await.with_context(|| format!("{url} does not answer"))?;
    let status = response.status();
    let text = response.text().await.unwrap_or_default();
    output.line(&format!("{status} {}", text.trim()));
    Ok(if status.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
