//! Logs: readable in a terminal, JSON elsewhere.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::Env;

/// Starts the log of the process. A second call changes nothing.
pub fn start(env: &Env) {
    let filter =
        EnvFilter::try_new(env.get("RUST_LOG").unwrap_or("info,async_nats=warn,sqlx=warn"))
            .unwrap_or_else(|_malformed| EnvFilter::new("info"));
    let json = match env.get("MUSTER_LOG_FORMAT") {
        Some(format) => format == "json",
        None => !std::io::stderr().is_terminal(),
    };
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Fails where a log is running already, as in tests.
    drop(if json {
        subscriber.json().flatten_event(true).try_init()
    } else {
        subscriber.with_target(false).try_init()
    });
}
