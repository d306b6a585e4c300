//! Compiles `proto/` into types, their JSON form, and the traits and tables that its options describe.

#[path = "build/options.rs"]
mod options;
#[path = "build/streams.rs"]
mod streams;
#[path = "build/traits.rs"]
mod traits;
#[path = "build/words.rs"]
mod words;

use anyhow::Context;
use std::path::{Path, PathBuf};

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
    // With comments: documents are made from it.
    std::fs::write(out.join("descriptors.binpb"), compiler.encode_file_descriptor_set())?;
    Ok(())
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
