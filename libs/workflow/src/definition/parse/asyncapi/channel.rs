//! Where the messages of an AsyncAPI document travel: versions 2 and 3 of the specification.

use serde_json::Value;

/// The protocol of the bus.
pub(super) const PROTOCOL: &str = "nats";
/// The longest address, in bytes.
const MAX_ADDRESS: usize = 256;

/// What a task says of the channel that it wants.
pub(super) struct Wanted<'t> {
    pub(super) operation: Option<&'t str>,
    pub(super) channel: Option<&'t str>,
    pub(super) server: Option<&'t str>,
}

/// The key of `with` that is wrong, and what is.
type Flaw = (&'static str, String);

/// The address of the wanted channel.
pub(super) fn address(document: &Value, wanted: &Wanted<'_>) -> Result<String, Flaw> {
    let version = document.get("asyncapi").and_then(Value::as_str).unwrap_or_default();
    let found = match version.split('.').next() {
        Some("3") => third(document, wanted)?,
        Some("2") => second(document, wanted)?,
        _ => {
            let message = format!(
                "`asyncapi` is `{version:.20}` in the document; supported are versions 2 and 3"
            );
            return Err(("document", message));
        }
    };
    let place = if wanted.operation.is_some() { "operation" } else { "channel" };
    check_server(document, &found, wanted)?;
    match found.address {
        Some(address) if address.is_empty() || address.len() > MAX_ADDRESS => {
            let message = format!("the channel's address must have 1 to {MAX_ADDRESS} bytes");
            Err((place, message))
        }
        Some(address) if address.contains(['{', '}']) => {
            let message = format!(
                "the channel's address `{address}` has parameters, for which a call has no values: \
                 this is not supported"
            );
            Err((place, message))
        }
        Some(address) => Ok(address),
        None => Err((place, "the channel has no address in the document".to_owned())),
    }
}

/// A channel of a document.
struct Channel {
    address: Option<String>,
    /// The servers that have it; none: all.
    servers: Vec<String>,
}

/// Version 3: operations name their channels.
fn third(document: &Value, wanted: &Wanted<'_>) -> Result<Channel, Flaw> {
    let channel = match (wanted.operation, wanted.channel) {
        (Some(operation), _) => {
            let operation = known(document, "operations", operation, "operation")?;
            let name = operation.pointer("/channel/$ref").and_then(Value::as_str);
            let name = name.and_then(|name| name.rsplit('/').next());
            let name = name.ok_or_else(|| {
                ("operation", "the operation has no `channel.$ref` in the document".to_owned())
            })?;
            known(document, "channels", &unescaped(name), "operation")?
        }
        (None, name) => known(document, "channels", name.unwrap_or_default(), "channel")?,
    };
    let servers = channel.get("servers").and_then(Value::as_array).into_iter().flatten();
    let servers = servers.filter_map(|server| server.get("$ref")?.as_str()?.rsplit('/').next());
    Ok(Channel {
        address: channel.get("address").and_then(Value::as_str).map(str::to_owned),
        servers: servers.map(unescaped).collect(),
    })
}

/// Version 2: channels are named by their addresses, and hold their operations.
fn second(document: &Value, wanted: &Wanted<'_>) -> Result<Channel, Flaw> {
    let (address, channel) = match (wanted.operation, wanted.channel) {
        (Some(operation), _) => {
            let channels = document.get("channels").and_then(Value::as_object);
            let found = channels.into_iter().flatten().find(|(_, channel)| {
                let id = |kind: &str| channel.get(kind)?.get("operationId")?.as_str();
                [id("publish"), id("subscribe")].contains(&Some(operation))
            });
            found.map(|(address, channel)| (address.as_str(), channel)).ok_or_else(|| {
                let message =
                    format!("no channel of the document has the operation `{operation:.80}`");
                ("operation", message)
            })?
        }
        (None, address) => {
            let address = address.unwrap_or_default();
            (address, known(document, "channels", address, "channel")?)
        }
    };
    let servers = channel.get("servers").and_then(Value::as_array).into_iter().flatten();
    Ok(Channel {
        address: Some(address.to_owned()),
        servers: servers.filter_map(Value::as_str).map(str::to_owned).collect(),
    })
}

/// What a section of the document has under a name.
fn known<'d>(
    document: &'d Value,
    section: &str,
    name: &str,
    place: &'static str,
) -> Result<&'d Value, Flaw> {
    let entries = document.get(section).and_then(Value::as_object);
    entries.and_then(|entries| entries.get(name)).ok_or_else(|| {
        let names: Vec<&str> =
            entries.into_iter().flatten().take(20).map(|(name, _)| name.as_str()).collect();
        let there = if names.is_empty() { "nothing".to_owned() } else { names.join(", ") };
        (place, format!("`{name:.80}` is not in `{section}` of the document, which has {there}"))
    })
}

/// The server that is named, or any of those that have the channel, speaks NATS. Where the document
/// has no servers, nothing else is said.
fn check_server(document: &Value, channel: &Channel, wanted: &Wanted<'_>) -> Result<(), Flaw> {
    let protocol = |server: &Value| {
        server.get("protocol").and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    if let Some(name) = wanted.server {
        let server = known(document, "servers", name, "server")?;
        if !channel.servers.is_empty() && !channel.servers.iter().any(|known| known == name) {
            let there = channel.servers.join(", ");
            return Err(("server", format!("the channel is not on `{name}`, but on {there}")));
        }
        return supported(name, &protocol(server)).map_err(|message| ("server", message));
    }
    let servers = document.get("servers").and_then(Value::as_object);
    let mut candidates = servers.into_iter().flatten().filter(|(name, _)| {
        channel.servers.is_empty() || channel.servers.iter().any(|known| known == *name)
    });
    let Some((name, first)) = candidates.next() else { return Ok(()) };
    if candidates.any(|(_, server)| protocol(server) == PROTOCOL) {
        return Ok(());
    }
    supported(name, &protocol(first)).map_err(|message| ("document", message))
}

fn supported(name: &str, protocol: &str) -> Result<(), String> {
    if protocol == PROTOCOL {
        return Ok(());
    }
    Err(format!(
        "the server `{name:.80}` speaks `{protocol:.40}`, which is not supported; messages travel over {PROTOCOL}"
    ))
}

/// A part of a JSON pointer.
fn unescaped(part: &str) -> String {
    part.replace("~1", "/").replace("~0", "~")
}
