//! A file that names streams of the contract, and says how they are.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use muster_contracts::{Retention, Storage, Stream};
use muster_runtime::files::regular_text;
use serde::Deserialize;

/// Of a file, in bytes.
const LARGEST: u64 = 1 << 20;

/// Streams, and what holds for all of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    defaults: Limits,
    streams: Vec<Named>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Named {
    name: String,
    #[serde(default)]
    subjects: Vec<String>,
    #[serde(default)]
    limits: Limits,
}

/// What is said; what is not is as the contract says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    storage: Option<String>,
    retention: Option<String>,
    max_messages: Option<u64>,
    max_bytes: Option<u64>,
    max_age: Option<String>,
    max_message_bytes: Option<u64>,
    duplicate_window: Option<String>,
}

/// The names of the streams in a file. What the file says of them must be what the contract says: there is one place where a stream is described.
pub(super) fn named(file: &Path) -> Result<Vec<String>> {
    let shown = file.display().to_string();
    let text = regular_text(file, LARGEST)?;
    read(&text).with_context(|| shown)
}

fn read(text: &str) -> Result<Vec<String>> {
    let File { defaults, streams } = serde_yaml_ng::from_str(text)?;
    if streams.is_empty() {
        bail!("`streams` is empty; name at least one, such as agog_features_research");
    }
    for named in &streams {
        let Some(stream) = Stream::ALL.iter().find(|stream| stream.name() == named.name) else {
            bail!(
                "the stream {:?} is not in the contract: add it to proto/muster/options/v1/options.proto",
                named.name
            );
        };
        check_subjects(*stream, &named.subjects)?;
        check(*stream, &defaults)?;
        check(*stream, &named.limits)?;
    }
    Ok(streams.into_iter().map(|named| named.name).collect())
}

fn check_subjects(stream: Stream, subjects: &[String]) -> Result<()> {
    let known = stream.subjects();
    if !subjects.is_empty() && subjects != known {
        bail!("{}: `subjects` are {subjects:?}, but the contract says {known:?}", stream.name());
    }
    Ok(())
}

fn check(stream: Stream, limits: &Limits) -> Result<()> {
    let known = stream.settings();
    let storage = match known.storage {
        Storage::File => "file",
        Storage::Memory => "memory",
    };
    let retention = match known.retention {
        Retention::Limits => "limits",
        Retention::WorkQueue => "workqueue",
    };
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let span = |text: &Option<String>| text.as_deref().map(seconds).transpose();
    let fields = [
        ("storage", limits.storage.clone(), storage.to_owned()),
        ("retention", limits.retention.clone(), retention.to_owned()),
        ("max_messages", number(limits.max_messages), known.max_messages.to_string()),
        ("max_bytes", number(limits.max_bytes), known.max_bytes.to_string()),
        ("max_age", number(span(&limits.max_age)?), known.max_age_s.to_string()),
        (
            "max_message_bytes",
            number(limits.max_message_bytes),
            known.max_message_bytes.to_string(),
        ),
        (
            "duplicate_window",
            number(span(&limits.duplicate_window)?),
            known.duplicate_window_s.to_string(),
        ),
    ];
    for (field, said, known) in fields {
        if let Some(said) = said.filter(|said| *said != known) {
            bail!("{}: `{field}` is {said}, but the contract says {known}", stream.name());
        }
    }
    Ok(())
}

/// Seconds in a text such as 7d, 12h, 2m or 30s.
fn seconds(text: &str) -> Result<u64> {
    let units = [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)];
    let found = units.iter().find_map(|(unit, seconds)| {
        text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*seconds)
    });
    found.with_context(|| format!("{text:?} is no span of time; write 7d, 12h, 2m or 30s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_example_says_what_the_contract_says() {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/feature-team/streams.yaml");
        let names = named(&file).unwrap();
        assert_eq!(names.len(), 6);
        assert_eq!(names[5], "agog_features_statistics");
    }

    #[test]
    fn a_file_that_says_something_else_is_refused_with_both_values() {
        let check = |text: &str, words: &str| {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(words), "{error}");
        };
        let one = "streams: [{name: agog_features_qa";
        check("streams: []", "`streams` is empty");
        check("streams: [{name: mine}]", "\"mine\" is not in the contract");
        check(
            &format!("{one}, limits: {{max_messages: 5}}}}]"),
            "`max_messages` is 5, but the contract says 10000",
        );
        check(
            &format!("{one}, limits: {{max_age: 8d}}}}]"),
            "`max_age` is 691200, but the contract says 604800",
        );
        check(&format!("{one}, limits: {{max_age: soon}}}}]"), "\"soon\" is no span");
        check(&format!("{one}, subjects: [a.b]}}]"), "`subjects` are [\"a.b\"]");
        check(&format!("{one}, colour: red}}]"), "colour");
    }
}
