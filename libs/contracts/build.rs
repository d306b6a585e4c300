//! Compiles `proto/` into types, their JSON form, and the traits and tables that its options describe.

#[path = "build/options.rs"]
mod options;
#[path = "build/streams.rs"]
mod streams;
#[path = "build/traits.rs"]
mod traits;
#[path = "build/words.rs"]
mod words;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;

fn main() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let files = proto_files(&root.join("muster"))?;

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let pool = compiler.descriptor_pool();

    prost_build::Config::new()
        .compile_well_known_types()
        .extern_path(".google.protobuf", "::pbjson_types")
        // pbjson's Struct and Value keep every number as a float; ours are exact.
        .extern_path(".google.protobuf.Struct", "crate::JsonObject")
        .extern_path(".google.protobuf.Value", "crate::Json")
        .enable_type_names()
        .compile_fds(compiler.file_descriptor_set())?;

    let packages: Vec<String> =
        packages(&pool).iter().map(|package| format!(".{package}")).collect();
    pbjson_build::Builder::new()
        .register_descriptors(&compiler.encode_file_descriptor_set())?
        .preserve_proto_field_names()
        .ignore_unknown_fields()
        .ignore_unknown_enum_variants()
        .extern_path(".google.protobuf.Struct", "crate::JsonObject")
        .extern_path(".google.protobuf.Value", "crate::Json")
        .build(&packages)?;

    let out = PathBuf::from(std::env::var_os("OUT_DIR").context("cargo sets OUT_DIR")?);
    let tables = streams::generate(&pool)? + &traits::generate(&pool)?;
    std::fs::write(out.join("traits.rs"), tables)?;
    std::fs::write(out.join("modules.rs"), modules(&pool))?;
    // With comments: documents are made from it.
    std::fs::write(out.join("descriptors.binpb"), compiler.encode_file_descriptor_set())?;
    Ok(())
}

/// `muster.agent.v1` is the module `agent::v1`; what a package is about is said once, above its `package`.
fn modules(pool: &prost_reflect::DescriptorPool) -> String {
    const PACKAGE: &[i32] = &[2];
    let mut areas: BTreeMap<String, (String, String)> = BTreeMap::new();
    for file in pool.files().filter(|file| file.package_name() != "muster.options.v1") {
        let package = file.package_name();
        let Some((area, version)) =
            package.strip_prefix("muster.").and_then(|rest| rest.split_once('.'))
        else {
            continue;
        };
        let about = options::comment(&file, PACKAGE);
        let (docs, versions) = areas.entry(area.to_owned()).or_default();
        docs.clone_from(&about);
        versions.push_str(&format!(
            "#[doc = {about:?}]
            #[allow(missing_docs, unused_qualifications, clippy::all, clippy::too_many_lines, clippy::map_err_ignore, clippy::semicolon_if_nothing_returned, reason = \"generated from proto/, which says what each field means\")]
            pub mod {version} {{
                include!(concat!(env!(\"OUT_DIR\"), \"/{package}.rs\"));
                include!(concat!(env!(\"OUT_DIR\"), \"/{package}.serde.rs\"));
            }}\n"
        ));
    }
    areas
        .into_iter()
        .map(|(area, (docs, versions))| {
            format!(
                "#[doc = {docs:?}]
                #[expect(clippy::allow_attributes, clippy::allow_attributes_without_reason, reason = \"generated code allows what it may need\")]
                pub mod {area} {{\n{versions}}}\n"
            )
        })
        .collect()
}

fn packages(pool: &prost_reflect::DescriptorPool) -> Vec<String> {
    let mut packages: Vec<String> = pool
        .files()
        .map(|file| file.package_name().to_owned())
        .filter(|name| name.starts_with("muster."))
        .collect();
    packages.dedup();
    packages
}

fn proto_files(directory: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(proto_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
