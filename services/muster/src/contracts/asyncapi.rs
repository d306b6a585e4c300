//! AsyncAPI 3.0: channels, operations and messages, for tools.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use muster_contracts::permissions::queue_group;
use muster_contracts::{CATALOGUE, Entry, Kind};
use serde_json::{Map, Value, json};

use super::description::{Contract, field_comment, fields_of, message_comment};
use super::schema;

const HEADERS: &str = "Headers";

pub(super) fn render(contract: &Contract) -> Result<String> {
    let document = json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Muster",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Every subject on the bus of Muster. Made from proto/ by `muster contracts asyncapi`. Clients outside use REST: see /openapi.json of the gateway.",
        },
        "servers": {
            "nats": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "nats-server 2.14 or newer with JetStream",
            },
        },
        "defaultContentType": "application/json",
        "channels": channels(contract)?,
        "operations": operations(),
        "components": { "messages": messages(contract)?, "schemas": schemas(contract) },
    });
    Ok(serde_yaml_ng::to_string(&schema::sorted(document))?)
}

/// One channel a subject; some subjects carry more than one message.
fn channels(contract: &Contract) -> Result<Value> {
    let mut subjects: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    for entry in CATALOGUE {
        subjects.entry(entry.subject).or_default().push(entry);
    }
    let mut channels = Map::new();
    for (subject, entries) in subjects {
        let messages: Map<String, Value> = entries
            .iter()
            .map(|entry| (short(entry.message).to_owned(), component("messages", entry.message)))
            .collect();
        let mut channel = json!({ "address": subject, "messages": messages });
        let parameters = parameters(contract, subject, &entries)?;
        if !parameters.is_empty() {
            add(&mut channel, "parameters", Value::Object(parameters));
        }
        if let Some(stream) = entries.iter().find_map(|entry| entry.stream) {
            add(&mut channel, "x-muster-stream", json!(stream.name()));
        }
        channels.insert(id_of(subject), channel);
        for entry in entries {
            if let Some(reply) = entry.reply {
                let messages = json!({ short(reply): component("messages", reply) });
                // The requester's own inbox: known when it asks.
                channels.insert(reply_id(entry), json!({ "address": null, "messages": messages }));
            }
        }
    }
    Ok(Value::Object(channels))
}

fn parameters(
    contract: &Contract,
    subject: &str,
    entries: &[&Entry],
) -> Result<Map<String, Value>> {
    let mut parameters = Map::new();
    for field in fields_of(subject) {
        let mut about = String::new();
        for entry in entries {
            if let Some(field) = contract.message(entry.message)?.get_field_by_name(field)
                && about.is_empty()
            {
                about = field_comment(&field);
            }
        }
        let about = if about.is_empty() { format!("The message's `{field}`.") } else { about };
        parameters.insert(field.to_owned(), json!({ "description": about }));
    }
    Ok(parameters)
}

/// Who sends and who receives what.
fn operations() -> Value {
    let mut operations = Map::new();
    for entry in CATALOGUE {
        for service in entry.producers {
            let operation = operation(entry, service, "send");
            operations.insert(operation_id(entry, service, "send"), operation);
        }
        for service in entry.consumers {
            let mut operation = operation(entry, service, "receive");
            if entry.kind == Kind::Request && *service != "*" {
                let binding = json!({ "queue": queue_group(service), "bindingVersion": "0.1.0" });
                add(&mut operation, "bindings", json!({ "nats": binding }));
            }
            operations.insert(operation_id(entry, service, "receive"), operation);
        }
    }
    Value::Object(operations)
}

fn operation(entry: &Entry, service: &str, action: &str) -> Value {
    let channel = id_of(entry.subject);
    let message = |channel: &str, message: &str| json!({ "$ref": format!("#/channels/{channel}/messages/{}", short(message)) });
    let mut operation = json!({
        "action": action,
        "channel": { "$ref": format!("#/channels/{channel}") },
        "messages": [message(&channel, entry.message)],
        "tags": [{ "name": if service == "*" { "any service" } else { service } }],
        "x-muster-kind": format!("{:?}", entry.kind),
    });
    if entry.planned {
        add(&mut operation, "x-muster-planned", json!(true));
    }
    if entry.reads {
        add(&mut operation, "x-muster-reads", json!(true));
    }
    if let Some(reply) = entry.reply {
        let channel = reply_id(entry);
        let reply = json!({
            "channel": { "$ref": format!("#/channels/{channel}") },
            "messages": [message(&channel, reply)],
        });
        add(&mut operation, "reply", reply);
    }
    operation
}

fn messages(contract: &Contract) -> Result<Value> {
    let names: BTreeSet<&str> = CATALOGUE
        .iter()
        .flat_map(|entry| std::iter::once(entry.message).chain(entry.reply))
        .collect();
    let mut messages = Map::new();
    for name in names {
        let mut message = json!({
            "name": name,
            "title": short(name),
            "summary": message_comment(&contract.message(name)?),
            "payload": component("schemas", name),
        });
        let durable = CATALOGUE.iter().find(|entry| entry.message == name && entry.reply.is_none());
        if let Some(entry) = durable {
            add(&mut message, "headers", component("schemas", HEADERS));
            add(&mut message, "x-muster-version", json!(entry.version));
        }
        messages.insert(name.to_owned(), message);
    }
    Ok(Value::Object(messages))
}

fn schemas(contract: &Contract) -> Value {
    let mut schemas = Map::from_iter([(HEADERS.to_owned(), headers())]);
    for message in contract.areas().into_iter().flat_map(|area| area.messages) {
        let schema = schema::object(&message, "#/components/schemas/");
        schemas.insert(message.full_name().to_owned(), schema);
    }
    Value::Object(schemas)
}

/// CloudEvents in binary mode, trace context, and ours.
fn headers() -> Value {
    let text = |about: &str| json!({ "type": "string", "description": about });
    json!({
        "type": "object",
        "required": ["Nats-Msg-Id"],
        "properties": {
            "ce-specversion": { "type": "string", "const": "1.0" },
            "ce-id": text("The event's id: the same for every delivery."),
            "ce-type": text("The message's full name."),
            "ce-source": text("`/muster/` and the service that sent it."),
            "ce-time": text("When it was sent, RFC 3339."),
            "Content-Type": text("application/json"),
            "Nats-Msg-Id": text("As ce-id: the stream drops a second message with it."),
            "Muster-Schema": text("The message's full name, `/v`, and its version."),
            "Muster-Execution": text("The execution that it belongs to."),
            "traceparent": text("W3C trace context."),
            "Content-Encoding": text("zstd: the body is compressed."),
            "Muster-Claim": text("The store and the object that have the body; then the message's own is empty."),
            "Muster-Claim-Sha256": text("What the object is, as it lies there, in hexadecimal digits."),
            "Muster-Claim-Size": text("How large the object is, in bytes."),
            "Muster-Sealed": text("v1: the sealed fields are encrypted."),
        },
    })
}

fn component(kind: &str, name: &str) -> Value {
    json!({ "$ref": format!("#/components/{kind}/{name}") })
}

fn add(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(map) = object {
        map.insert(key.to_owned(), value);
    }
}

/// `muster.agent.v1.AgentStatus` is `AgentStatus`.
pub(super) fn short(message: &str) -> &str {
    message.rsplit('.').next().unwrap_or(message)
}

/// `agent.{agent_id}.status` is `agent_agent_id_status`.
fn id_of(subject: &str) -> String {
    subject.replace(['{', '}'], "").replace('.', "_")
}

fn reply_id(entry: &Entry) -> String {
    format!("{}_{}_reply", id_of(entry.subject), short(entry.message))
}

fn operation_id(entry: &Entry, service: &str, action: &str) -> String {
    let service = if service == "*" { "any" } else { service };
    format!("{service}_{action}_{}_{}", id_of(entry.subject), short(entry.message))
}
