//! Writes the trait implementations and the tables of `CATALOGUE` and `Stream`.

use std::fmt::Write;

use anyhow::{Context, bail};
use prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor};

use crate::options::{self, camel, flag, number, text, variant};

pub(crate) fn generate(pool: &DescriptorPool) -> anyhow::Result<String> {
    let mut code = String::new();
    streams(pool, &mut code)?;
    let mut entries = Vec::new();
    for message in pool.all_messages().filter(ours) {
        write_message(&message, &mut code)?;
        if let Some(bus) = options::bus(&message)? {
            write_durable(&message, &bus, &mut code)?;
            entries.push(durable_entry(&message, &bus));
        }
    }
    for service in pool.services() {
        for method in service.methods() {
            let rpc = options::rpc(&method)?;
            write_request(&method, &rpc, &mut code)?;
            entries.push(request_entry(&method, &rpc));
        }
    }
    entries.sort();
    writeln!(
        code,
        "/// Every subject of the contract, in the order of their subjects.\npub static CATALOGUE: &[Entry] = &[{}];",
        entries.join(",\n")
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
        if options::required(&field) {
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
            fn missing(&self) -> Option<String> {{ {missing} None }}
            fn execution_id(&self) -> &str {{ {execution} }}
        }}",
        path = path(message),
        full = message.full_name(),
    )?;
    Ok(())
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
    code: &mut String,
) -> anyhow::Result<()> {
    let path = path(message);
    write_addressed(message, &bus.subject, code)?;
    writeln!(
        code,
        "impl crate::Durable for {path} {{
            const STREAM: Stream = Stream::{stream};
            const KIND: crate::Kind = crate::Kind::{kind};
            const VERSION: u32 = {version};
        }}
        impl crate::{kind} for {path} {{}}",
        stream = bus.stream,
        kind = bus.kind,
        version = bus.version,
    )?;
    if !bus.schedule.is_empty() {
        writeln!(
            code,
            "impl crate::Timer for {path} {{
                fn schedule(&self) -> Result<String, crate::SubjectError> {{ {} }}
            }}",
            fill_template(message, &bus.schedule)?
        )?;
    }
    Ok(())
}

fn write_addressed(
    message: &MessageDescriptor,
    template: &str,
    code: &mut String,
) -> anyhow::Result<()> {
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
    let argument = if take.is_empty() { "_subject" } else { "subject" };
    writeln!(
        code,
        "impl crate::Addressed for {path} {{
            const SUBJECT: &'static str = {template:?};
            fn subject(&self) -> Result<String, crate::SubjectError> {{ {fill} }}
            fn take_from_subject(&mut self, {argument}: &str) {{ {take} }}
        }}",
        path = path(message),
        fill = fill_template(message, template)?,
    )?;
    Ok(())
}

fn fill_template(message: &MessageDescriptor, template: &str) -> anyhow::Result<String> {
    let fields: Vec<&str> = template.split('.').filter_map(token_field).collect();
    for field in &fields {
        let found = message.get_field_by_name(field).with_context(|| {
            format!("{}: {{{field}}} of {template:?} is not a field", message.full_name())
        })?;
        if found.kind() != Kind::String {
            bail!("{}: {{{field}}} of {template:?} must be a string", message.full_name());
        }
    }
    if fields.is_empty() {
        return Ok(format!("Ok({template:?}.to_owned())"));
    }
    let arguments: Vec<String> = fields
        .iter()
        .map(|field| {
            format!("{}: crate::subject::token({field:?}, &self.{})?", "", ident(field))
                .trim_start_matches(": ")
                .to_owned()
        })
        .collect();
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
    code: &mut String,
) -> anyhow::Result<()> {
    let input = method.input();
    write_addressed(&input, &rpc.subject, code)?;
    writeln!(
        code,
        "impl crate::Request for {path} {{
            type Reply = {reply};
            const METHOD: &'static str = {name:?};
            const LONG: bool = {long};
            const RECORDED: bool = {recorded};
        }}",
        path = path(&input),
        reply = path(&method.output()),
        name = method.name(),
        long = rpc.long,
        recorded = rpc.recorded.is_some(),
    )?;
    Ok(())
}

fn durable_entry(message: &MessageDescriptor, bus: &options::Bus) -> String {
    format!(
        "Entry {{ subject: {:?}, kind: crate::Kind::{}, message: {:?}, reply: None, stream: Some(Stream::{}), version: {}, producers: &{:?}, consumers: &{:?}, schedule: {:?} }}",
        bus.subject,
        bus.kind,
        message.full_name(),
        bus.stream,
        bus.version,
        bus.producers,
        bus.consumers,
        bus.schedule
    )
}

fn request_entry(method: &prost_reflect::MethodDescriptor, rpc: &options::Rpc) -> String {
    let stream = rpc
        .recorded
        .as_ref()
        .map_or_else(|| "None".to_owned(), |stream| format!("Some(Stream::{stream})"));
    format!(
        "Entry {{ subject: {:?}, kind: crate::Kind::Request, message: {:?}, reply: Some({:?}), stream: {stream}, version: 1, producers: &{:?}, consumers: &{:?}, schedule: \"\" }}",
        rpc.subject,
        method.input().full_name(),
        method.output().full_name(),
        rpc.callers,
        [&rpc.server]
    )
}

fn streams(pool: &DescriptorPool, code: &mut String) -> anyhow::Result<()> {
    let streams = pool
        .get_enum_by_name("muster.options.v1.Stream")
        .context("muster.options.v1.Stream is not declared")?;
    let (mut variants, mut names, mut settings, mut all) =
        (String::new(), String::new(), String::new(), String::new());
    for value in streams.values().filter(|value| value.number() != 0) {
        let wire = value.name().trim_start_matches("STREAM_");
        let name = camel(wire);
        let option = options::stream(&value)?.with_context(|| {
            format!("{}: a stream needs (muster.options.v1.stream)", value.full_name())
        })?;
        writeln!(variants, "/// The stream `{wire}`.\n{name},")?;
        writeln!(names, "Self::{name} => {wire:?},")?;
        writeln!(all, "Self::{name},")?;
        writeln!(
            settings,
            "Self::{name} => StreamSettings {{ storage: crate::Storage::{}, max_age_s: {}, max_bytes: {}, max_message_bytes: {}, duplicate_window_s: {}, allow_direct: {}, allow_schedules: {}, allow_ttl: {}, no_ack: {}, republish: {}, advisories: {} }},",
            variant(&option, "storage", "STORAGE_")?,
            number(&option, "max_age_s"),
            number(&option, "max_bytes"),
            number(&option, "max_message_bytes"),
            number(&option, "duplicate_window_s"),
            flag(&option, "allow_direct"),
            flag(&option, "allow_schedules"),
            flag(&option, "allow_ttl"),
            flag(&option, "no_ack"),
            match text(&option, "republish_source").as_str() {
                "" => "None".to_owned(),
                source =>
                    format!("Some(({source:?}, {:?}))", text(&option, "republish_destination")),
            },
            flag(&option, "advisories"),
        )?;
    }
    writeln!(
        code,
        "/// The JetStream streams of the contract.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Stream {{ {variants} }}
        impl Stream {{
            /// Every stream.
            pub const ALL: &'static [Self] = &[{all}];
            /// The stream's name on the server.
            pub const fn name(self) -> &'static str {{ match self {{ {names} }} }}
            /// How the stream keeps its messages.
            pub const fn settings(self) -> StreamSettings {{ match self {{ {settings} }} }}
        }}"
    )?;
    Ok(())
}

fn token_field(token: &str) -> Option<&str> {
    token.strip_prefix('{')?.strip_suffix('}')
}

/// `muster.workflow.v1.StartExecution` is `crate::workflow::v1::StartExecution`.
fn path(message: &MessageDescriptor) -> String {
    let package = message.package_name().trim_start_matches("muster.").replace('.', "::");
    format!("crate::{package}::{}", message.name())
}

fn ident(field: &str) -> String {
    match field {
        "type" => "r#type".to_owned(),
        other => other.to_owned(),
    }
}
