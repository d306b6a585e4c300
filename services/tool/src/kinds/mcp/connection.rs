//! A connection to a server: over HTTP, or over the streams of a process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::ClientHandler;
use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{
    ClientLifecycleMode, NotificationContext, RoleClient, RunningService,
    serve_client_with_lifecycle,
};
use rmcp::transport::async_rw::AsyncRwTransport;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
};
use serde_json::{Map, Value};
use tokio::io::{AsyncReadExt, BufReader};
use tokio::process::ChildStderr;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::http::Http;
use super::lines::Lines;
use super::{Shared, Way};
use crate::calls::plain;
use crate::error::Error;
use crate::process::{Process, Processes, Program};

/// How long a server may take to start and to agree on a revision.
const HELLO: Duration = Duration::from_secs(60);
/// The largest message, in bytes.
pub(super) const MAX_MESSAGE: usize = 12 << 20;
/// What is told of a process's last words, in bytes.
const LAST_WORDS: usize = 500;

/// What a server tells.
pub(super) struct Handler(Arc<Notify>);

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let client = Implementation::new("muster", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), client)
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.0.notify_one();
    }
}

/// A server that has answered.
pub(super) struct Connection {
    pub(super) service: RunningService<RoleClient, Handler>,
    process: Option<Running>,
}

/// A process with its last words.
struct Running {
    _process: Process,
    words: Arc<Mutex<Vec<u8>>>,
}

/// How the revision is agreed on.
pub(super) fn lifecycle(protocol: Option<&str>) -> Result<ClientLifecycleMode, Error> {
    let current = || vec![ProtocolVersion::V_2026_07_28];
    match protocol {
        None => {
            Ok(ClientLifecycleMode::Auto { preferred_versions: current(), legacy_version: None })
        }
        Some("2026-07-28") => Ok(ClientLifecycleMode::Discover { preferred_versions: current() }),
        Some("2025-11-25" | "2025-06-18" | "2025-03-26") => Ok(ClientLifecycleMode::Initialize),
        Some(other) => Err(Error::Invalid(format!(
            "`with.protocol` is {other:?}, but must be 2026-07-28, 2025-11-25, 2025-06-18 or 2025-03-26; without it the server says what it speaks"
        ))),
    }
}

impl Connection {
    /// Connects; `changed` is notified when the server says that it has other tools.
    pub(super) async fn open(shared: &Shared, changed: Arc<Notify>) -> Result<Self, Error> {
        let opened = match &shared.way {
            Way::Http { .. } => timeout(HELLO, Box::pin(Self::http(shared, changed))).await,
            Way::Stdio { command, arguments, environment } => {
                let stdio = Self::stdio(shared, (command, arguments, environment), changed);
                timeout(HELLO, Box::pin(stdio)).await
            }
        };
        opened.unwrap_or_else(|_elapsed| {
            Err(Error::Unavailable(format!("it did not say hello within {} s", HELLO.as_secs())))
        })
    }

    async fn http(shared: &Shared, changed: Arc<Notify>) -> Result<Self, Error> {
        let Some(client) = Http::of(shared) else {
            return Err(Error::Invalid("it has no address".to_owned()));
        };
        let mut config = StreamableHttpClientTransportConfig::with_uri(client.uri());
        config.max_sse_event_size = MAX_MESSAGE;
        // An expired session is another connection, whose tools are listed anew.
        config.reinit_on_expired_session = false;
        let transport = StreamableHttpClientTransport::with_client(client, config);
        let lifecycle = lifecycle(shared.protocol.as_deref())?;
        let service = serve_client_with_lifecycle(Handler(changed), transport, lifecycle).await;
        let service = service.map_err(|error| Error::Unavailable(error.to_string()))?;
        Ok(Self { service, process: None })
    }

    async fn stdio(
        shared: &Shared,
        (command, arguments, environment): (&str, &[String], &Map<String, Value>),
        changed: Arc<Notify>,
    ) -> Result<Self, Error> {
        let vault = shared.vault().await?;
        let reveal = |value: &Value| vault.reveal(value).map(|value| plain(&value));
        let arguments = arguments.iter().map(|text| reveal(&Value::String(text.clone())));
        let arguments: Vec<String> = arguments.collect::<Result<_, _>>()?;
        let environment =
            environment.iter().map(|(name, value)| Ok((name.clone(), reveal(value)?)));
        let environment: BTreeMap<String, String> = environment.collect::<Result<_, Error>>()?;
        let program =
            Program { command, arguments: &arguments, environment: &environment, is_lasting: true };
        let mut process = shared.kinds.config.processes.start(&program, Processes::folder()?)?;
        let child = &mut process.child;
        let streams = child.stdin.take().zip(child.stdout.take());
        let (input, output) = streams.ok_or_else(|| anyhow::anyhow!("no streams"))?;
        let words = Arc::new(Mutex::new(Vec::new()));
        if let Some(errors) = child.stderr.take() {
            tokio::spawn(listen(errors, words.clone()));
        }
        let running = Running { _process: process, words };
        let transport = AsyncRwTransport::new_client(Lines::new(output, MAX_MESSAGE), input)
            .with_max_line_length(MAX_MESSAGE);
        let lifecycle = lifecycle(shared.protocol.as_deref())?;
        match serve_client_with_lifecycle(Handler(changed), transport, lifecycle).await {
            Ok(service) => Ok(Self { service, process: Some(running) }),
            Err(error) => {
                let told = running.told();
                Err(Error::Unavailable(vault.mask(&format!("{error}{told}"))))
            }
        }
    }

    /// What the process said last, where the server is one.
    pub(super) fn last_words(&self) -> Words {
        Words(self.process.as_ref().map(|process| process.words.clone()))
    }

    /// Waits for the end of the connection; dropping this ends it.
    pub(super) async fn ended(self) {
        let Self { service, process } = self;
        // However it ended, it has.
        drop(service.waiting().await);
        drop(process);
    }
}

/// The last words of a process, which outlive its connection.
pub(super) struct Words(Option<Arc<Mutex<Vec<u8>>>>);

impl Words {
    pub(super) fn told(&self) -> String {
        self.0.as_ref().map(|words| told(words)).unwrap_or_default()
    }
}

impl Running {
    fn told(&self) -> String {
        told(&self.words)
    }
}

fn told(words: &Mutex<Vec<u8>>) -> String {
    let words = words.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&words);
    let text = text.trim();
    if text.is_empty() { String::new() } else { format!("; it said last: {text}") }
}

/// Reads to the end, so that the process never waits for a reader, and keeps what came last.
async fn listen(errors: ChildStderr, words: Arc<Mutex<Vec<u8>>>) {
    let mut errors = BufReader::new(errors);
    let mut piece = [0u8; 1024];
    while let Ok(read @ 1..) = errors.read(&mut piece).await {
        let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
        words.extend_from_slice(piece.get(..read).unwrap_or_default());
        let surplus = words.len().saturating_sub(LAST_WORDS);
        words.drain(..surplus);
    }
}
