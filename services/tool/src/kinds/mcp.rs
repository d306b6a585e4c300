//! `kind: mcp`: the tools of a server of the Model Context Protocol, which is kept running and connected.
//!
//! The protocol is spoken by `rmcp`, in the revisions that `revision.rs` has. What it speaks over is ours: requests go through [`crate::outbound`], and processes are those of [`crate::process`].

mod connection;
mod http;
mod lines;
mod revision;
mod supervisor;
mod told;

use std::ops::RangeInclusive;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use muster_contracts::tool::v1::ToolDefinition;
use muster_document::marks;
use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::ServiceError;
use rmcp::transport::streamable_http_client::StreamableHttpError;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use self::supervisor::{Linked, Problem, Supervisor};
use super::template::Places;
use super::{Kinds, Source, Tools, endpoint, with};
use crate::calls::Vault;
use crate::domain::call::{Call, Definition, Effect};
use crate::error::Error;
use crate::limits::Limits;
use crate::process::Bounds;
use crate::tools::{Tool, Work};

/// How long the tools of a server that was just registered are waited for.
const FIRST_LIST: Duration = Duration::from_secs(4);
/// How long a call waits for a server that is being connected.
const CONNECT: Duration = Duration::from_secs(15);
/// What a process of a server may use where the definition does not say it.
const MEMORY_MIB: u64 = 2_048;
const CPU_SECONDS: u64 = 3_600;
/// How long a server may take to start and to agree on a revision, where the definition does not say it.
const STARTUP_SECONDS: u64 = 60;

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct With {
    endpoint: Option<Value>,
    #[serde(default)]
    headers: Map<String, Value>,
    command: Option<String>,
    #[serde(default)]
    arguments: Vec<String>,
    #[serde(default)]
    environment: Map<String, Value>,
    /// The revision of the protocol; absent: the newest that the server speaks.
    protocol: Option<String>,
    startup_seconds: Option<u64>,
    memory_mib: Option<u64>,
    cpu_seconds: Option<u64>,
    /// The server's names of the tools that are meant; absent: all.
    include: Option<Vec<String>>,
}

/// Where the server is, and how it is spoken to.
enum Way {
    Http {
        uri: String,
        authentication: Option<Value>,
        headers: Map<String, Value>,
    },
    Stdio {
        command: String,
        arguments: Vec<String>,
        environment: Map<String, Value>,
        bounds: Bounds,
    },
}

/// What the parts of a server share.
struct Shared {
    kinds: Kinds,
    definition: ToolDefinition,
    limits: Arc<Limits>,
    way: Way,
    protocol: Option<String>,
    /// How long a server may take to start.
    startup: Duration,
    include: Option<Vec<String>>,
    /// `with`, with marks in the places of secrets.
    needs: Map<String, Value>,
}

struct Server {
    shared: Arc<Shared>,
    /// It begins when somebody first needs it, and ends with this.
    supervisor: Arc<OnceLock<Supervisor>>,
}

/// One tool of a server.
struct ServerTool {
    shared: Arc<Shared>,
    /// Weak, since what is known of the server has its tools.
    supervisor: Weak<OnceLock<Supervisor>>,
    definition: Definition,
    /// What the server calls it.
    name: String,
}

/// The server of a definition.
pub(super) fn source(kinds: &Kinds, definition: &ToolDefinition) -> Result<Arc<dyn Source>, Error> {
    let shared = Arc::new(Shared::of(kinds, definition)?);
    Ok(Arc::new(Server { shared, supervisor: Arc::default() }))
}

impl Shared {
    fn of(kinds: &Kinds, definition: &ToolDefinition) -> Result<Self, Error> {
        let given: With = with(definition)?;
        let none = Default::default();
        let places = Places { arguments: &none, secrets: &definition.secrets };
        let whole = definition.with.clone().unwrap_or_default().into_value();
        let needs = match places.fixed(&whole)? {
            Value::Object(needs) => needs,
            _ => Map::new(),
        };
        let fixed: With = serde_json::from_value(Value::Object(needs.clone()))
            .map_err(|error| Error::Invalid(format!("`with` of the kind mcp is wrong: {error}")))?;
        if let Some(protocol) = &given.protocol {
            revision::wanted(protocol)?;
        }
        let startup = within("startup_seconds", given.startup_seconds, STARTUP_SECONDS, 1..=600)?;
        Ok(Self {
            kinds: kinds.clone(),
            limits: Limits::of(&kinds.bus, &kinds.config, definition),
            definition: definition.clone(),
            way: way(kinds, fixed)?,
            protocol: given.protocol,
            startup: Duration::from_secs(startup),
            include: given.include,
            needs,
        })
    }

    fn who(&self) -> String {
        format!("the MCP server {:?}", self.definition.name)
    }

    /// The secrets that the server is given, so that they can be taken out of what it says.
    async fn vault(&self) -> Result<Vault, Error> {
        Vault::open(&self.kinds.config.secrets, &self.definition.secrets, &self.needs).await
    }
}

fn way(kinds: &Kinds, with: With) -> Result<Way, Error> {
    match (with.endpoint, with.command) {
        (Some(_), None) if with.memory_mib.or(with.cpu_seconds).is_some() => {
            Err(Error::Invalid(
                "`with.memory_mib` and `with.cpu_seconds` are bounds of a `command`; a server at an `endpoint` has its own".to_owned(),
            ))
        }
        (Some(place), None) => {
            let (uri, authentication) = endpoint("endpoint", &place)?;
            Ok(Way::Http { uri, authentication, headers: with.headers })
        }
        (None, Some(command)) => {
            kinds.config.processes.check_command(&command)?;
            let bounds = Bounds::Server {
                memory_mib: within("memory_mib", with.memory_mib, MEMORY_MIB, 16..=1_048_576)?,
                cpu_seconds: within("cpu_seconds", with.cpu_seconds, CPU_SECONDS, 1..=31_536_000)?,
            };
            let (arguments, environment) = (with.arguments, with.environment);
            Ok(Way::Stdio { command, arguments, environment, bounds })
        }
        _ => Err(Error::Invalid(
            "`with` of the kind mcp must have one of `endpoint`, an address, and `command`, a program that the operator named".to_owned(),
        )),
    }
}

/// A number of `with`.
fn within(
    field: &str,
    given: Option<u64>,
    standard: u64,
    range: RangeInclusive<u64>,
) -> Result<u64, Error> {
    let value = given.unwrap_or(standard);
    if range.contains(&value) {
        return Ok(value);
    }
    let (least, most) = (range.start(), range.end());
    Err(Error::Invalid(format!("`with.{field}` is {value}, but must be {least} to {most}")))
}

/// The supervisor, from now on at work.
fn supervisor<'s>(shared: &Arc<Shared>, cell: &'s Arc<OnceLock<Supervisor>>) -> &'s Supervisor {
    cell.get_or_init(|| Supervisor::start(shared.clone(), Arc::downgrade(cell)))
}

impl Source for Server {
    fn definition(&self) -> &ToolDefinition {
        &self.shared.definition
    }

    fn who(&self) -> String {
        self.shared.who()
    }

    fn tools(&self) -> BoxFuture<'_, Result<Tools, Error>> {
        async move {
            let mut state = supervisor(&self.shared, &self.supervisor).state();
            let known = state.wait_for(|state| state.tools.is_some() || state.problem.is_some());
            let Ok(Ok(state)) = timeout(FIRST_LIST, known).await else {
                let limit = FIRST_LIST.as_secs();
                return Err(Error::unavailable(format!(
                    "{} has not listed its tools within {limit} s; it is still waited for",
                    self.who()
                )));
            };
            match (&state.tools, &state.problem) {
                (Some(tools), _) => Ok(tools.clone()),
                (None, problem) => {
                    Err(away(problem.as_ref(), |problem| format!("{}: {problem}", self.who())))
                }
            }
        }
        .boxed()
    }

    fn protocol(&self) -> String {
        let supervisor = self.supervisor.get();
        let state = supervisor.map(Supervisor::state);
        state.and_then(|state| state.borrow().protocol.clone()).unwrap_or_default()
    }

    fn known(&self) -> Tools {
        let supervisor = self.supervisor.get();
        let tools = supervisor.and_then(|supervisor| supervisor.state().borrow().tools.clone());
        tools.unwrap_or_default()
    }
}

impl ServerTool {
    async fn ask(&self, call: &Call) -> Result<Value, Error> {
        let vault = self.shared.vault().await?;
        let mut arguments = Value::Object(call.arguments.clone());
        // What comes from outside can stand for no secret.
        marks::unmark(&mut arguments);
        let mut parameters = CallToolRequestParams::new(self.name.clone());
        parameters.arguments = arguments.as_object().cloned();
        let linked = self.linked().await?;
        match Box::pin(linked.peer.call_tool(parameters)).await {
            Ok(result) => self.result(result, &vault),
            Err(error) => Err(vault.mask_error(self.failed(error, linked.number))),
        }
    }

    /// The connection, which is waited for while it is being made.
    async fn linked(&self) -> Result<Linked, Error> {
        let removed = || Error::NotFound(format!("{} was removed or replaced", self.shared.who()));
        let cell = self.supervisor.upgrade().ok_or_else(removed)?;
        let mut state = supervisor(&self.shared, &cell).state();
        let found = timeout(CONNECT, state.wait_for(|state| state.peer.is_some())).await;
        if let Ok(Ok(state)) = &found
            && let Some(linked) = &state.peer
        {
            return Ok(linked.clone());
        }
        drop(found);
        let problem = state.borrow().problem.clone();
        Err(away(problem.as_ref(), |problem| {
            format!("{} is not connected: {problem}", self.shared.who())
        }))
    }

    fn result(&self, result: CallToolResult, vault: &Vault) -> Result<Value, Error> {
        let failed = result.is_error.unwrap_or_default();
        let content = serde_json::to_value(&result.content).unwrap_or_default();
        let texts = texts(&content);
        if failed {
            let told = texts.unwrap_or_else(|| content.to_string());
            let told: String = vault.mask(&told).chars().take(1_000).collect();
            return Err(Error::Conflict(format!(
                "the tool {} failed: {told}",
                self.definition.name
            )));
        }
        Ok(vault.mask_value(match (result.structured_content, texts) {
            (Some(structured), _) => structured,
            (None, Some(text)) => Value::String(text),
            (None, None) => json!({ "content": content }),
        }))
    }

    /// What became of a call without a result depends on whether the server had it.
    fn failed(&self, error: ServiceError, connection: u64) -> Error {
        let who = self.shared.who();
        match error {
            ServiceError::McpError(error) => Error::Conflict(format!(
                "{who} refused the call of {:.200}: {}",
                self.name,
                told::of_answer(&error)
            )),
            error => {
                if let Some(busy) = busy(&who, &error) {
                    return busy;
                }
                let cell = self.supervisor.upgrade();
                if let Some(supervisor) = cell.as_ref().and_then(|cell| cell.get()) {
                    if matches!(error, ServiceError::TransportClosed) {
                        supervisor.ended(connection);
                    }
                    supervisor.look_again();
                }
                let why = told::question(&error);
                let text = format!("{who} did not answer the call of {:.200}: {why}", self.name);
                if self.definition.effect == Effect::Once && !never_arrived(&error) {
                    return Error::Interrupted(text);
                }
                Error::unavailable(text)
            }
        }
    }
}

/// What failed on the way to the server.
fn on_the_way(error: &ServiceError) -> Option<&StreamableHttpError<Error>> {
    let ServiceError::TransportSend(error) = error else { return None };
    told::on_the_way(error)
}

/// The error of a server without a connection: a host that is not allowed is not asked by another try.
fn away(problem: Option<&Problem>, told: impl FnOnce(&str) -> String) -> Error {
    match problem {
        Some(Problem { text, is_denied: true }) => Error::Denied(told(text)),
        Some(Problem { text, .. }) => Error::unavailable(told(text)),
        None => Error::unavailable(told("it does not answer")),
    }
}

/// The error of a server that wants to be asked later, or may not be asked.
fn busy(who: &str, error: &ServiceError) -> Option<Error> {
    let StreamableHttpError::Client(error) = on_the_way(error)? else { return None };
    let told = |text: &String| format!("{who}: {text}");
    match error {
        Error::Exhausted { text, retry_after_ms } => {
            Some(Error::Exhausted { text: told(text), retry_after_ms: *retry_after_ms })
        }
        Error::Unavailable { text, retry_after_ms: Some(wait) } => {
            Some(Error::Unavailable { text: told(text), retry_after_ms: Some(*wait) })
        }
        Error::Denied(text) => Some(Error::Denied(told(text))),
        _ => None,
    }
}

/// Whether the server cannot have had the call.
fn never_arrived(error: &ServiceError) -> bool {
    matches!(
        on_the_way(error),
        Some(
            StreamableHttpError::SessionExpired
                | StreamableHttpError::Client(
                    Error::Unavailable { retry_after_ms: None, .. } | Error::Denied(_)
                )
        )
    )
}

/// The texts of a result that has nothing else.
fn texts(content: &Value) -> Option<String> {
    let parts = content.as_array()?;
    let texts: Option<Vec<&str>> = parts
        .iter()
        .map(|part| match part.get("type").and_then(Value::as_str) {
            Some("text") => part.get("text").and_then(Value::as_str),
            _ => None,
        })
        .collect();
    Some(texts?.join("\n"))
}

impl Tool for ServerTool {
    fn definition(&self) -> Definition {
        self.definition.clone()
    }

    fn call<'a>(&'a self, call: &'a Call) -> Work<'a> {
        self.ask(call).boxed()
    }
}
