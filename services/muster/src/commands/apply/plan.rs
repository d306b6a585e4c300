//! What applying a folder would change on the platform.

use anyhow::{Result, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use reqwest::{Method, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::diff::{self, Line};
use super::files::File;
use super::kind::Kind;
use super::said::{restore, said};
use crate::client::Client;
use crate::output::{Colour, Output};

/// What happens to a definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Replace,
    Unchanged,
}

/// A file, and what it changes.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) file: File,
    pub(super) change: Change,
    /// Both definitions as text, where one replaces the other.
    texts: Option<(String, String)>,
}

/// Compares every file with what is registered, and has the platform check what only it can check. Nothing is changed.
///
/// # Errors
/// Every flaw of every file that the platform finds.
pub(super) async fn plan(client: &Client, files: Vec<File>) -> Result<Vec<Planned>> {
    let named = |kind| files.iter().filter(move |file: &&File| file.kind == kind);
    let tools: Vec<String> = named(Kind::Tool).map(|file| file.name.clone()).collect();
    let (mut planned, mut flaws) = (Vec::new(), Vec::new());
    for file in files {
        if matches!(file.kind, Kind::Agent | Kind::Template)
            && let Some(flaw) = check(client, &file, &assumed(&file, &tools)).await?
        {
            flaws.push(flaw);
            continue;
        }
        match compare(client, file).await? {
            Ok(one) => planned.push(one),
            Err(flaw) => flaws.push(flaw),
        }
    }
    if flaws.is_empty() {
        return Ok(planned);
    }
    bail!("{}", flaws.join("\n"))
}

/// The tools that will be there when an agent is registered: those of the folder, and what it names of their servers and documents (`SERVER__TOOL`).
fn assumed(agent: &File, tools: &[String]) -> String {
    let named = agent.canonical.get("tools").and_then(Value::as_array).into_iter().flatten();
    let of_source = named.filter_map(Value::as_str).filter(|name| {
        name.split_once("__").is_some_and(|(source, _)| tools.iter().any(|tool| tool == source))
    });
    let all: Vec<&str> = tools.iter().map(String::as_str).chain(of_source).collect();
    all.join(",")
}

/// What the platform has against an agent or a template.
async fn check(client: &Client, file: &File, tools: &str) -> Result<Option<String>> {
    let mut path = format!("{}?check=true", file.kind.path(&file.name));
    if file.kind == Kind::Agent {
        path = format!("{path}&assume_tools={tools}");
    }
    let request = client
        .request(Method::PUT, &path)
        .header(header::CONTENT_TYPE, "application/yaml")
        .body(file.body());
    match client.answer(request).await? {
        (status, _) if status.is_success() => Ok(None),
        (_, problem) => Ok(Some(file.at(&problem))),
    }
}

async fn compare(client: &Client, file: File) -> Result<Result<Planned, String>> {
    let found = client.answer(client.request(Method::GET, &file.kind.path(&file.name))).await?;
    let registered = match found {
        (StatusCode::NOT_FOUND, _) => {
            return Ok(Ok(Planned { file, change: Change::Create, texts: None }));
        }
        (status, body) if status.is_success() => serde_json::from_str::<Value>(&body)?,
        (_, problem) => return Ok(Err(file.at(&problem))),
    };
    let before = match file.kind {
        Kind::Workflow => registered.get("document").cloned().unwrap_or_default(),
        kind => {
            let registered = registered.clone();
            as_unsaid(kind.canonical(registered).unwrap_or(Value::Null), &file.canonical)
        }
    };
    if before == file.canonical {
        return Ok(Ok(Planned { file, change: Change::Unchanged, texts: None }));
    }
    let version = registered.get("version").and_then(Value::as_str).unwrap_or_default();
    if file.kind == Kind::Workflow && version == file.version {
        let message = format!(
            "`document.version` is {version:?}, which is registered with other contents; a version never changes, raise it"
        );
        return Ok(Err(file.at(&message)));
    }
    let texts = Some(texts(&before, &file)?);
    Ok(Ok(Planned { file, change: Change::Replace, texts }))
}

/// What is registered and what the file says, each without what it leaves to the platform.
fn texts(before: &Value, file: &File) -> Result<(String, String)> {
    let before = said(file.kind, before);
    let mut after = said(file.kind, &file.canonical);
    restore(&before, &file.said, &mut after);
    Ok((text(&before)?, text(&after)?))
}

/// The tool service shows its own limit where a definition has none, the class that the kind has where it says none, and a module that it was sent by its digest: a file that says nothing
/// else changes nothing.
fn as_unsaid(mut before: Value, after: &Value) -> Value {
    const FIELD: &str = "timeout_ms";
    let said = after.get(FIELD).and_then(Value::as_u64).unwrap_or_default() > 0;
    if let (false, Some(shown)) = (said, before.get_mut(FIELD)) {
        *shown = json!(0);
    }
    let unclassed = after.get("effect").and_then(Value::as_str) == Some("");
    if let (true, Some(shown)) = (unclassed, before.get_mut("effect")) {
        *shown = json!("");
    }
    let module = after.pointer("/with/module").and_then(Value::as_str);
    if let (Some(module), Some(with)) = (module, before.get_mut("with"))
        && let Ok(bytes) = BASE64_STANDARD.decode(module)
        && with.get("sha256") == Some(&json!(format!("{:x}", Sha256::digest(bytes))))
        && let Some(with) = with.as_object_mut()
    {
        with.remove("sha256");
        with.insert("module".to_owned(), json!(module));
    }
    before
}

/// A definition as people read it: its keys in order.
fn text(value: &Value) -> Result<String> {
    Ok(serde_yaml_ng::to_string(&sorted(value.clone()))?)
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(sorted).collect(),
        Value::Object(map) => {
            let fields: std::collections::BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(fields.into_iter().collect())
        }
        plain => plain,
    }
}

impl Planned {
    pub(super) fn title(&self) -> String {
        let File { kind, name, version, .. } = &self.file;
        let version = if version.is_empty() { String::new() } else { format!(" {version}") };
        format!("{} {name}{version}", kind.name())
    }

    pub(super) fn tell(&self, output: &Output) {
        let (mark, colour) = match self.change {
            Change::Create => ("+", Colour::Green),
            Change::Replace => ("~", Colour::Bold),
            Change::Unchanged => ("=", Colour::Dim),
        };
        let line = format!("{mark} {}: {}", self.title(), self.change.name());
        output.line(&output.paint(colour, &line));
        for line in self.lines() {
            let text = format!("    {}", line.text());
            output.line(&match line {
                Line::New(_) => output.paint(Colour::Green, &text),
                Line::Gone(_) => output.paint(Colour::Red, &text),
                Line::Same(_) | Line::Gap => output.paint(Colour::Dim, &text),
            });
        }
    }

    /// With what the platform found out about the executions that run on another version, or null.
    pub(super) fn json(&self, check: Value) -> Value {
        let lines: Vec<String> = self.lines().into_iter().map(Line::text).collect();
        json!({
            "kind": self.file.kind.name(),
            "name": self.file.name,
            "version": Some(&self.file.version).filter(|version| !version.is_empty()),
            "file": self.file.path.display().to_string(),
            "change": self.change.name(),
            "diff": lines,
            "check": check,
        })
    }

    fn lines(&self) -> Vec<Line<'_>> {
        let texts = self.texts.as_ref();
        texts.map(|(before, after)| diff::changed(before, after)).unwrap_or_default()
    }
}

impl Change {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "change",
            Self::Unchanged => "unchanged",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tool_service_adds_changes_nothing() {
        let check = |before: Value, after: Value| assert_eq!(as_unsaid(before, &after), after);
        check(
            json!({ "timeout_ms": 30_000, "effect": "pure" }),
            json!({ "timeout_ms": 0, "effect": "" }),
        );
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check(
            json!({ "with": { "fuel": 7, "sha256": digest } }),
            json!({ "with": { "fuel": 7, "module": "YWJj" } }),
        );
        let other = json!({ "effect": "once", "with": { "sha256": digest } });
        let after = json!({ "effect": "pure", "with": { "module": "YWJk" } });
        assert_eq!(as_unsaid(other.clone(), &after), other);
    }
}
