//! Executions, by the REST interface of the gateway.

use std::process::ExitCode;

use anyhow::Result;

use super::time_travel;
use crate::{cli::Executions, output::Output};

pub(crate) async fn executions(what: &Executions, output: &Output) -> Result<ExitCode> {
    match what {
        Executions::Replay(replay) => time_travel::replay(replay, output).await,
        Executions::Timeline(timeline) => time_travel::timeline(timeline, output).await,
        Executions::Fork(fork) => time_travel::fork(fork, output).await,
        Executions::Diff(diff) => time_travel::diff(diff, output).await,
        Executions::Export(export) => time_travel::export(export, output).await,
        Executions::Import(import) => time_travel::import(import, output).await,
    }
}
