//! `call: a2a`: a method of an agent of the Agent2Agent protocol, over its JSON-RPC binding.

use std::sync::Arc;

use reqwest::{Method, Url};
use serde_json::{Map, Value, json};

use super::answer::failure;
use super::rpc::{Peer, parameters, request, result};
use super::vault::Vault;
use super::{Net, Perform, raised};
use crate::domain::call::{Call, Effect};
use crate::error::Error;
use crate::outbound::MAX_BODY;

pub(super) struct A2a {
    pub(super) net: Arc<Net>,
}

impl A2a {
    /// Where the agent is: what the task says, or else its card.
    async fn peer(&self, arguments: &Map<String, Value>, vault: &mut Vault) -> Result<Peer, Error> {
        let text =
            |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        if let Some(server) = arguments.get("server") {
            return Ok(Peer {
                uri: text(server.get("uri")),
                headers: Map::new(),
                authentication: server.get("authentication").cloned(),
            });
        }
        let endpoint = arguments.get("agentCard").and_then(|card| card.get("endpoint"));
        let mut peer = Peer {
            uri: text(endpoint.and_then(|endpoint| endpoint.get("uri"))),
            headers: Map::new(),
            authentication: endpoint.and_then(|endpoint| endpoint.get("authentication")).cloned(),
        };
        let ask = peer.ask(Method::GET, Value::Null);
        let (asked, answer) = self.net.ask(&ask, "", MAX_BODY, vault).await?;
        if !answer.status.is_success() {
            let detail = failure(&asked, &answer);
            return Err(raised("communication", answer.status.as_u16(), detail));
        }
        let wrong = |problem: String| {
            let detail = format!("{} is no card of an agent: {problem}", asked.url);
            raised("configuration", 400, detail)
        };
        let card: Value =
            serde_json::from_slice(&answer.body).map_err(|error| wrong(error.to_string()))?;
        let address = address(&card).map_err(wrong)?;
        let url = asked.url.join(address).map_err(|error| wrong(format!("{address}: {error}")))?;
        if !same_server(&url, &asked.url) {
            // What lets in at one server is not for another.
            peer.authentication = None;
        }
        peer.uri = url.into();
        Ok(peer)
    }
}

impl Perform for A2a {
    const NAME: &'static str = "call:a2a";

    fn net(&self) -> &Net {
        &self.net
    }

    /// A message is one more thing for the agent to do, however often it has come.
    fn effect(&self, arguments: &Map<String, Value>) -> Effect {
        match method(arguments) {
            "message/send" | "message/stream" => Effect::Once,
            _ => Effect::Idempotent,
        }
    }

    async fn perform(&self, call: &Call, vault: &mut Vault) -> Result<Value, Error> {
        let peer = self.peer(&call.arguments, vault).await?;
        let method = method(&call.arguments);
        let message = request(1, method, with_id(method, call).as_ref());
        let key = (call.idempotency_key.as_str(), is_last as fn(&Value) -> bool);
        let reply = self.net.post(&peer, message, key, vault).await?;
        let who = format!("the agent {}", reply.url);
        let results = reply.messages.iter().map(|message| result(message, &who));
        let mut results = results.collect::<Result<Vec<_>, _>>()?;
        if streams(method) {
            return Ok(vault.mask_value(Value::Array(results)));
        }
        let last = results.pop().ok_or_else(|| {
            raised("communication", 502, format!("{who} answered {method} with nothing"))
        })?;
        Ok(vault.mask_value(last))
    }
}

fn method(arguments: &Map<String, Value>) -> &str {
    arguments.get("method").and_then(Value::as_str).unwrap_or_default()
}

fn streams(method: &str) -> bool {
    matches!(method, "message/stream" | "tasks/resubscribe")
}

/// Whether nothing comes after a message: a task's last event says so, and an error.
fn is_last(message: &Value) -> bool {
    let is_final = message.pointer("/result/final").and_then(Value::as_bool).unwrap_or_default();
    is_final || message.get("error").is_some()
}

fn same_server(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

/// The address of the JSON-RPC interface that a card tells.
fn address(card: &Value) -> Result<&str, String> {
    let text =
        |value: &'_ Value, name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let is_ours = |interface: &&Value| {
        let binding = text(interface, "protocolBinding").or_else(|| text(interface, "transport"));
        binding.is_some_and(|binding| binding.eq_ignore_ascii_case("JSONRPC"))
    };
    let preferred = text(card, "preferredTransport").unwrap_or_else(|| "JSONRPC".to_owned());
    if preferred.eq_ignore_ascii_case("JSONRPC")
        && let Some(url) = card.get("url").and_then(Value::as_str)
    {
        return Ok(url);
    }
    let lists = ["supportedInterfaces", "additionalInterfaces"];
    let interfaces = lists.iter().filter_map(|list| card.get(list)?.as_array()).flatten();
    let ours = interfaces.into_iter().find(is_ours);
    ours.and_then(|interface| interface.get("url")?.as_str())
        .ok_or_else(|| "it tells no `url` for JSON-RPC".to_owned())
}

/// The parameters; a message without an id gets one that is the same in every try.
fn with_id(method: &str, call: &Call) -> Option<Value> {
    let mut parameters = parameters(&call.arguments);
    if method.starts_with("message/")
        && let Some(Value::Object(message)) =
            parameters.as_mut().and_then(|parameters| parameters.get_mut("message"))
    {
        message.entry("messageId").or_insert_with(|| json!(call.idempotency_key));
    }
    parameters
}
