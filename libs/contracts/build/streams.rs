//! Writes the enums `Stream`, `Bucket` and `ObjectStore` with their settings.

use std::fmt::Write;

use anyhow::Context;
use prost_reflect::{DescriptorPool, DynamicMessage, EnumDescriptor};

use crate::options::{self, camel, flag, messages, number, text, texts, variant};

pub(crate) fn generate(pool: &DescriptorPool) -> anyhow::Result<String> {
    let mut code = String::new();
    let of = |name: &str| {
        let name = format!("muster.options.v1.{name}");
        pool.get_enum_by_name(&name).with_context(|| format!("{name} is not declared"))
    };
    let stream =
        Listed { prefix: "STREAM_", option: "stream", noun: "streams", settings: "StreamSettings" };
    stream.write(&of("Stream")?, stream_settings, &mut code)?;
    let bucket = Listed {
        prefix: "BUCKET_",
        option: "bucket",
        noun: "key-value buckets",
        settings: "BucketSettings",
    };
    bucket.write(&of("Bucket")?, bucket_settings, &mut code)?;
    let store = Listed {
        prefix: "OBJECT_STORE_",
        option: "object_store",
        noun: "object stores",
        settings: "BucketSettings",
    };
    store.write(&of("ObjectStore")?, bucket_settings, &mut code)?;
    Ok(code)
}

/// An enum whose values name things on the server.
struct Listed {
    prefix: &'static str,
    option: &'static str,
    noun: &'static str,
    settings: &'static str,
}

impl Listed {
    fn write(
        &self,
        descriptor: &EnumDescriptor,
        settings_of: fn(&DynamicMessage) -> anyhow::Result<String>,
        code: &mut String,
    ) -> anyhow::Result<()> {
        let (mut variants, mut names, mut settings, mut all) =
            (String::new(), String::new(), String::new(), String::new());
        let enum_name = descriptor.name();
        for value in descriptor.values().filter(|value| value.number() != 0) {
            let wire = value.name().trim_start_matches(self.prefix);
            let variant = camel(wire);
            let options = options::settings(&value, self.option)?;
            let name = match text(&options, "name") {
                given if given.is_empty() => wire.to_owned(),
                given => given,
            };
            let comment = options::comment(&value.parent_file(), value.path());
            writeln!(variants, "/// `{name}`: {comment}\n{variant},")?;
            writeln!(names, "Self::{variant} => {name:?},")?;
            writeln!(all, "Self::{variant},")?;
            writeln!(settings, "Self::{variant} => {},", settings_of(&options)?)?;
        }
        writeln!(
            code,
            "/// The {noun} of the contract.
            #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
            pub enum {enum_name} {{ {variants} }}
            impl {enum_name} {{
                /// All {noun}.
                pub const ALL: &'static [Self] = &[{all}];
                /// The name on the server.
                #[must_use]
                pub const fn name(self) -> &'static str {{ match self {{ {names} }} }}
                /// How it keeps what it has.
                #[must_use]
                pub const fn settings(self) -> {settings_type} {{ match self {{ {settings} }} }}
            }}",
            noun = self.noun,
            settings_type = self.settings,
        )?;
        Ok(())
    }
}

fn stream_settings(option: &DynamicMessage) -> anyhow::Result<String> {
    let republish = match text(option, "republish_source").as_str() {
        "" => "None".to_owned(),
        source => format!("Some(({source:?}, {:?}))", text(option, "republish_destination")),
    };
    let sources: Vec<String> = messages(option, "sources")
        .iter()
        .map(|source| {
            let stream = variant(source, "stream", "STREAM_")?;
            Ok(format!("(Stream::{stream}, {:?})", text(source, "filter")))
        })
        .collect::<anyhow::Result<_>>()?;
    Ok(format!(
        "StreamSettings {{ subjects: &{:?}, storage: crate::Storage::{}, retention: crate::Retention::{}, discard: crate::Discard::{}, max_age_s: {}, max_messages: {}, max_bytes: {}, max_message_bytes: {}, duplicate_window_s: {}, allow_direct: {}, allow_schedules: {}, allow_ttl: {}, allow_atomic: {}, no_ack: {}, republish: {republish}, sources: &[{}], advisories: {}, feeds: &{:?}, followers: &{:?} }}",
        texts(option, "subjects"),
        variant(option, "storage", "STORAGE_")?,
        if number(option, "retention") == 1 { "WorkQueue" } else { "Limits" },
        if number(option, "discard") == 1 { "New" } else { "Old" },
        number(option, "max_age_s"),
        number(option, "max_messages"),
        number(option, "max_bytes"),
        number(option, "max_message_bytes"),
        number(option, "duplicate_window_s"),
        flag(option, "allow_direct"),
        flag(option, "allow_schedules"),
        flag(option, "allow_ttl"),
        flag(option, "allow_atomic"),
        flag(option, "no_ack"),
        sources.join(", "),
        flag(option, "advisories"),
        texts(option, "feeds"),
        texts(option, "followers"),
    ))
}

fn bucket_settings(option: &DynamicMessage) -> anyhow::Result<String> {
    Ok(format!(
        "BucketSettings {{ storage: crate::Storage::{}, max_age_s: {}, max_bytes: {}, writers: &{:?}, readers: &{:?}, allow_ttl: {} }}",
        variant(option, "storage", "STORAGE_")?,
        number(option, "max_age_s"),
        number(option, "max_bytes"),
        texts(option, "writers"),
        texts(option, "readers"),
        flag(option, "allow_ttl"),
    ))
}
