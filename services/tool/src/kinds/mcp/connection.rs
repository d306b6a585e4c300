//! A connection to a server: over HTTP, or over the streams of a process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use rmcp::ClientHandler;
use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{NotificationContext, RoleClient, RunningService, serve_client_with_lifecycle};
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
use super::lines::{Deaf, Lines, Told};
use super::{Shared, Way, revision, told};
use crate::calls::plain;
use crate::error::Error;
use crate::process::{Bounds, Process, Processes, Program};

/// The largest message, in bytes.
pub(super) const MAX_MESSAGE: usize = 12 << 20;
/// What is told of a process's last words, in bytes.
const LAST_WORDS: usize = 500;

/// What a server tells.
pub(super) struct Handler {
    changed: Arc<Notify>,
    /// The revision that a handshake asks for.
    protocol: ProtocolVersion,
}

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let client = Implementation::new("muster", env!("CARGO_PKG_VERSION"));
        let config = ClientConfig::new(ClientCapabilities::default(), client);
        config.with_protocol_version(self.protocol.clone())
    }

    async fn on_tool_list_changed(&self, _context: NotificationContext<RoleClient>) {
        self.changed.notify_one();
    }
}

/// Why there is no connection.
enum Failed {
    Error(Error),
    /// The server wants to be greeted in this revision, as was done before 2026-07-28.
    Older(ProtocolVersion),
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
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

impl Connection {
    /// Connects; `changed` is notified when the server says that it has other tools.
    pub(super) async fn open(shared: &Shared, changed: Arc<Notify>) -> Result<Self, Error> {
        let wanted = shared.protocol.as_deref().map(revision::wanted).transpose()?;
        let agreed = timeout(shared.startup, Box::pin(Self::agree(shared, changed, wanted))).await;
        agreed.unwrap_or_else(|_elapsed| {
            let limit = shared.startup.as_secs();
            Err(Error::unavailable(format!(
                "it did not say hello within {limit} s (`with.startup_seconds`)"
            )))
        })
    }

    async fn agree(
        shared: &Shared,
        changed: Arc<Notify>,
        wanted: Option<ProtocolVersion>,
    ) -> Result<Self, Error> {
        let is_free = wanted.is_none();
        let older = match Self::attempt(shared, changed.clone(), wanted).await {
            Err(Failed::Older(version)) if is_free => version,
            Err(Failed::Older(version)) => return Err(revision::unknown(version.as_str())),
            Err(Failed::Error(error)) => return Err(error),
            Ok(connection) => return Ok(connection),
        };
        match Self::attempt(shared, changed, Some(older)).await {
            Err(Failed::Older(version)) => Err(revision::unknown(version.as_str())),
            Err(Failed::Error(error)) => Err(error),
            Ok(connection) => Ok(connection),
        }
    }

    async fn attempt(
        shared: &Shared,
        changed: Arc<Notify>,
        wanted: Option<ProtocolVersion>,
    ) -> Result<Self, Failed> {
        let handler = Handler { changed, protocol: revision::greeting(wanted.as_ref()) };
        let connection = match &shared.way {
            Way::Http { .. } => Self::http(shared, handler, wanted.as_ref()).await?,
            Way::Stdio { command, arguments, environment, bounds } => {
                let program = (command.as_str(), arguments.as_slice(), environment, *bounds);
                Self::stdio(shared, program, handler, wanted.as_ref()).await?
            }
        };
        // A server may answer a greeting in whatever revision it likes.
        let spoken = connection.service.peer().peer_info();
        let spoken = spoken.map(|server| server.protocol_version.to_string()).unwrap_or_default();
        if revision::is_spoken(&spoken) {
            return Ok(connection);
        }
        Err(Failed::Error(revision::unknown(&spoken)))
    }

    async fn http(
        shared: &Shared,
        handler: Handler,
        wanted: Option<&ProtocolVersion>,
    ) -> Result<Self, Failed> {
        let Some(client) = Http::of(shared) else {
            return Err(Failed::Error(Error::Invalid("it has no address".to_owned())));
        };
        let mut config = StreamableHttpClientTransportConfig::with_uri(client.uri());
        config.max_sse_event_size = MAX_MESSAGE;
        // An expired session is another connection, whose tools are listed anew.
        config.reinit_on_expired_session = false;
        let transport = StreamableHttpClientTransport::with_client(client, config);
        let lifecycle = revision::lifecycle(wanted);
        let service = serve_client_with_lifecycle(handler, transport, lifecycle).await;
        let service = service.map_err(|error| match revision::older(&error) {
            Some(version) => Failed::Older(version),
            None => Failed::Error(told::greeting(&error)),
        })?;
        Ok(Self { service, process: None })
    }

    async fn stdio(
        shared: &Shared,
        (command, arguments, environment, bounds): (&str, &[String], &Map<String, Value>, Bounds),
        handler: Handler,
        wanted: Option<&ProtocolVersion>,
    ) -> Result<Self, Failed> {
        let vault = shared.vault().await?;
        let reveal = |value: &Value| vault.reveal(value).map(|value| plain(&value));
        let arguments = arguments.iter().map(|text| reveal(&Value::String(text.clone())));
        let arguments: Vec<String> = arguments.collect::<Result<_, _>>()?;
        let environment =
            environment.iter().map(|(name, value)| Ok((name.clone(), reveal(value)?)));
        let environment: BTreeMap<String, String> = environment.collect::<Result<_, Error>>()?;
        let program = Program { command, arguments: &arguments, environment: &environment, bounds };
        let mut process = shared.kinds.config.processes.start(&program, Processes::folder()?)?;
        let child = &mut process.child;
        let streams = child.stdin.take().zip(child.stdout.take());
        let (input, output) = streams.ok_or_else(|| Error::from(anyhow::anyhow!("no streams")))?;
        let words = Arc::new(Mutex::new(Vec::new()));
        if let Some(errors) = child.stderr.take() {
            tokio::spawn(listen(errors, words.clone()));
        }
        let running = Running { _process: process, words };
        let deaf = Deaf::default();
        let (output, input) =
            (Lines::new(output, MAX_MESSAGE, deaf.clone()), Told::new(input, deaf));
        let transport =
            AsyncRwTransport::new_client(output, input).with_max_line_length(MAX_MESSAGE);
        let lifecycle = revision::lifecycle(wanted);
        match serve_client_with_lifecycle(handler, transport, lifecycle).await {
            Ok(service) => Ok(Self { service, process: Some(running) }),
            Err(error) => Err(match revision::older(&error) {
                Some(version) => Failed::Older(version),
                None => {
                    let why = told::greeting(&error);
                    Failed::Error(Error::unavailable(format!("{why}{}", running.told())))
                }
            }),
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
        self.0.as_ref().map(|words| last(words)).unwrap_or_default()
    }
}

impl Running {
    fn told(&self) -> String {
        last(&self.words)
    }
}

fn last(words: &Mutex<Vec<u8>>) -> String {
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
