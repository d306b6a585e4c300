//! Writes the documents that are made from the contract.

use std::{collections::BTreeSet, ffi::OsStr, fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};

use muster_contracts::CATALOGUE;

use crate::{
    cli::{Docs, Made},
    contracts::{self, Document},
    output::Output,
};

pub(crate) fn contracts(what: &Made, output: &Output) -> Result<ExitCode> {
    match what {
        Made::Asyncapi(docs) => write(docs, &contracts::asyncapi()?, output)?,
        Made::Schemas(docs) => write(docs, &contracts::schemas()?, output)?,
        Made::Events(docs) => write(docs, &contracts::events()?, output)?,
        Made::Write(docs) => {
            let all = [contracts::asyncapi()?, contracts::schemas()?, contracts::events()?];
            write(docs, &all.concat(), output)?;
        }
        Made::Lint { subjects } => return Ok(lint(subjects, output)),
        Made::NatsAcl { files, nkeys, check } => {
            return super::nats_acl::nats_acl(files, *nkeys, *check, output);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn lint(subjects: &[String], output: &Output) -> ExitCode {
    let flaws = if subjects.is_empty() {
        contracts::lint::contract()
    } else {
        subjects.iter().flat_map(|subject| contracts::lint::planned(subject)).collect()
    };
    for flaw in &flaws {
        output.line(flaw);
    }
    if !flaws.is_empty() {
        return ExitCode::FAILURE;
    }
    let count = if subjects.is_empty() { CATALOGUE.len() } else { subjects.len() };
    output.line(&format!("{count} subjects, nothing is wrong"));
    ExitCode::SUCCESS
}

/// Writes what differs, and removes the schemas of messages that are gone.
fn write(docs: &Docs, documents: &[Document], output: &Output) -> Result<()> {
    let mut changed = 0;
    for document in documents {
        let path = docs.folder.join(&document.path);
        if fs::read_to_string(&path).is_ok_and(|text| text == document.text) {
            continue;
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)
                .with_context(|| format!("cannot create {}", folder.display()))?;
        }
        fs::write(&path, &document.text)
            .with_context(|| format!("cannot write {}", path.display()))?;
        output.line(&path.display().to_string());
        changed += 1;
    }
    let removed = remove_orphans(&docs.folder.join("schemas"), documents, output)?;
    output.line(&format!(
        "{changed} written, {removed} removed, {} unchanged",
        documents.len() - changed
    ));
    Ok(())
}

fn remove_orphans(schemas: &Path, documents: &[Document], output: &Output) -> Result<usize> {
    let wanted: BTreeSet<&str> =
        documents.iter().filter_map(|document| document.path.strip_prefix("schemas/")).collect();
    if wanted.is_empty() {
        return Ok(0);
    }
    let mut removed = 0;
    for area in
        fs::read_dir(schemas).with_context(|| format!("cannot read {}", schemas.display()))?
    {
        let area = area?.path();
        if !area.is_dir() {
            continue;
        }
        for file in fs::read_dir(&area)? {
            let file = file?.path();
            let name =
                file.strip_prefix(schemas).unwrap_or(&file).to_string_lossy().replace('\\', "/");
            if file.extension() == Some(OsStr::new("json")) && !wanted.contains(name.as_str()) {
                fs::remove_file(&file)?;
                output.line(&format!("{} removed", file.display()));
                removed += 1;
            }
        }
    }
    Ok(removed)
}
