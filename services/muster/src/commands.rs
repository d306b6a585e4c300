//! One file for each command.

mod agents;
pub(crate) mod apply;
mod contracts;
mod control;
mod deliverables;
mod demo;
mod dlq;
mod doctor;
mod events;
mod executions;
mod health;
mod models;
mod nats_acl;
mod publish_event;
mod publish_message;
mod rest;
mod streams;
mod streams_file;
mod templates;
mod time_travel;
mod tokens;
mod up;
mod validate;
mod version_check;

use std::process::ExitCode;

use anyhow::Result;

use crate::{
    cli::{Cli, Command},
    output::Output,
};

pub(crate) async fn run(cli: Cli, output: &Output) -> Result<ExitCode> {
    match cli.command {
        Command::Up { services } => up::up(&services).await,
        Command::Demo(demo) => demo::demo(demo, output).await,
        Command::Health { url } => health::health(&url, output).await,
        Command::Apply { folder, plan, strict, json, server } => {
            let how = apply::How { plan, json, strict };
            apply::apply(&folder, &server.server, how, output).await
        }
        Command::Doctor(what) => doctor::doctor(&what, output).await,
        Command::Publish(what) => publish_message::publish(&what, output).await,
        Command::Validate { files, json } => validate::validate(&files, json, output),
        Command::Executions(what) => executions::executions(&what, output).await,
        Command::Workflows(what) => time_travel::workflows(&what, output).await,
        Command::Contracts(contracts) => contracts::contracts(&contracts.what, output),
        Command::Streams(what) => streams::streams(&what, output).await,
        Command::Deliverables(what) => deliverables::deliverables(&what, output).await,
        Command::Tokens(what) => tokens::tokens(&what, output).await,
        Command::Approvals(what) => agents::approvals(&what, output).await,
        Command::Models(what) => models::models(&what, output).await,
        Command::Templates(what) => templates::templates(&what, output).await,
        Command::Agents(what) => agents::agents(&what, output).await,
        Command::Dlq(what) => dlq::dlq(&what, output).await,
        Command::Events(what) => events::events(&what, output).await,
        Command::Replay { stream, part } => events::replay(&stream, &part, output).await,
    }
}
