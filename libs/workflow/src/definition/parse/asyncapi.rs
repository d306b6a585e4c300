//! `call: asyncapi`: messages on the channels that an AsyncAPI document describes.
//!
//! They travel on Muster's own bus, which is NATS: a message is an event whose type is the address
//! of its channel, its payload the event's data, its headers the event's other attributes.

mod channel;

use serde_json::{Map, Value};

use self::channel::{Wanted, address};
use super::http::Keys;
use super::{Object, Parser, at, is};
use crate::event::{self, EventFilter, Listen, Read, Strategy, Until};
use crate::expression::Template;
use crate::external::CONTENT;
use crate::limits;
use crate::model::{Emit, Kind};

const NAME: &str = "asyncapi";
/// Attributes that a message has of itself, or that are its payload.
const RESERVED: [&str; 6] =
    ["specversion", "source", "type", "data", "data_base64", "datacontenttype"];

impl Parser<'_> {
    pub(super) fn asyncapi(&mut self, task: &Object, pointer: &str) -> Option<Kind> {
        let optional =
            ["operation", "channel", "server", "protocol", "message", "subscription"].as_slice();
        let keys: Keys<'_> = (&["document"], optional);
        let (with, pointer) = self.with(task, pointer, NAME, keys)?;
        for (one, other) in [("operation", "channel"), ("message", "subscription")] {
            if with.contains_key(one) == with.contains_key(other) {
                let message = format!("`call: {NAME}` needs either `{one}` or `{other}`");
                self.problem(pointer.clone(), message);
            }
        }
        let channel = self.channel(with, &pointer);
        match (with.get("message"), with.get("subscription")) {
            (Some(message), _) => self.message(message, &at(&pointer, "message"), channel?),
            (None, Some(wanted)) => {
                self.subscription(wanted, &at(&pointer, "subscription"), channel?)
            }
            (None, None) => None,
        }
    }

    /// The address of the channel; an empty one as long as the document is to be fetched.
    fn channel(&mut self, with: &Object, pointer: &str) -> Option<String> {
        let at_document = at(pointer, "document");
        let resource = self.object(with.get("document")?, &at_document, "`document`")?;
        self.only(resource, &at_document, "`document`", &["name", "endpoint", CONTENT]);
        let mut text = |name: &str| {
            let value = with.get(name)?;
            self.text(value, &at(pointer, name), &format!("`{name}`")).map(str::to_owned)
        };
        let (operation, channel, protocol) = (text("operation"), text("channel"), text("protocol"));
        let server =
            with.get("server").and_then(|server| self.server(server, &at(pointer, "server")));
        if protocol.as_deref().is_some_and(|protocol| protocol != channel::PROTOCOL) {
            let message = format!(
                "`protocol` is not supported as {}; messages travel over {}",
                protocol.unwrap_or_default(),
                channel::PROTOCOL
            );
            self.problem(at(pointer, "protocol"), message);
            return None;
        }
        let Some(document) = resource.get(CONTENT) else {
            self.external_channels(resource, &at_document);
            return Some(String::new());
        };
        let wanted = Wanted {
            operation: operation.as_deref(),
            channel: channel.as_deref(),
            server: server.as_deref(),
        };
        match address(document, &wanted) {
            Ok(address) => Some(address),
            Err((place, message)) => {
                self.problem(at(pointer, place), message);
                None
            }
        }
    }

    fn server(&mut self, value: &Value, pointer: &str) -> Option<String> {
        let map = self.object(value, pointer, "`server`")?;
        // Its address is not used, so neither are the variables in it.
        self.only(map, pointer, "`server`", &["name", "variables"]);
        let at_name = at(pointer, "name");
        let Some(name) = map.get("name") else {
            self.problem(at_name, "`name` is missing: a server of the document");
            return None;
        };
        self.text(name, &at_name, "`name`").map(str::to_owned)
    }

    /// A message that is published.
    fn message(&mut self, value: &Value, pointer: &str, channel: String) -> Option<Kind> {
        let map = self.object(value, pointer, "`message`")?;
        self.only(map, pointer, "`message`", &["payload", "headers"]);
        let variables = self.variables(&[]);
        let literal = |text: String| Template::Literal(Value::String(text));
        let mut attributes = vec![
            ("source".to_owned(), literal(self.source.clone())),
            ("type".to_owned(), literal(channel)),
        ];
        if let Some(payload) = map.get("payload") {
            let payload = self.template(payload, &at(pointer, "payload"), &variables);
            attributes.push(("data".to_owned(), payload));
        }
        let at_headers = at(pointer, "headers");
        let none = Map::new();
        let headers = match map.get("headers") {
            Some(headers) => self.object(headers, &at_headers, "`headers`")?,
            None => &none,
        };
        for (name, value) in headers {
            let pointer = at(&at_headers, name);
            if !event::is_attribute_name(name) || RESERVED.contains(&name.as_str()) {
                let message = format!(
                    "`{name}` cannot be a header: it becomes an attribute of an event, which has \
                     lower-case letters and digits and is none of {}",
                    RESERVED.join(", ")
                );
                self.problem(pointer, message);
                continue;
            }
            attributes.push((name.clone(), self.template(value, &pointer, &variables)));
        }
        Some(Kind::Emit(Emit { with: Template::Object(attributes), is_called: true }))
    }

    /// Messages that are consumed.
    fn subscription(&mut self, value: &Value, pointer: &str, channel: String) -> Option<Kind> {
        let map = self.object(value, pointer, "`subscription`")?;
        self.only(map, pointer, "`subscription`", &["filter", "consume", "foreach"]);
        let variables = self.variables(&[]);
        let filter = map
            .get("filter")
            .map(|filter| self.expression(filter, &at(pointer, "filter"), &variables));
        let message = match filter {
            None => None,
            Some(filter) => Some(filter?),
        };
        let at_consume = at(pointer, "consume");
        let Some(consume) = map.get("consume") else {
            self.problem(at_consume, "`consume` is missing: how many messages are consumed");
            return None;
        };
        let consume = self.object(consume, &at_consume, "`consume`")?;
        let until = self.enough(consume, &at_consume, &variables);
        let lasting = consume
            .get("for")
            .and_then(|length| self.length(length, &at(&at_consume, "for"), &variables));
        let foreach = match map.get("foreach") {
            None => None,
            Some(foreach) => Some(self.foreach(foreach, pointer)?),
        };
        let wanted = ("type".to_owned(), event::Wanted::Value(Value::String(channel)));
        let filter = EventFilter { with: vec![wanted], correlate: Vec::new(), message };
        let to = Strategy { all: false, filters: vec![filter], until: Some(until?) };
        let (read, is_called) = (Read::Message, true);
        Some(Kind::Listen(Box::new(Listen { to, read, foreach, lasting, is_called })))
    }

    /// When enough messages are consumed.
    fn enough(&mut self, consume: &Object, pointer: &str, variables: &[String]) -> Option<Until> {
        self.only(consume, pointer, "`consume`", &["amount", "while", "until", "for"]);
        let ends = ["amount", "while", "until"];
        let given: Vec<&str> =
            ends.into_iter().filter(|name| consume.contains_key(*name)).collect();
        let [kind] = given.as_slice() else {
            let message = "`consume` needs exactly one of `amount`, `while` and `until`";
            self.problem(pointer, message);
            return None;
        };
        let (value, pointer) = (consume.get(*kind)?, at(pointer, kind));
        if *kind != "amount" {
            let condition = self.expression(value, &pointer, variables)?;
            return Some(if *kind == "while" {
                Until::Unless(condition)
            } else {
                Until::Condition(condition)
            });
        }
        let amount = value.as_u64().and_then(|amount| usize::try_from(amount).ok());
        match amount.filter(|amount| (1..=limits::ITERATIONS).contains(amount)) {
            Some(amount) => Some(Until::Amount(amount)),
            None => {
                let (is, most) = (is(value), limits::ITERATIONS);
                self.problem(
                    pointer,
                    format!("`amount` must be a number from 1 to {most}, not {is}"),
                );
                None
            }
        }
    }
}
