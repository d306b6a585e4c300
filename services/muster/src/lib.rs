#![doc = include_str!("../README.md")]

mod cli;
mod client;
mod commands;
mod contracts;
mod demo;
mod moment;
mod output;

use std::process::ExitCode;

use clap::Parser;
use muster_runtime::Service;

use crate::{cli::Cli, output::Output};

/// Every service of the platform, in the order in which they are listed.
#[must_use]
pub fn services() -> Vec<Service> {
    vec![
        muster_gateway::service(),
        muster_orchestration::service(),
        muster_agent::service(),
        muster_tool::service(),
        muster_model::service(),
        muster_vector::service(),
        muster_knowledge::service(),
        muster_execution_log::service(),
    ]
}

/// The main of the `muster` program: reads the command line, obeys it, and tells what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let output = Output::of_process();
    // Fails where a provider is installed already, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output.error(&format!("cannot start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(commands::run(cli, &output)).unwrap_or_else(|error| {
        output.error(&format!("{error:#}"));
        ExitCode::FAILURE
    });
    // Work that cannot be interrupted must not hold the end up.
    runtime.shutdown_background();
    code
}
