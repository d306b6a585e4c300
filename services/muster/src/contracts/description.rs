//! What the contract's descriptors say, in words.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use muster_contracts::{CATALOGUE, DESCRIPTORS, Entry};
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
};

/// The number of `package` in a file's descriptor: its comment is what the area is about.
const PACKAGE: &[i32] = &[2];

pub(crate) struct Contract {
    pool: DescriptorPool,
}

/// A package of the contract: `muster.agent.v1` is `agent`, and `muster.agent.v2` would be `agent.v2`.
pub(crate) struct Area {
    pub(crate) name: String,
    /// What it is about, in one sentence.
    pub(crate) about: String,
    /// In the order of their file.
    pub(crate) messages: Vec<MessageDescriptor>,
}

impl Contract {
    pub(crate) fn load() -> Result<Self> {
        let pool = DescriptorPool::decode(DESCRIPTORS).context("the contract's descriptors")?;
        Ok(Self { pool })
    }

    /// Every area, in the order of their names.
    pub(crate) fn areas(&self) -> Vec<Area> {
        let mut areas: Vec<Area> = self
            .pool
            .files()
            .filter(|file| is_ours(file.package_name()))
            .map(|file| Area {
                name: area_of(file.package_name()),
                about: comment(&file, PACKAGE),
                messages: file.messages().collect(),
            })
            .collect();
        areas.sort_by(|a, b| a.name.cmp(&b.name));
        areas
    }

    pub(crate) fn message(&self, name: &str) -> Result<MessageDescriptor> {
        self.pool
            .get_message_by_name(name)
            .with_context(|| format!("{name} is not in the contract"))
    }

    /// What the request's method says of its errors.
    pub(crate) fn method_comment(&self, request: &str) -> String {
        let methods =
            self.pool.services().flat_map(|service| service.methods().collect::<Vec<_>>());
        methods
            .filter(|method| method.input().full_name() == request)
            .map(|method| comment(&method.parent_service().parent_file(), method.path()))
            .next()
            .unwrap_or_default()
    }
}

/// `muster.agent.v1` is `agent`.
pub(crate) fn area_of(package: &str) -> String {
    let area = package.trim_start_matches("muster.");
    area.strip_suffix(".v1").unwrap_or(area).to_owned()
}

/// The entries of the catalogue that carry this message.
pub(crate) fn entries(message: &str) -> impl Iterator<Item = &'static Entry> {
    CATALOGUE.iter().filter(move |entry| entry.message == message)
}

/// The fields that are tokens of the message's subject: the subject has their values.
pub(crate) fn tokens(message: &str) -> BTreeSet<&'static str> {
    entries(message).flat_map(|entry| fields_of(entry.subject)).collect()
}

/// The fields in a subject's template.
pub(crate) fn fields_of(template: &str) -> impl Iterator<Item = &str> {
    template.split('.').filter_map(|token| token.strip_prefix('{')?.strip_suffix('}'))
}

pub(crate) fn message_comment(message: &MessageDescriptor) -> String {
    comment(&message.parent_file(), message.path())
}

pub(crate) fn field_comment(field: &FieldDescriptor) -> String {
    comment(&field.parent_message().parent_file(), field.path())
}

/// Whether the field has the option `muster.options.v1.<name>`.
pub(crate) fn has(field: &FieldDescriptor, name: &str) -> bool {
    let message = field.parent_message();
    let pool = message.parent_pool();
    is_set(pool, &format!("muster.options.v1.{name}"), &field.options())
}

/// Whether the bus encrypts the field.
pub(crate) fn is_sealed(field: &FieldDescriptor) -> bool {
    let message = field.parent_message();
    muster_contracts::MessageType::named(message.full_name())
        .is_some_and(|found| found.sealed.contains(&field.name()))
}

/// The messages of the contract that this one is made of, itself included.
pub(crate) fn parts(message: &MessageDescriptor) -> Vec<MessageDescriptor> {
    let mut found = vec![message.clone()];
    let mut next = 0;
    while let Some(message) = found.get(next).cloned() {
        for field in message.fields() {
            if let Kind::Message(part) = field.kind()
                && is_ours(part.package_name())
                && !field.is_map()
                && !found.contains(&part)
            {
                found.push(part);
            }
        }
        next += 1;
    }
    found
}

pub(crate) fn is_ours(package: &str) -> bool {
    package.starts_with("muster.") && package != "muster.options.v1"
}

fn is_set(pool: &DescriptorPool, name: &str, options: &DynamicMessage) -> bool {
    pool.get_extension_by_name(name)
        .is_some_and(|extension| options.get_extension(&extension).as_bool().unwrap_or(false))
}

/// The comment above a descriptor, on one line.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let locations = file.file_descriptor_proto().source_code_info.iter();
    let comment = locations
        .flat_map(|info| &info.location)
        .find(|location| location.path == path)
        .map(|location| location.leading_comments().to_owned())
        .unwrap_or_default();
    comment.split_whitespace().collect::<Vec<_>>().join(" ")
}
