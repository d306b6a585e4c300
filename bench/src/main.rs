//! `make bench`: what the bus costs against raw NATS and against HTTP, and how fast workflows run. Ratios come from one run on one machine.
//!
//! Words after `--` name what to measure (`requests`, `publishing`, `consuming`, `workflows`, `bare`, `executions`, `tokens`, `chat`, `leaving`); without any, everything is, but for `waiting`, which takes minutes.
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

#[cfg(feature = "platform")]
mod bare;
#[cfg(feature = "chat")]
mod chat;
#[cfg(feature = "chat")]
mod chat_mock;
mod consuming;
mod cpu;
#[cfg(feature = "platform")]
mod executions;
#[cfg(feature = "platform")]
mod leaving;
#[cfg(feature = "platform")]
mod platform;
mod publishing;
mod report;
mod requests;
#[cfg(feature = "platform")]
mod starting;
mod timing;
#[cfg(feature = "platform")]
mod tokens;
#[cfg(feature = "platform")]
mod waiting;
mod workflows;

use report::Report;

/// What can be measured, in the order in which it is.
const ALL: &[&str] = if cfg!(feature = "platform") {
    &[
        "requests",
        "publishing",
        "consuming",
        "workflows",
        "bare",
        "executions",
        "tokens",
        "chat",
        "leaving",
        "waiting",
    ]
} else if cfg!(feature = "chat") {
    &["requests", "publishing", "consuming", "workflows", "chat"]
} else {
    &["requests", "publishing", "consuming", "workflows"]
};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Nobody else can have installed one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = wanted.iter().find(|name| !ALL.contains(&name.as_str())) {
        anyhow::bail!("{unknown:?} cannot be measured, only {}", ALL.join(", "));
    }
    let mut report = Report::default();
    for name in ALL.iter().filter(|name| {
        (wanted.is_empty() && **name != "waiting") || wanted.iter().any(|one| one == *name)
    }) {
        measure(name, &mut report).await?;
    }
    println!("\n{}", report.table());
    report.write("target/bench/results.json")
}

async fn measure(name: &str, report: &mut Report) -> anyhow::Result<()> {
    match name {
        "requests" => {
            println!("requests: bus, raw async-nats and axum + reqwest in turn …");
            requests::measure(report).await
        }
        "publishing" => {
            println!("acknowledged publishing: bus and raw async-nats in turn …");
            publishing::measure(report).await
        }
        "consuming" => {
            println!("consuming with idempotency: bus and raw async-nats in turn …");
            consuming::measure(report).await
        }
        "workflows" => {
            println!("the engine: long executions in memory, workflows without calls …");
            workflows::measure(report).await
        }
        #[cfg(feature = "platform")]
        "bare" => {
            println!("the messages of a workflow without calls, over the bare broker …");
            bare::measure(report).await
        }
        #[cfg(feature = "platform")]
        "executions" => {
            println!("three-step workflows of local tool calls …");
            executions::measure(report).await
        }
        #[cfg(feature = "platform")]
        "tokens" => {
            println!("tokens from the model to the client …");
            tokens::measure(report).await
        }
        #[cfg(feature = "chat")]
        "chat" => {
            println!("chat completions through gateway, bus and model service, and directly …");
            chat::measure(report).await
        }
        #[cfg(feature = "platform")]
        "leaving" => {
            println!("cancelled executions and clients that hang up …");
            leaving::measure(report).await
        }
        #[cfg(feature = "platform")]
        "waiting" => {
            println!("a hundred thousand executions that wait …");
            waiting::measure(report).await
        }
        _ => Ok(()),
    }
}
