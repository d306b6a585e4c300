//! `docs/events.md`: the contract for people.

use std::fmt::Write;

use anyhow::Result;
use muster_contracts::{
    Bucket, BucketSettings, Entry, ObjectStore, Storage, Stream, StreamSettings,
};
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use super::description::{
    Area, Contract, entries, field_comment, has, is_sealed, message_comment, tokens,
};

const INTRODUCTION: &str = include_str!("introduction.txt");

pub(super) fn render(contract: &Contract) -> Result<String> {
    let mut page = INTRODUCTION.to_owned();
    streams(&mut page)?;
    buckets(&mut page)?;
    for area in contract.areas() {
        write_area(contract, &area, &mut page)?;
    }
    Ok(page)
}

fn streams(page: &mut String) -> Result<()> {
    writeln!(page, "\n## Streams\n\n| stream | subjects | kept | settings |\n|---|---|---|---|")?;
    for stream in Stream::ALL {
        let settings = stream.settings();
        let subjects: Vec<String> =
            stream.subjects().iter().map(|subject| format!("`{subject}`")).collect();
        writeln!(
            page,
            "| {} | {} | {} | {} |",
            stream.name(),
            subjects.join(" "),
            kept(settings.storage, settings.max_age_s),
            more(&settings)
        )?;
    }
    Ok(())
}

fn more(settings: &StreamSettings) -> String {
    let mut parts = Vec::new();
    if settings.max_messages > 0 {
        parts.push(format!("at most {} messages", settings.max_messages));
    }
    if settings.max_bytes > 0 {
        parts.push(format!("at most {} MiB", settings.max_bytes >> 20));
    }
    if settings.max_message_bytes > 0 {
        parts.push(format!("messages of at most {} MiB", settings.max_message_bytes >> 20));
    }
    parts.push(format!("same id dropped for {}", duration(settings.duplicate_window_s)));
    let flags = [
        (
            settings.retention == muster_contracts::Retention::WorkQueue,
            "each message for one consumer",
        ),
        (settings.no_ack, "does not acknowledge"),
        (settings.allow_schedules, "timers"),
    ];
    parts.extend(flags.iter().filter(|(set, _)| *set).map(|(_, text)| (*text).to_owned()));
    for (source, filter) in settings.sources {
        parts.push(format!("copies `{filter}` of {}", source.name()));
    }
    if let Some((source, destination)) = settings.republish {
        parts.push(format!("sends `{source}` again as `{destination}`"));
    }
    parts.join("; ")
}

fn buckets(page: &mut String) -> Result<()> {
    writeln!(page, "\n## Buckets\n\n| bucket | kept | written by | read by |\n|---|---|---|---|")?;
    let stores = ObjectStore::ALL
        .iter()
        .map(|store| (format!("{} (object store)", store.name()), store.settings()));
    let buckets = Bucket::ALL.iter().map(|bucket| (bucket.name().to_owned(), bucket.settings()));
    for (name, settings) in buckets.chain(stores) {
        let BucketSettings { storage, max_age_s, writers, readers, .. } = settings;
        writeln!(
            page,
            "| {name} | {} | {} | {} |",
            kept(storage, max_age_s),
            services(writers),
            services(readers)
        )?;
    }
    Ok(())
}

fn write_area(contract: &Contract, area: &Area, page: &mut String) -> Result<()> {
    writeln!(page, "\n## {}\n\n{}\n", area.name, area.about)?;
    let rows: Vec<&Entry> =
        area.messages.iter().flat_map(|message| entries(message.full_name())).collect();
    if !rows.is_empty() {
        writeln!(page, "| subject | kind | message | stream | from → to |\n|---|---|---|---|---|")?;
    }
    for entry in rows {
        let planned = if entry.planned { " (planned)" } else { "" };
        writeln!(
            page,
            "| `{}` | {:?}{planned} | {} | {} | {} → {} |",
            entry.subject,
            entry.kind,
            link(entry.message),
            entry.stream.map_or("", Stream::name),
            services(entry.producers),
            services(entry.consumers)
        )?;
    }
    for message in &area.messages {
        write_message(contract, message, page)?;
    }
    Ok(())
}

fn write_message(
    contract: &Contract,
    message: &MessageDescriptor,
    page: &mut String,
) -> Result<()> {
    writeln!(page, "\n### {}\n\n{}", message.full_name(), message_comment(message))?;
    for entry in entries(message.full_name()) {
        if let Some(reply) = entry.reply {
            let errors = contract.method_comment(entry.message);
            let reads = if entry.reads { " It only reads." } else { "" };
            writeln!(page, "\nAnswered by {}.{reads} {errors}", link(reply))?;
        }
    }
    if message.fields().len() == 0 {
        writeln!(page, "\nNo fields.")?;
        return Ok(());
    }
    writeln!(page, "\n| field | type | |\n|---|---|---|")?;
    let tokens = tokens(message.full_name());
    for field in message.fields() {
        let mut notes = Vec::new();
        if has(&field, "required") {
            notes.push("Required.".to_owned());
        }
        if tokens.contains(field.name()) {
            notes.push("Token of the subject.".to_owned());
        }
        if is_sealed(&field) {
            notes.push("Sealed.".to_owned());
        }
        notes.push(field_comment(&field).replace('|', "\\|"));
        writeln!(
            page,
            "| `{}` | {} | {} |",
            field.name(),
            type_of(&field),
            notes.join(" ").trim()
        )?;
    }
    Ok(())
}

fn type_of(field: &FieldDescriptor) -> String {
    if field.is_map() {
        return "object of text".to_owned();
    }
    let kind = match field.kind() {
        Kind::Bool => "true or false".to_owned(),
        Kind::String => "text".to_owned(),
        Kind::Bytes => "base64".to_owned(),
        Kind::Double | Kind::Float => "number".to_owned(),
        Kind::Message(message) => match message.full_name() {
            "google.protobuf.Timestamp" => "time".to_owned(),
            "google.protobuf.Struct" => "object".to_owned(),
            "google.protobuf.Value" => "any JSON".to_owned(),
            ours => link(ours),
        },
        other => format!("{other:?}").to_lowercase(),
    };
    if field.is_list() { format!("list of {kind}") } else { kind }
}

/// A link to a message's heading on the same page.
fn link(message: &str) -> String {
    let name = message.rsplit('.').next().unwrap_or(message);
    format!("[{name}](#{})", message.replace('.', "").to_lowercase())
}

fn kept(storage: Storage, max_age_s: u64) -> String {
    let place = match storage {
        Storage::File => "on disk",
        Storage::Memory => "in memory",
    };
    if max_age_s == 0 {
        format!("{place}, for ever")
    } else {
        format!("{place}, {}", duration(max_age_s))
    }
}

fn duration(seconds: u64) -> String {
    match seconds {
        days if days % 86_400 == 0 => format!("{} d", days / 86_400),
        hours if hours % 3600 == 0 => format!("{} h", hours / 3600),
        minutes if minutes % 60 == 0 => format!("{} min", minutes / 60),
        seconds => format!("{seconds} s"),
    }
}

fn services(names: &[&str]) -> String {
    let shown: Vec<&str> =
        names.iter().map(|name| if *name == "*" { "any service" } else { name }).collect();
    shown.join(", ")
}
