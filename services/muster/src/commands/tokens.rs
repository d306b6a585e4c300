//! What notices saved an execution.

use std::{process::ExitCode, time::Duration};

use anyhow::{Context as _, Result};

use crate::{
    cli::Tokens,
    client::Client,
    demo::savings::Savings,
    output::{Colour, Output},
};

/// A platform that is just starting gets this long.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn tokens(what: &Tokens, output: &Output) -> Result<ExitCode> {
    let Tokens::Report { id, at_least, json, server } = what;
    let client = Client::new(&server.server, PATIENCE)?;
    let usage = client.get(&format!("/v1/executions/{id}/usage")).await;
    let usage = usage.with_context(|| format!("the execution {id}"))?;
    let savings = Savings::read(&client, id, &usage).await?;
    if *json {
        output.line(&serde_json::to_string_pretty(&savings.json())?);
    } else {
        for line in savings.lines() {
            output.line(&line);
        }
    }
    Ok(match at_least {
        Some(least) => verdict(&savings, *least, !json, output),
        None => ExitCode::SUCCESS,
    })
}

/// Whether as much was saved as must be, and everything that was fetched is explained.
pub(crate) fn verdict(savings: &Savings, least: f64, tell: bool, output: &Output) -> ExitCode {
    let unexplained = savings.unexplained();
    for line in &unexplained {
        output.error(line);
    }
    let saved = match savings.percent() {
        Some(percent) => format!("{percent:.1} % saved"),
        None => "nothing to save: no input had a notice".to_owned(),
    };
    let good = savings.percent().is_some_and(|percent| percent >= least) && unexplained.is_empty();
    if !good {
        output.error(&format!("{saved}; at least {least} % must be"));
        return ExitCode::FAILURE;
    }
    if tell {
        output.line("");
        let told = format!(
            "{saved} (at least {least} % must be); what was not fetched was not transferred."
        );
        output.line(&output.paint(Colour::Green, &told));
    }
    ExitCode::SUCCESS
}
