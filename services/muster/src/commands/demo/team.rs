//! Runs the team of six on the description of a feature, and proves what its notices save.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context as _, Result, bail};
use reqwest::Method;
use serde_json::{Value, json};

use super::{followed, on_platform, start};
use crate::{
    cli::TeamDemo,
    client::Client,
    commands::{apply::register, tokens::verdict},
    demo::{
        document::Document,
        example::{Example, TEAM},
        report,
        savings::Savings,
    },
    output::Output,
};

/// The feature of the example's own description.
const OWN_FEATURE: &str = "csv-export";
/// Who reads the research only, and leaves the critique where it is.
const PICKY: (&str, &str) = ("roy", "deliverables/agog/cynthia/");

pub(crate) async fn team(options: TeamDemo, output: &Output) -> Result<ExitCode> {
    // Everything that can be wrong with the arguments is told before anything is started.
    let example = Example::find(options.example.as_deref(), TEAM)?;
    let file = options.file.clone().unwrap_or_else(|| example.folder().join("feature.md"));
    let description = Document::read(&file)?;
    let feature = match (&options.feature, &options.file) {
        (Some(name), _) => name.clone(),
        (None, Some(file)) => slug(file),
        (None, None) => OWN_FEATURE.to_owned(),
    };
    let limit = Duration::from_secs(options.timeout);
    on_platform(options.server.as_deref(), limit, async |client| {
        run(&client, &example, (&feature, &description), options.at_least, output).await
    })
    .await
}

async fn run(
    client: &Client,
    example: &Example,
    (feature, description): (&str, &Document),
    at_least: f64,
    output: &Output,
) -> Result<ExitCode> {
    output.heading("Preparing");
    client.get("/readyz").await.context("the platform did not get ready")?;
    let names = register(client, example.folder(), output).await?;
    let folder = example.folder().display();
    let workflow = names.first().with_context(|| format!("{folder} has no workflow.yaml"))?;
    let notice = describe(client, feature, description, output).await?;

    output.heading(&format!("Running {workflow}: {}", description.title()));
    let input = json!({"feature": feature, "description": notice});
    let execution_id = start(client, workflow, &input).await?;
    let (_end, narrator) = followed(client, &execution_id, output).await?;

    output.heading("Tokens");
    let usage = report::settled_usage(client, &execution_id, narrator.runs()).await?;
    let savings = Savings::read(client, &execution_id, &usage).await?;
    for line in savings.lines() {
        output.line(&line);
    }
    output.line("");
    output.line(&format!("execution {execution_id}; again: muster tokens report {execution_id}"));
    output.line(&report::who_answered(narrator.providers()));
    let (reader, wanted) = PICKY;
    if let Some(other) =
        savings.fetched_by(reader).iter().find(|address| !address.starts_with(wanted))
    {
        output.line(&format!("{reader} fetched {other} too; the research would have been enough"));
    }
    Ok(verdict(&savings, at_least, true, output))
}

/// Stores the description as a deliverable, and returns its notice.
async fn describe(
    client: &Client,
    feature: &str,
    description: &Document,
    output: &Output,
) -> Result<Value> {
    let body = json!({"agent": "product", "type": "description", "feature": feature, "content": description.text()});
    let request = client.request(Method::POST, "/v1/deliverables").json(&body);
    let stored = client.json(request).await.context("the description cannot be stored")?;
    let Some(address) = stored.get("address").and_then(Value::as_str) else {
        bail!("the answer has no address: {stored}");
    };
    let tokens = stored.get("tokens").and_then(Value::as_u64).unwrap_or_default();
    output.line(&format!("description {address}: {} tokens", report::grouped(tokens)));
    client.get(&format!("/v1/{address}?notice=true")).await
}

/// A short name from the name of a file.
fn slug(file: &Path) -> String {
    let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let letters =
        stem.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' });
    let name: String = letters.take(40).collect();
    let name = name.trim_matches('-').to_owned();
    if name.is_empty() { "feature".to_owned() } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_called_after_its_file() {
        let check = |file: &str, name: &str| assert_eq!(slug(Path::new(file)), name);
        check("docs/CSV Export.md", "csv-export");
        check("ümlaut.md", "mlaut");
        check("???.md", "feature");
    }
}
