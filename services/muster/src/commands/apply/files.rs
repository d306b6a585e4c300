//! The definitions of a folder, read and checked as far as that needs no platform.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use muster_document::{Bounds, Unreadable, front_matter, places};
use muster_runtime::files::regular_text;
use muster_workflow::Definition as Workflow;
use serde_json::{Value, json};

use super::kind::{Kind, Misfit, pointer_in};

/// Of a file, in bytes; as much as the gateway takes at most.
const LARGEST: u64 = 10 << 20;
const BOUNDS: Bounds = Bounds { bytes: 8 << 20, values: 1_000_000, depth: 100 };

/// One file.
#[derive(Debug)]
pub(super) struct File {
    pub(super) kind: Kind,
    pub(super) name: String,
    /// Of a workflow.
    pub(super) version: String,
    pub(super) path: PathBuf,
    pub(super) text: String,
    /// What it says.
    pub(super) said: Value,
    /// What counts of it.
    pub(super) canonical: Value,
    /// Of a workflow: those of the same folder that it runs.
    needs: Vec<String>,
}

impl File {
    /// What the platform is sent: of a template, whose file need not be YAML, what was read.
    pub(super) fn body(&self) -> String {
        if self.kind == Kind::Template { self.canonical.to_string() } else { self.text.clone() }
    }

    /// `file:line:column: message`, where the message names a field that is there.
    pub(super) fn at(&self, message: &str) -> String {
        let pointer = pointer_in(message).unwrap_or_default();
        placed(&self.path, &self.text, &pointer, message)
    }
}

/// Every definition of a folder, in the order of their needs.
///
/// # Errors
/// Every flaw of every file, with its place.
pub(super) fn read_all(folder: &Path) -> Result<Vec<File>> {
    if !folder.is_dir() {
        bail!("there is no folder {}", folder.display());
    }
    let (mut files, mut flaws) = (Vec::new(), Vec::new());
    for (kind, path) in found(folder)? {
        match one(kind, path) {
            Ok(file) => files.push(file),
            Err(mut found) => flaws.append(&mut found),
        }
    }
    twice(&files, &mut flaws);
    if !flaws.is_empty() {
        bail!("{}", flaws.join("\n"));
    }
    if files.is_empty() {
        bail!(
            "{} has no agents/*.yaml, tools/*.yaml, templates/*.md, models/*.yaml, workflows/*.yaml and no workflow.yaml",
            folder.display()
        );
    }
    Ok(in_order(files))
}

fn found(folder: &Path) -> Result<Vec<(Kind, PathBuf)>> {
    let mut found = Vec::new();
    for kind in Kind::NAMED_BY_FILES.into_iter().chain([Kind::Workflow]) {
        let files = definitions(kind, &folder.join(kind.folder()))?;
        found.extend(files.into_iter().map(|file| (kind, file)));
    }
    let single = ["workflow.yaml", "workflow.yml", "workflow.json"].map(|name| folder.join(name));
    found.extend(
        single
            .into_iter()
            .filter(|file| file.exists() && !file.is_dir())
            .map(|file| (Kind::Workflow, file)),
    );
    Ok(found)
}

/// The definitions of a folder in the order of their names; none, where there is no folder.
fn definitions(kind: Kind, folder: &Path) -> Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    files.retain(|file| {
        file.extension().is_some_and(|extension| {
            ["yaml", "yml", "json"].iter().any(|known| extension == *known)
                || (extension == "md" && kind == Kind::Template)
        })
    });
    files.sort();
    Ok(files)
}

fn one(kind: Kind, path: PathBuf) -> Result<File, Vec<String>> {
    let text = regular_text(&path, LARGEST).map_err(|error| vec![error.to_string()])?;
    if kind == Kind::Workflow { workflow(path, text) } else { definition(kind, path, text) }
}

fn workflow(path: PathBuf, text: String) -> Result<File, Vec<String>> {
    let parsed = Workflow::parse(&text).map_err(|problems| {
        let told = problems.0.iter().map(|problem| {
            let place = match (problem.line, problem.column) {
                (Some(line), Some(column)) => format!("{}:{line}:{column}", path.display()),
                _ => path.display().to_string(),
            };
            format!("{place}: {}: {}", problem.pointer, problem.message)
        });
        told.collect::<Vec<_>>()
    })?;
    Ok(File {
        kind: Kind::Workflow,
        name: parsed.name().to_owned(),
        version: parsed.version().to_owned(),
        path,
        text,
        said: parsed.document().clone(),
        canonical: parsed.document().clone(),
        needs: parsed.references().workflows.keys().map(|needed| needed.name.clone()).collect(),
    })
}

fn definition(kind: Kind, path: PathBuf, text: String) -> Result<File, Vec<String>> {
    let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default().to_owned();
    let flaw = |pointer: &str, message: &str| vec![placed(&path, &text, pointer, message)];
    let mut value = read(&path, &text).map_err(|error| {
        let place = match (error.line, error.column) {
            (Some(line), Some(column)) => format!("{}:{line}:{column}", path.display()),
            _ => path.display().to_string(),
        };
        vec![format!("{place}: {}", error.message)]
    })?;
    let Some(fields) = value.as_object_mut() else {
        return Err(flaw("", &format!("a definition must be a map, not {value:.80}")));
    };
    let own = fields.entry("name").or_insert_with(|| Value::String(name.clone()));
    if own.as_str() != Some(name.as_str()) {
        let message =
            format!("`name` is {own:.80}, but the file's name says {name:?}; make them equal");
        return Err(flaw("/name", &message));
    }
    let said = value.clone();
    let canonical =
        kind.canonical(value).map_err(|Misfit { pointer, message }| flaw(&pointer, &message))?;
    Ok(File { kind, name, version: String::new(), path, text, said, canonical, needs: Vec::new() })
}

/// A Markdown file is a template: a head of YAML, if it has one, and the text.
fn read(path: &Path, text: &str) -> Result<Value, Unreadable> {
    if path.extension().is_none_or(|extension| extension != "md") {
        return muster_document::read(text, &BOUNDS);
    }
    Ok(front_matter(text, "text", &BOUNDS)?.unwrap_or_else(|| json!({ "text": text })))
}

fn placed(path: &Path, text: &str, pointer: &str, message: &str) -> String {
    let place = places(text, &[pointer]).into_iter().next().flatten();
    match place {
        Some(place) => format!("{}:{}:{}: {message}", path.display(), place.line, place.column),
        None => format!("{}: {message}", path.display()),
    }
}

/// Two files of one name: whichever came last would win.
fn twice(files: &[File], flaws: &mut Vec<String>) {
    let mut known = BTreeMap::new();
    for file in files {
        let key = (file.kind, file.name.as_str(), file.version.as_str());
        if let Some(other) = known.insert(key, &file.path) {
            let (kind, name) = (file.kind.name(), &file.name);
            let (path, other) = (file.path.display(), other.display());
            flaws.push(format!("{path}: {kind} {name:?} is in {other} too; keep one of them"));
        }
    }
}

/// Models, templates, tools, agents, workflows; a workflow behind those that it runs.
fn in_order(mut files: Vec<File>) -> Vec<File> {
    files.sort_by_key(|file| file.kind);
    let (mut sorted, mut rest): (Vec<File>, Vec<File>) =
        files.into_iter().partition(|file| file.kind != Kind::Workflow);
    while !rest.is_empty() {
        let waits = |file: &File| {
            rest.iter().any(|other| other.name != file.name && file.needs.contains(&other.name))
        };
        // Two that run each other: the platform says what it thinks of it.
        let place = rest.iter().position(|file| !waits(file)).unwrap_or_default();
        sorted.push(rest.remove(place));
    }
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_and_a_file_too_large_are_told_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let agents = folder.path().join("agents");
        std::fs::create_dir(&agents).unwrap();
        std::os::unix::fs::symlink("/dev/zero", agents.join("zero.yaml")).unwrap();
        std::os::unix::fs::symlink("/dev/zero", folder.path().join("workflow.yaml")).unwrap();
        std::fs::write(agents.join("large.yaml"), "#".repeat((10 << 20) + 1)).unwrap();
        let error = read_all(folder.path()).unwrap_err().to_string();
        assert!(error.contains("agents/zero.yaml is a device"), "{error}");
        assert!(error.contains("/workflow.yaml is a device"), "{error}");
        assert!(
            error.contains("agents/large.yaml has 10485761 bytes, but may have at most 10485760"),
            "{error}"
        );
    }
}
