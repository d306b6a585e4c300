//! Writes the trait implementations and the table of `CATALOGUE`.

use std::fmt::Write;

use anyhow::{Context, bail};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use crate::options;
use crate::words::Words;

pub(crate) fn generate(pool: &DescriptorPool) -> anyhow::Result<String> {
    let mut code = String::new();
    let words = Words::of(pool)?;
    let (mut entries, mut types) = (Vec::new(), Vec::new());
    for message in pool.all_messages().filter(ours) {
        write_message(&message, &mut code)?;
        types.push(format!("crate::MessageType::of::<{}>()", path(&message)));
        if let Some(bus) = options::bus(&message)? {
            write_durable(&message, &bus, &words, &mut code)?;
            entries.extend(durable_entries(&message, &bus));
        }
    }
    for service in pool.services() {
        for method in service.methods() {
            let rpc = options::rpc(&method)?;
            write_request(&method, &rpc, &words, &mut code)?;
            entries.push(request_entry(&method, &rpc));
        }
    }
    entries.sort();
    types.sort();
    writeln!(
        code,
        "/// Every subject of the contract, in the order of their subjects.
        pub static CATALOGUE: &[Entry] = &[{}];
        /// Every message of the contract, in the order of their names.
        pub static MESSAGES: &[crate::MessageType] = &[{}];",
        entries.join(",\n"),
        types.join(",\n")
    )?;
    Ok(code)
}

fn ours(message: &MessageDescriptor) -> bool {
    message.package_name().starts_with("muster.")
        && message.package_name() != "muster.options.v1"
        && !message.is_map_entry()
}

fn write_message(message: &MessageDescriptor, code: &mut String) -> anyhow::Result<()> {
    let mut missing = String::new();
    for field in message.fields() {
        let name = ident(field.name());
        let nested = matches!(field.kind(), Kind::Message(ref inner) if ours(inner))
            && !field.is_list()
            && !field.is_map();
        if options::field_flag(&field, "required") {
            writeln!(
                missing,
                "if {} {{ return Some({:?}.to_owned()); }}",
                empty(&field, &name)?,
                field.name()
            )?;
        }
        if nested {
            writeln!(
                missing,
                "if let Some(inner) = &self.{name} && let Some(path) = crate::Message::missing(inner) {{ return Some(format!(\"{}.{{path}}\")); }}",
                field.name()
            )?;
        }
    }
    let execution = if message
        .get_field_by_name("execution_id")
        .is_some_and(|field| field.kind() == Kind::String)
    {
        "&self.execution_id"
    } else {
        "\"\""
    };
    writeln!(
        code,
        "impl crate::Message for {path} {{
            const NAME: &'static str = {full:?};
            const SEALED: &'static [&'static str] = &{sealed:?};
            fn missing(&self) -> Option<String> {{ {missing} None }}
            fn execution_id(&self) -> &str {{ {execution} }}
        }}",
        path = path(message),
        full = message.full_name(),
        sealed = sealed(message)?,
    )?;
    Ok(())
}

/// The names of the fields that the bus encrypts.
fn sealed(message: &MessageDescriptor) -> anyhow::Result<Vec<String>> {
    let subject = options::bus(message)?.map(|bus| bus.subject).unwrap_or_default();
    let whole = options::message_flag(message, "sealed_message");
    let mut names = Vec::new();
    for field in message.fields() {
        let token = subject.split('.').any(|token| token_field(token) == Some(field.name()));
        let marked = options::field_flag(&field, "sealed");
        if marked && token {
            bail!("{}: a token of the subject cannot be sealed", field.full_name());
        }
        if marked || (whole && !token) {
            names.push(field.name().to_owned());
        }
    }
    Ok(names)
}

fn empty(field: &FieldDescriptor, name: &str) -> anyhow::Result<String> {
    Ok(match field.kind() {
        Kind::String => format!("self.{name}.is_empty()"),
        Kind::Message(_) if !field.is_list() => format!("self.{name}.is_none()"),
        other => bail!(
            "{}: `required` is for strings and messages, not for {other:?}",
            field.full_name()
        ),
    })
}

fn write_durable(
    message: &MessageDescriptor,
    bus: &options::Bus,
    words: &Words,
    code: &mut String,
) -> anyhow::Result<()> {
    let path = path(message);
    write_addressed(message, &address_of(bus), words, code)?;
    let streams: Vec<String> =
        bus.streams.iter().map(|(_, stream)| format!("Stream::{stream}")).collect();
    writeln!(
        code,
        "impl crate::Durable for {path} {{
            const STREAMS: &'static [Stream] = &[{streams}];
            const KIND: crate::Kind = crate::Kind::{kind};
            const VERSION: u32 = {version};
        }}
        impl crate::{kind} for {path} {{}}",
        streams = streams.join(", "),
        kind = bus.kind,
        version = bus.version,
    )?;
    if !bus.schedule.is_empty() {
        writeln!(
            code,
            "impl crate::Timer for {path} {{
                fn schedule(&self) -> Result<String, crate::SubjectError> {{ {} }}
            }}",
            fill_template(message, &bus.schedule, &[], words)?
        )?;
    }
    Ok(())
}

/// Where a message is found.
struct Address<'a> {
    template: &'a str,
    alias: &'a str,
    /// The values that the template's first token may have; empty: any.
    values: Vec<&'a str>,
}

fn address_of(bus: &options::Bus) -> Address<'_> {
    let values = bus.streams.iter().map(|(value, _)| value.as_str());
    Address {
        template: &bus.subject,
        alias: &bus.alias,
        values: values.filter(|value| !value.is_empty()).collect(),
    }
}

fn write_addressed(
    message: &MessageDescriptor,
    address: &Address<'_>,
    words: &Words,
    code: &mut String,
) -> anyhow::Result<()> {
    let Address { template, alias, .. } = address;
    let mut take = String::new();
    for (index, token) in template.split('.').enumerate() {
        if let Some(field) = token_field(token) {
            writeln!(
                take,
                "if self.{0}.is_empty() && let Some(token) = subject.split('.').nth({index}) {{ token.clone_into(&mut self.{0}); }}",
                ident(field)
            )?;
        }
    }
    let tokens = |template: &str| {
        let tokens = template.split('.').enumerate();
        tokens
            .filter_map(|(place, token)| Some((place, token_field(token)?.to_owned())))
            .collect::<Vec<_>>()
    };
    if !alias.is_empty() && tokens(alias) != tokens(template) {
        bail!(
            "{}: {alias:?} must have its tokens where {template:?} has them",
            message.full_name()
        );
    }
    let argument = if take.is_empty() { "_subject" } else { "subject" };
    writeln!(
        code,
        "impl crate::Addressed for {path} {{
            const SUBJECT: &'static str = {template:?};
            const ALIAS: &'static str = {alias:?};
            fn subject(&self) -> Result<String, crate::SubjectError> {{ {fill} }}
            fn take_from_subject(&mut self, {argument}: &str) {{ {take} }}
        }}",
        path = path(message),
        fill = fill_template(message, template, &address.values, words)?,
    )?;
    Ok(())
}

fn fill_template(
    message: &MessageDescriptor,
    template: &str,
    values: &[&str],
    words: &Words,
) -> anyhow::Result<String> {
    let mut arguments = Vec::new();
    for (place, field) in template
        .split('.')
        .enumerate()
        .filter_map(|(place, token)| Some((place, token_field(token)?)))
    {
        let found = message.get_field_by_name(field).with_context(|| {
            format!("{}: {{{field}}} of {template:?} is not a field", message.full_name())
        })?;
        if found.kind() != Kind::String {
            bail!("{}: {{{field}}} of {template:?} must be a string", message.full_name());
        }
        let id = options::field_flag(&found, "id");
        let check = match (values, id) {
            ([_, ..], _) if arguments.is_empty() => {
                format!("one_of({field:?}, &self.{}, &{values:?})", ident(field))
            }
            (_, true) => format!(
                "id({field:?}, &self.{}, &{:?})",
                ident(field),
                words.beside_id(template, place)
            ),
            (_, false) => format!(
                "token_beside({field:?}, &self.{}, &{:?})",
                ident(field),
                words.beside(template, place)
            ),
        };
        arguments.push(format!("crate::subject::{check}?"));
    }
    if arguments.is_empty() {
        return Ok(format!("Ok({template:?}.to_owned())"));
    }
    let format = template
        .split('.')
        .map(|token| if token_field(token).is_some() { "{}" } else { token })
        .collect::<Vec<_>>()
        .join(".");
    Ok(format!("Ok(format!({format:?}, {}))", arguments.join(", ")))
}

fn write_request(
    method: &prost_reflect::MethodDescriptor,
    rpc: &options::Rpc,
    words: &Words,
    code: &mut String,
) -> anyhow::Result<()> {
    let input = method.input();
    let address = Address { template: &rpc.subject, alias: "", values: Vec::new() };
    write_addressed(&input, &address, words, code)?;
    writeln!(
        code,
        "impl crate::Request for {path} {{
            type Reply = {reply};
            const METHOD: &'static str = {name:?};
            const LONG: bool = {long};
            const RECORDED: bool = {recorded};
            const PEERS: bool = {peers};
            const READS: bool = {reads};
        }}",
        path = path(&input),
        reply = path(&method.output()),
        name = method.name(),
        long = rpc.long,
        recorded = rpc.recorded.is_some(),
        peers = !rpc.peers.is_empty(),
        reads = rpc.reads,
    )?;
    Ok(())
}

/// An entry for each subject: one for each partition, the alias, and where the broker sends it again.
fn durable_entries(message: &MessageDescriptor, bus: &options::Bus) -> Vec<String> {
    let entry = |subject: &str, stream: Option<&str>, producers: &[String]| {
        let stream = stream.map(|stream| format!("Stream::{stream}"));
        format!(
            "Entry {{ subject: {subject:?}, kind: crate::Kind::{}, message: {:?}, reply: None, stream: {}, version: {}, producers: &{producers:?}, consumers: &{:?}, schedule: {:?}, planned: {}, reads: false }}",
            bus.kind,
            message.full_name(),
            stream.map_or_else(|| "None".to_owned(), |stream| format!("Some({stream})")),
            bus.version,
            bus.consumers,
            bus.schedule,
            bus.planned
        )
    };
    let mut entries = Vec::new();
    for (value, stream) in &bus.streams {
        let first = bus.subject.split('.').find(|token| token_field(token).is_some());
        let subject = match first {
            Some(first) if !value.is_empty() => bus.subject.replacen(first, value, 1),
            _ => bus.subject.clone(),
        };
        entries.push(entry(&subject, Some(stream), &bus.producers));
        if !bus.alias.is_empty() {
            entries.push(entry(&bus.alias, Some(stream), &bus.producers));
        }
    }
    if !bus.republished.is_empty() {
        entries.push(entry(&bus.republished, None, &[]));
    }
    entries
}

fn request_entry(method: &prost_reflect::MethodDescriptor, rpc: &options::Rpc) -> String {
    let stream = rpc
        .recorded
        .as_ref()
        .map_or_else(|| "None".to_owned(), |stream| format!("Some(Stream::{stream})"));
    format!(
        "Entry {{ subject: {:?}, kind: crate::Kind::Request, message: {:?}, reply: Some({:?}), stream: {stream}, version: 1, producers: &{:?}, consumers: &{:?}, schedule: \"\", planned: {}, reads: {} }}",
        rpc.subject,
        method.input().full_name(),
        method.output().full_name(),
        rpc.callers,
        std::iter::once(&rpc.server).chain(&rpc.peers).collect::<Vec<_>>(),
        rpc.planned,
        rpc.reads
    )
}

pub(crate) fn token_field(token: &str) -> Option<&str> {
    token.strip_prefix('{')?.strip_suffix('}')
}

/// `muster.workflow.v1.StartExecution` is `crate::workflow::v1::StartExecution`.
fn path(message: &MessageDescriptor) -> String {
    let package = message.package_name().trim_start_matches("muster.").replace('.', "::");
    format!("crate::{package}::{}", message.name())
}

fn ident(field: &str) -> String {
    match field {
        "ref" | "type" => format!("r#{field}"),
        other => other.to_owned(),
    }
}
