//! A program of the last release understands this one, and this one understands it.
//!
//! `buf breaking` compares types, but not what our options say, and needs Node; this test needs nothing.
#![expect(clippy::unwrap_used, reason = "test helpers")]

use std::fs;
use std::path::{Path, PathBuf};

use muster_contracts::DESCRIPTORS;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor,
};

fn proto() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto")
}

fn last_release() -> DescriptorPool {
    DescriptorPool::decode(fs::read(proto().join("baseline.binpb")).unwrap().as_slice()).unwrap()
}

/// What readers or writers of `old` would stumble over.
fn breaks(old: &DescriptorPool, new: &DescriptorPool) -> Vec<String> {
    let mut found = Vec::new();
    let ours = |package: &str| package.starts_with("muster.") && package != "muster.options.v1";
    for before in old.all_messages().filter(|message| ours(message.package_name())) {
        match new.get_message_by_name(before.full_name()) {
            Some(after) => messages(&before, &after, &mut found),
            None => found.push(format!("{} is gone", before.full_name())),
        }
    }
    for service in old.services() {
        for before in service.methods() {
            let after = new.get_service_by_name(service.full_name()).and_then(|service| {
                service.methods().find(|method| method.name() == before.name())
            });
            match after {
                Some(after) => methods(&before, &after, &mut found),
                None => found.push(format!("{} is gone", before.full_name())),
            }
        }
    }
    found
}

fn messages(before: &MessageDescriptor, after: &MessageDescriptor, found: &mut Vec<String>) {
    let name = before.full_name();
    options(
        name,
        option(before.parent_pool(), "bus", &before.options()).as_ref(),
        option(after.parent_pool(), "bus", &after.options()).as_ref(),
        &["subject", "kind", "stream", "version", "schedule", "alias", "partitions"],
        found,
    );
    for field in before.fields() {
        match after.get_field(field.number()) {
            Some(now) => {
                let (before, after) = (shape(&field), shape(&now));
                if before != after {
                    found.push(format!("{name}.{} was {before} and is {after}", field.name()));
                }
            }
            None => found.push(format!("{name}.{} is gone", field.name())),
        }
    }
    for field in after.fields() {
        if before.get_field(field.number()).is_none() && flag(&field, "required") {
            found.push(format!("{name}.{} is new and required", field.name()));
        }
    }
}

fn methods(before: &MethodDescriptor, after: &MethodDescriptor, found: &mut Vec<String>) {
    let name = before.full_name();
    options(
        name,
        option(before.parent_pool(), "rpc", &before.options()).as_ref(),
        option(after.parent_pool(), "rpc", &after.options()).as_ref(),
        &["subject", "long"],
        found,
    );
    let types = |method: &MethodDescriptor| {
        format!("{} -> {}", method.input().full_name(), method.output().full_name())
    };
    if types(before) != types(after) {
        found.push(format!("{name} was {} and is {}", types(before), types(after)));
    }
}

fn options(
    name: &str,
    before: Option<&DynamicMessage>,
    after: Option<&DynamicMessage>,
    fields: &[&str],
    found: &mut Vec<String>,
) {
    let value = |options: Option<&DynamicMessage>, field: &str| {
        options.and_then(|options| options.get_field_by_name(field).map(|value| format!("{value}")))
    };
    for field in fields {
        let (was, is) = (value(before, field), value(after, field));
        if was.is_some() && was != is {
            let (was, is) = (was.unwrap_or_default(), is.unwrap_or_default());
            found.push(format!("{name}: `{field}` was {was} and is {is}"));
        }
    }
}

fn option(pool: &DescriptorPool, name: &str, options: &DynamicMessage) -> Option<DynamicMessage> {
    let extension = pool.get_extension_by_name(&format!("muster.options.v1.{name}"))?;
    let set = options.has_extension(&extension);
    set.then(|| options.get_extension(&extension).as_message().cloned())?
}

fn flag(field: &FieldDescriptor, name: &str) -> bool {
    let message = field.parent_message();
    let extension =
        message.parent_pool().get_extension_by_name(&format!("muster.options.v1.{name}"));
    extension.is_some_and(|extension| {
        field.options().get_extension(&extension).as_bool().unwrap_or(false)
    })
}

/// What the field is on the wire.
fn shape(field: &FieldDescriptor) -> String {
    let kind = match field.kind() {
        Kind::Message(message) => message.full_name().to_owned(),
        other => format!("{other:?}").to_lowercase(),
    };
    let flags = ["required", "sealed", "id"].into_iter().filter(|name| flag(field, name));
    let list = field.is_list().then_some("list of");
    let name = format!("`{}`", field.name());
    flags.chain(list).chain([kind.as_str(), name.as_str()]).collect::<Vec<_>>().join(" ")
}

#[test]
fn nothing_breaks_since_the_last_release() {
    let found = breaks(&last_release(), &DescriptorPool::decode(DESCRIPTORS).unwrap());
    assert!(
        found.is_empty(),
        "a message that changed incompatibly is another message (docs/events.md):\n{}",
        found.join("\n")
    );
}

/// `muster/agent/v1/agent.proto` and all others.
fn proto_files() -> Vec<String> {
    let names = |folder: &str| {
        let entries = fs::read_dir(proto().join(folder)).unwrap();
        entries
            .map(|entry| format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap()))
            .collect::<Vec<_>>()
    };
    let versions = names("muster").into_iter().flat_map(|area| names(&area));
    versions.flat_map(|version| names(&version)).collect()
}

/// The contract with one edit.
fn edited(area: &str, before: &str, after: &str) -> DescriptorPool {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for file in proto_files() {
        let mut text = fs::read_to_string(proto().join(&file)).unwrap();
        if file == format!("muster/{area}/v1/{area}.proto") {
            assert!(text.contains(before), "{file} has no {before:?}");
            text = text.replacen(before, after, 1);
        }
        fs::create_dir_all(folder.path().join(&file).parent().unwrap()).unwrap();
        fs::write(folder.path().join(&file), text).unwrap();
        files.push(folder.path().join(file));
    }
    let mut compiler = protox::Compiler::new([folder.path()]).unwrap();
    compiler.include_imports(true).open_files(files).unwrap();
    compiler.descriptor_pool()
}

#[test]
fn every_kind_of_break_is_refused_and_named() {
    let now = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let table = [
        ("api", "string endpoint = 2", "uint32 endpoint = 2", "is required uint32 `endpoint`"),
        ("api", "string endpoint = 2", "string path = 2", "is required string `path`"),
        ("api", "  double response_time = 5;\n", "", "response_time is gone"),
        ("api", "message ResponseSent ", "message ResponseWritten ", "ResponseSent is gone"),
        (
            "cache",
            "string backend = 3;",
            "string backend = 3 [(muster.options.v1.required) = true];",
            "is required",
        ),
        (
            "cache",
            "string backend = 3;",
            "string backend = 3 [(muster.options.v1.sealed) = true];",
            "is sealed",
        ),
        (
            "cache",
            "string key = 1",
            "string host = 9 [(muster.options.v1.required) = true];\n  string key = 1",
            "is new and required",
        ),
        (
            "cache",
            "subject: \"cache.hit\"",
            "subject: \"cache.found\"",
            "`subject` was \"cache.hit\"",
        ),
        ("auth", "stream: STREAM_AUDIT", "stream: STREAM_TELEMETRY", "`stream` was"),
        ("auth", "kind: KIND_EVENT", "kind: KIND_COMMAND", "`kind` was"),
        ("auth", "version: 1", "version: 2", "`version` was"),
        ("database", "returns (Rows)", "returns (Health)", "muster.database.v1.Health"),
        ("database", "subject: \"db.query\"", "subject: \"db.read\"", "`subject` was \"db.query\""),
    ];
    for (area, before, after, expected) in table {
        let found = breaks(&now, &edited(area, before, after)).join("\n");
        assert!(found.contains(expected), "{before} => {after}: {found:?}");
    }
}

#[test]
fn additions_break_nothing() {
    let now = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let table = [
        ("cache", "  string backend = 3;", "  string backend = 3;\n  string host = 9;"),
        ("cache", "// A value was not there.", "message Another {}\n// A value was not there."),
        (
            "cache",
            "consumers: \"execution-log\"",
            "consumers: \"execution-log\" consumers: \"gateway\"",
        ),
        ("cache", "planned: true", "planned: false"),
    ];
    for (area, before, after) in table {
        assert_eq!(breaks(&now, &edited(area, before, after)), [""; 0], "{after}");
    }
}
