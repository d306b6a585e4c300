//! `make bench`: what the bus costs against raw NATS and against HTTP, and how fast workflows run. Ratios come from one run on one machine.
#![expect(clippy::print_stdout, reason = "the table is what it is for")]

mod consuming;
mod executions;
mod platform;
mod publishing;
mod report;
mod requests;
mod timing;
mod tokens;

use report::Report;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    // Nobody else can have installed one.
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut report = Report::default();
    println!("requests: bus, raw async-nats and axum + reqwest in turn …");
    requests::measure(&mut report).await?;
    println!(
        "acknowledged publishing, consuming with idempotency: bus and raw async-nats in turn …"
    );
    publishing::measure(&mut report).await?;
    consuming::measure(&mut report).await?;
    println!("three-step workflows of local tool calls …");
    executions::measure(&mut report).await?;
    println!("tokens from the model to the client …");
    tokens::measure(&mut report).await?;
    println!("\n{}", report.table());
    report.write("target/bench/results.json")
}
