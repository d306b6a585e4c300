//! Reads `muster.options.v1` from descriptors.

use anyhow::{Context, bail};
use prost_reflect::{
    DescriptorPool, DynamicMessage, EnumValueDescriptor, FieldDescriptor, FileDescriptor,
    MessageDescriptor, MethodDescriptor, ReflectMessage, Value,
};

/// `muster.options.v1.Bus`.
pub(crate) struct Bus {
    pub(crate) subject: String,
    pub(crate) kind: String,
    /// The streams that share the message, each with the value of the subject's first token; a single one without a value.
    pub(crate) streams: Vec<(String, String)>,
    pub(crate) version: u32,
    pub(crate) producers: Vec<String>,
    pub(crate) consumers: Vec<String>,
    pub(crate) schedule: String,
    pub(crate) alias: String,
    pub(crate) republished: String,
    pub(crate) planned: bool,
}

/// `muster.options.v1.Rpc`.
pub(crate) struct Rpc {
    pub(crate) subject: String,
    pub(crate) callers: Vec<String>,
    pub(crate) server: String,
    pub(crate) long: bool,
    pub(crate) recorded: Option<String>,
    pub(crate) peers: Vec<String>,
    pub(crate) planned: bool,
    pub(crate) reads: bool,
}

pub(crate) fn bus(message: &MessageDescriptor) -> anyhow::Result<Option<Bus>> {
    let Some(options) =
        extension(message.parent_pool(), "muster.options.v1.bus", &message.options())?
    else {
        return Ok(None);
    };
    let bus = Bus {
        subject: text(&options, "subject"),
        kind: variant(&options, "kind", "KIND_")?,
        streams: streams_of(&options)?,
        version: number(&options, "version") as u32,
        producers: texts(&options, "producers"),
        consumers: texts(&options, "consumers"),
        schedule: text(&options, "schedule"),
        alias: text(&options, "alias"),
        republished: text(&options, "republished"),
        planned: flag(&options, "planned"),
    };
    if bus.version == 0 {
        bail!("{}: version must be at least 1", message.full_name());
    }
    Ok(Some(bus))
}

pub(crate) fn rpc(method: &MethodDescriptor) -> anyhow::Result<Rpc> {
    let options = extension(method.parent_pool(), "muster.options.v1.rpc", &method.options())?
        .with_context(|| {
            format!("{}: a method needs (muster.options.v1.rpc)", method.full_name())
        })?;
    let (long, reads) = (flag(&options, "long"), flag(&options, "reads"));
    if long && reads {
        bail!("{}: `long` has signs of life, so that it cannot be `reads`", method.full_name());
    }
    Ok(Rpc {
        subject: text(&options, "subject"),
        callers: texts(&options, "callers"),
        server: text(&options, "server"),
        long,
        recorded: if number(&options, "recorded") == 0 {
            None
        } else {
            Some(variant(&options, "recorded", "STREAM_")?)
        },
        peers: texts(&options, "peers"),
        planned: flag(&options, "planned"),
        reads,
    })
}

/// Whether a field has the option `muster.options.v1.<name>`.
pub(crate) fn field_flag(field: &FieldDescriptor, name: &str) -> bool {
    set(field.parent_message().parent_pool(), name, &field.options())
}

/// Whether a message has the option `muster.options.v1.<name>`.
pub(crate) fn message_flag(message: &MessageDescriptor, name: &str) -> bool {
    set(message.parent_pool(), name, &message.options())
}

/// The settings `muster.options.v1.<name>` of a value that names a stream, a bucket or a store.
pub(crate) fn settings(value: &EnumValueDescriptor, name: &str) -> anyhow::Result<DynamicMessage> {
    let name = format!("muster.options.v1.{name}");
    extension(value.parent_enum().parent_pool(), &name, &value.options())?
        .with_context(|| format!("{}: needs ({name})", value.full_name()))
}

/// The comment of a descriptor with this path in its file, on one line.
pub(crate) fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let locations = file.file_descriptor_proto().source_code_info.iter();
    locations
        .flat_map(|info| &info.location)
        .find(|location| location.path == path)
        .map(|location| {
            location.leading_comments().split_whitespace().collect::<Vec<_>>().join(" ")
        })
        .unwrap_or_default()
}

fn streams_of(options: &DynamicMessage) -> anyhow::Result<Vec<(String, String)>> {
    let partitions = messages(options, "partitions");
    if partitions.is_empty() {
        return Ok(vec![(String::new(), variant(options, "stream", "STREAM_")?)]);
    }
    partitions
        .iter()
        .map(|partition| Ok((text(partition, "value"), variant(partition, "stream", "STREAM_")?)))
        .collect()
}

fn set(pool: &DescriptorPool, name: &str, options: &DynamicMessage) -> bool {
    pool.get_extension_by_name(&format!("muster.options.v1.{name}"))
        .is_some_and(|extension| options.get_extension(&extension).as_bool().unwrap_or(false))
}

pub(crate) fn messages(message: &DynamicMessage, field: &str) -> Vec<DynamicMessage> {
    message
        .get_field_by_name(field)
        .and_then(|value| {
            value
                .as_list()
                .map(|list| list.iter().filter_map(|item| item.as_message().cloned()).collect())
        })
        .unwrap_or_default()
}

pub(crate) fn text(message: &DynamicMessage, field: &str) -> String {
    message
        .get_field_by_name(field)
        .and_then(|value| value.as_str().map(str::to_owned))
        .unwrap_or_default()
}

pub(crate) fn number(message: &DynamicMessage, field: &str) -> u64 {
    match message.get_field_by_name(field).as_deref() {
        Some(Value::U32(number)) => u64::from(*number),
        Some(Value::U64(number)) => *number,
        Some(Value::EnumNumber(number)) => *number as u64,
        _ => 0,
    }
}

pub(crate) fn flag(message: &DynamicMessage, field: &str) -> bool {
    message.get_field_by_name(field).and_then(|value| value.as_bool()).unwrap_or(false)
}

/// The name of an enum's value as a Rust variant: `STREAM_LLM_STREAMS` is `LlmStreams`.
pub(crate) fn variant(
    message: &DynamicMessage,
    field: &str,
    prefix: &str,
) -> anyhow::Result<String> {
    let descriptor = message.descriptor().get_field_by_name(field).context("unknown field")?;
    let kind = descriptor.kind();
    let values = kind.as_enum().context("not an enum")?;
    let number = number(message, field) as i32;
    let value = values.get_value(number).context("unknown enum value")?;
    if number == 0 {
        bail!("{}.{field} must be set", message.descriptor().full_name());
    }
    Ok(camel(value.name().trim_start_matches(prefix)))
}

pub(crate) fn camel(name: &str) -> String {
    name.split('_')
        .map(|word| {
            let mut letters = word.chars();
            letters
                .next()
                .map(|first| {
                    first.to_ascii_uppercase().to_string() + &letters.as_str().to_ascii_lowercase()
                })
                .unwrap_or_default()
        })
        .collect()
}

pub(crate) fn texts(message: &DynamicMessage, field: &str) -> Vec<String> {
    message
        .get_field_by_name(field)
        .and_then(|value| {
            value.as_list().map(|list| {
                list.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
            })
        })
        .unwrap_or_default()
}

fn extension(
    pool: &DescriptorPool,
    name: &str,
    options: &DynamicMessage,
) -> anyhow::Result<Option<DynamicMessage>> {
    let extension =
        pool.get_extension_by_name(name).with_context(|| format!("{name} is not declared"))?;
    if !options.has_extension(&extension) {
        return Ok(None);
    }
    Ok(options.get_extension(&extension).as_message().cloned())
}
