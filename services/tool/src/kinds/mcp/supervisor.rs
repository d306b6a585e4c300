//! Keeps a server connected: again after it has ended, with growing pauses, and its tools listed again with each connection and when it says that they changed.

use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use rmcp::model::{SubscriptionFilter, Tool as Listed};
use rmcp::service::{Peer, RoleClient, Subscription};
use serde_json::{Value, json};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::connection::Connection;
use super::{ServerTool, Shared, told};
use crate::domain::call::{Definition, Effect};
use crate::domain::registration::{derived, is_small};
use crate::error::Error;
use crate::kinds::Tools;
use crate::tools::Registered;

/// How long a server may take to list its tools.
const LIST: Duration = Duration::from_secs(30);
/// The most tools of one server.
const MAX_TOOLS: usize = 512;
/// The first pause before a server is connected again, and the longest.
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A connection that lasted longer than this was a good one: the pauses begin anew.
const GOOD: Duration = Duration::from_secs(10);

/// What is known of a server.
#[derive(Clone, Default)]
pub(super) struct State {
    /// As they were last listed.
    pub(super) tools: Option<Tools>,
    pub(super) peer: Option<Linked>,
    /// The revision that is spoken over it.
    pub(super) protocol: Option<String>,
    /// Why there is no connection; nothing also before the first.
    pub(super) problem: Option<Problem>,
}

/// A server as one connection reaches it.
#[derive(Clone)]
pub(super) struct Linked {
    pub(super) peer: Peer<RoleClient>,
    /// Which connection to the server it is, from 1.
    pub(super) number: u64,
}

/// Why there is no connection.
#[derive(Clone)]
pub(super) struct Problem {
    pub(super) text: String,
    /// Whether the operator allows no connection.
    pub(super) is_denied: bool,
}

/// Ends its server when it is dropped.
pub(super) struct Supervisor {
    state: watch::Sender<State>,
    look: Arc<Notify>,
    task: JoinHandle<()>,
}

struct Work {
    shared: Arc<Shared>,
    /// For the tools that are made.
    cell: Weak<OnceLock<Supervisor>>,
    state: watch::Sender<State>,
    look: Arc<Notify>,
    /// Of the last connection.
    number: u64,
}

impl Supervisor {
    pub(super) fn start(shared: Arc<Shared>, cell: Weak<OnceLock<Supervisor>>) -> Self {
        let state = watch::Sender::new(State::default());
        let look = Arc::new(Notify::new());
        let work = Work { shared, cell, state: state.clone(), look: look.clone(), number: 0 };
        Self { state, look, task: tokio::spawn(work.run()) }
    }

    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// A call heard that this connection has ended: the next one does not go into it.
    pub(super) fn ended(&self, number: u64) {
        self.state.send_if_modified(|state| {
            state.peer.take_if(|linked| linked.number == number).is_some()
        });
    }

    /// A call had no answer: the connection may be none any more.
    pub(super) fn look_again(&self) {
        self.look.notify_one();
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Work {
    async fn run(mut self) {
        let mut failures = 0u32;
        loop {
            self.number += 1;
            let begun = Instant::now();
            let problem = match Box::pin(self.connected()).await {
                Ok(text) => Problem { text, is_denied: false },
                Err(error) => Problem {
                    is_denied: matches!(error, Error::Denied(_)),
                    text: self.masked(error.to_string()).await,
                },
            };
            failures = if begun.elapsed() > GOOD { 1 } else { failures.saturating_add(1) };
            let pause = PAUSE.saturating_mul(1 << failures.min(10).saturating_sub(1));
            let pause = pause.min(LONGEST_PAUSE);
            let name = &self.shared.definition.name;
            warn!(
                server = name,
                problem = problem.text,
                pause_ms = pause.as_millis(),
                "an MCP server is away, will be connected again"
            );
            self.state.send_modify(|state| {
                (state.peer, state.protocol) = (None, None);
                state.problem = Some(problem);
            });
            sleep(pause).await;
        }
    }

    /// What a server said, without the secrets that it was given.
    async fn masked(&self, text: String) -> String {
        match self.shared.vault().await {
            Ok(vault) => vault.mask(&text),
            // It was given none.
            Err(_unread) => text,
        }
    }

    /// Connects, and tells at the end of the connection why it ended.
    async fn connected(&self) -> Result<String, Error> {
        let changed = Arc::new(Notify::new());
        let connection = Connection::open(&self.shared, changed.clone()).await?;
        let words = connection.last_words();
        let peer = connection.service.peer().clone();
        let protocol = peer.peer_info().map(|server| server.protocol_version.to_string());
        let mut told = subscribed(&peer).await;
        let mut ended = std::pin::pin!(connection.ended());
        info!(server = self.shared.definition.name, protocol, "an MCP server is connected");
        loop {
            let listed = tokio::select! {
                biased;
                () = &mut ended => return Ok(format!("it ended{}", words.told())),
                listed = self.list(&peer) => listed?,
            };
            self.state.send_modify(|state| {
                *state = State {
                    tools: Some(listed),
                    peer: Some(Linked { peer: peer.clone(), number: self.number }),
                    protocol: protocol.clone(),
                    problem: None,
                };
            });
            tokio::select! {
                () = &mut ended => return Ok(format!("it ended{}", words.told())),
                () = changed.notified() => {}
                () = next(&mut told) => {}
                // Listing shows whether the connection still is one.
                () = self.look.notified() => {}
            }
        }
    }

    async fn list(&self, peer: &Peer<RoleClient>) -> Result<Tools, Error> {
        let listed = timeout(LIST, Box::pin(peer.list_all_tools())).await;
        let listed = listed.map_err(|_elapsed| {
            Error::unavailable(format!("it did not list its tools within {} s", LIST.as_secs()))
        })?;
        let listed = listed.map_err(|error| {
            Error::unavailable(format!("it did not list its tools: {}", told::question(&error)))
        })?;
        Ok(Arc::new(self.make(&listed)?))
    }

    fn make(&self, listed: &[Listed]) -> Result<Vec<Arc<Registered>>, Error> {
        let include = self.shared.include.as_ref();
        let wanted = |tool: &&Listed| {
            include.is_none_or(|names| names.iter().any(|name| *name == tool.name))
        };
        let mut tools: Vec<Arc<Registered>> = Vec::new();
        for listed in listed.iter().filter(wanted) {
            if tools.len() >= MAX_TOOLS {
                return Err(Error::Invalid(format!(
                    "it has more than {MAX_TOOLS} tools: name those that are meant in `with.include`"
                )));
            }
            let taken = |name: &str| tools.iter().any(|tool| tool.definition.name == name);
            let name = derived(&self.shared.definition.name, &listed.name, taken);
            tools.push(self.tool(name, listed)?);
        }
        tools.sort_by(|a, b| a.definition.name.cmp(&b.definition.name));
        Ok(tools)
    }

    /// One whose schema cannot be used takes any arguments: the server says what is wrong with them.
    fn tool(&self, name: String, listed: &Listed) -> Result<Arc<Registered>, Error> {
        let description = listed.description.as_deref().or(listed.title.as_deref());
        let description = description.unwrap_or_default().to_owned();
        let effect = self.effect(listed);
        let make = |parameters: Value| {
            let tool = ServerTool {
                shared: self.shared.clone(),
                supervisor: self.cell.clone(),
                definition: Definition {
                    name: name.clone().into(),
                    description: description.clone().into(),
                    parameters,
                    effect,
                },
                name: listed.name.to_string(),
            };
            let shared = &self.shared;
            shared.kinds.tool_of(&shared.definition, &shared.limits, Box::new(tool))
        };
        let any = || make(json!({ "type": "object" }));
        let parameters = Value::Object(listed.input_schema.as_ref().clone());
        if is_small(&description, &parameters) {
            make(parameters).or_else(|_error| any())
        } else {
            any()
        }
    }

    /// What the server hints at; without a hint, what the definition says.
    fn effect(&self, listed: &Listed) -> Effect {
        let hints = listed.annotations.as_ref();
        let hint = |value: Option<bool>| value.unwrap_or_default();
        if hints.is_some_and(|hints| hint(hints.read_only_hint)) {
            Effect::Pure
        } else if hints.is_some_and(|hints| hint(hints.idempotent_hint)) {
            Effect::Idempotent
        } else {
            Effect::from_name(&self.shared.definition.effect).unwrap_or(Effect::Once)
        }
    }
}

/// Since the revision of 2026-07-28 a server tells of changes only who asked for it.
async fn subscribed(peer: &Peer<RoleClient>) -> Option<Subscription> {
    let server = peer.peer_info()?;
    let tools = server.capabilities.tools.as_ref();
    let tells = tools.is_some_and(|tools| tools.list_changed.unwrap_or_default());
    if !tells || server.protocol_version.has_initialize() {
        return None;
    }
    let filter = SubscriptionFilter::builder().tools_list_changed().build();
    // Where it does not tell, its tools are those that it had when it was connected.
    timeout(LIST, Box::pin(peer.listen(filter))).await.ok()?.ok()
}

/// The next change that is told; for ever where none is.
async fn next(told: &mut Option<Subscription>) {
    if let Some(subscription) = told
        && let Ok(Some(_change)) = subscription.next().await
    {
        return;
    }
    *told = None;
    std::future::pending::<()>().await;
}
