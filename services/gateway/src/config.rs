//! The gateway's settings.

use std::net::SocketAddr;

use muster_runtime::Env;

/// The gateway's settings.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where REST listens.
    pub(crate) http_addr: SocketAddr,
    /// How many clients may follow executions at once.
    pub(crate) max_streams: usize,
}

impl Config {
    pub(crate) fn from_env(env: &Env) -> anyhow::Result<Self> {
        Ok(Self {
            http_addr: env.parse("MUSTER_HTTP_ADDR", SocketAddr::from(([127, 0, 0, 1], 8080)))?,
            max_streams: env.within("MUSTER_MAX_STREAMS", 1024, 1..=1_000_000)?,
        })
    }
}
