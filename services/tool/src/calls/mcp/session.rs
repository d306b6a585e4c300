//! A session with an MCP server, over streamable HTTP or over the streams of a process.

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::stdio::Server;
use crate::calls::http::map;
use crate::calls::rpc::{self, Peer, is_response};
use crate::calls::vault::Vault;
use crate::calls::{Net, raised};
use crate::domain::call::Call;
use crate::error::Error;
use crate::outbound::{MAX_BODY, header_text};
use crate::process::Processes;

const SESSION: &str = "mcp-session-id";
const VERSION: &str = "mcp-protocol-version";

pub(super) struct Session<'a> {
    net: &'a Net,
    /// The idempotency key of the call.
    key: &'a str,
    way: Way,
    /// The number of the request before.
    id: u64,
}

enum Way {
    Http(Peer),
    Stdio(Box<Server>),
}

impl<'a> Session<'a> {
    pub(super) async fn open(
        net: &'a Net,
        processes: &Processes,
        (call, vault): (&'a Call, &Vault),
    ) -> Result<Self, Error> {
        let transport = call.arguments.get("transport").and_then(Value::as_object);
        let part = |name: &str| transport.and_then(|transport| transport.get(name)?.as_object());
        let way = match (part("http"), part("stdio")) {
            (Some(http), None) => Way::Http(peer(http)?),
            (None, Some(stdio)) => Way::Stdio(Box::new(Server::start(processes, stdio, vault)?)),
            _ => {
                let detail = "`transport` must have one of `http` or `stdio`";
                return Err(raised("configuration", 400, detail));
            }
        };
        Ok(Self { net, key: &call.idempotency_key, way, id: 0 })
    }

    /// The server, for errors.
    pub(super) fn who(&self) -> String {
        match &self.way {
            Way::Http(peer) => format!("the MCP server {}", peer.uri),
            Way::Stdio(server) => format!("the MCP server {}", server.command),
        }
    }

    /// The revision that client and server speak.
    pub(super) fn agreed(&mut self, version: &str) {
        if let Way::Http(peer) = &mut self.way {
            peer.headers.insert(VERSION.to_owned(), json!(version));
        }
    }

    pub(super) async fn request(
        &mut self,
        method: &str,
        parameters: Option<&Value>,
        vault: &mut Vault,
    ) -> Result<Value, Error> {
        self.id += 1;
        let parameters = parameters.map(|parameters| vault.reveal(parameters)).transpose()?;
        let message = rpc::request(self.id, method, parameters.as_ref());
        let who = self.who();
        let answer = match &mut self.way {
            Way::Stdio(server) => server.request(&message).await?,
            Way::Http(peer) => {
                // A server that heeds the key must not take one message for the other.
                let key = match method {
                    "initialize" => format!("{}/initialize", self.key),
                    _ => self.key.to_owned(),
                };
                let last = (key.as_str(), is_response as fn(&Value) -> bool);
                let reply = self.net.post(peer, message, last, vault).await?;
                if let Some(session) = reply.headers.get(SESSION) {
                    peer.headers.insert(SESSION.to_owned(), json!(header_text(session)));
                }
                let answer = reply.messages.into_iter().find(is_response);
                answer.ok_or_else(|| {
                    raised("communication", 502, format!("{who} did not answer {method}"))
                })?
            }
        };
        rpc::result(&answer, &who)
    }

    pub(super) async fn notify(&mut self, method: &str, vault: &mut Vault) -> Result<(), Error> {
        let message = json!({ "jsonrpc": "2.0", "method": method });
        match &mut self.way {
            Way::Stdio(server) => server.send(&message).await,
            Way::Http(peer) => {
                let key = format!("{}/{method}", self.key);
                let last = (key.as_str(), (|_| false) as fn(&Value) -> bool);
                self.net.post(peer, message, last, vault).await.map(drop)
            }
        }
    }

    /// Tells the server that no more comes.
    pub(super) async fn close(self, vault: &mut Vault) {
        let Way::Http(peer) = &self.way else { return };
        if peer.headers.contains_key(SESSION) {
            let ask = peer.ask(Method::DELETE, Value::Null);
            // Servers may refuse it (405), and the session ends by itself then.
            drop(self.net.ask(&ask, &format!("{}/end", self.key), MAX_BODY, vault).await);
        }
    }
}

fn peer(http: &Map<String, Value>) -> Result<Peer, Error> {
    let endpoint = http.get("endpoint");
    let part = |name: &str| endpoint.and_then(|endpoint| endpoint.get(name));
    let mut headers = map(http, "headers")?;
    headers.retain(|name, _| ![SESSION, VERSION].contains(&name.to_ascii_lowercase().as_str()));
    Ok(Peer {
        uri: part("uri").and_then(Value::as_str).unwrap_or_default().to_owned(),
        headers,
        authentication: part("authentication").cloned(),
    })
}
