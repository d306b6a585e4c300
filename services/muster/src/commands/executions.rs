//! Executions, by the REST interface of the gateway.

use std::process::ExitCode;

use anyhow::Result;

use super::{control, time_travel};
use crate::{cli::Executions, output::Output};

pub(crate) async fn executions(what: &Executions, output: &Output) -> Result<ExitCode> {
    match what {
        Executions::Ls(which) => control::ls(which, output).await,
        Executions::Get(one) => control::get(one, output).await,
        Executions::Cancel(why) => control::because("cancel", why, output).await,
        Executions::Suspend(why) => control::because("suspend", why, output).await,
        Executions::Resume(one) => control::go_on("resume", one, output).await,
        Executions::Retry(one) => control::go_on("retry", one, output).await,
        Executions::Replay(replay) => time_travel::replay(replay, output).await,
        Executions::Timeline(timeline) => time_travel::timeline(timeline, output).await,
        Executions::Fork(fork) => time_travel::fork(fork, output).await,
        Executions::Diff(diff) => time_travel::diff(diff, output).await,
        Executions::Export(export) => time_travel::export(export, output).await,
        Executions::Import(import) => time_travel::import(import, output).await,
    }
}
