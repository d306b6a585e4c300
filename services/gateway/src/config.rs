//! The gateway's settings.

use std::net::SocketAddr;
use std::time::Duration;

use muster_runtime::Env;

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
    /// Whether the paths of OpenAI's format need a virtual key even where none is registered.
    pub(crate) require_keys: bool,
}

impl Config {
    pub(crate) fn from_env(env: &Env) -> anyhow::Result<Self> {
        let head_time = env.within("MUSTER_REQUEST_HEAD_SECONDS", 30, 1..=3_600)?;
        let stall_time = env.within("MUSTER_STALL_SECONDS", 60, 1..=3_600)?;
        Ok(Self {
            head_time: Duration::from_secs(head_time),
            stall_time: Duration::from_secs(stall_time),
            http_addr: env.parse("MUSTER_HTTP_ADDR", SocketAddr::from(([127, 0, 0, 1], 8080)))?,
            require_keys: env.parse("MUSTER_REQUIRE_KEYS", false)?,
            max_streams: env.within("MUSTER_MAX_STREAMS", 1024, 1..=1_000_000)?,
        })
    }
}
