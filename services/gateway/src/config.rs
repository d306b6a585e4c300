//! The gateway's settings.

use std::net::SocketAddr;
use std::time::Duration;

use muster_runtime::Env;

use crate::auth::AuthSettings;

/// The gateway's settings.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// Where REST listens.
    pub(crate) http_addr: SocketAddr,
    /// How many clients may follow executions at once.
    pub(crate) max_streams: usize,
    /// How long a client may take to send the head of a request.
    pub(crate) head_time: Duration,
    /// How long a client may leave what is sent to it unread.
    pub(crate) stall_time: Duration,
    /// Who must say who he is, and how.
    pub(crate) auth: AuthSettings,
}

impl Config {
    pub(crate) fn from_env(env: &Env) -> anyhow::Result<Self> {
        let head_time = env.within("MUSTER_REQUEST_HEAD_SECONDS", 30, 1..=3_600)?;
        let stall_time = env.within("MUSTER_STALL_SECONDS", 60, 1..=3_600)?;
        let http_addr = env.parse("MUSTER_HTTP_ADDR", SocketAddr::from(([127, 0, 0, 1], 8080)))?;
        Ok(Self {
            head_time: Duration::from_secs(head_time),
            stall_time: Duration::from_secs(stall_time),
            http_addr,
            auth: AuthSettings::from_env(env, http_addr)?,
            max_streams: env.within("MUSTER_MAX_STREAMS", 1024, 1..=1_000_000)?,
        })
    }
}
