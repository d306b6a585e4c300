//! Prompt templates, by the REST interface of the gateway. `muster apply` registers them.

use std::process::ExitCode;

use anyhow::{Context as _, Result, anyhow, bail};
use muster_document::Bounds;
use muster_runtime::files::regular_text;
use reqwest::Method;
use serde_json::{Map, Value, json};

use super::rest::{self, client, path, text};
use crate::{
    cli::{How, Rendered, Templates},
    output::{Colour, Output},
};

/// Of a file with values, in bytes.
const LARGEST: u64 = 1 << 20;
const BOUNDS: Bounds = Bounds { bytes: 1 << 20, values: 100_000, depth: 100 };

pub(crate) async fn templates(what: &Templates, output: &Output) -> Result<ExitCode> {
    match what {
        Templates::Ls { how } => ls(how, output).await,
        Templates::Show { name, version, how } => show(name, version, how, output).await,
        Templates::Render(what) => render(what, output).await,
        Templates::Versions { name, how } => versions(name, how, output).await,
        Templates::Rm { name, how } => {
            let client = client(how)?;
            client.send(client.request(Method::DELETE, &path(["templates", name]))).await?;
            output.line(&format!("removed {name}"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn ls(how: &How, output: &Output) -> Result<ExitCode> {
    let list = client(how)?.get("/v1/templates").await?;
    if how.json {
        return rest::show(&list, output);
    }
    let head = format!("{:<24}  {:<10}  DESCRIPTION", "NAME", "FROM");
    output.line(&output.paint(Colour::Bold, &head));
    for one in entries(&list, "templates") {
        let (name, from, about) = (text(one, "name"), from(one), text(one, "description"));
        output.line(&format!("{name:<24}  {from:<10}  {about}"));
    }
    Ok(ExitCode::SUCCESS)
}

async fn show(name: &str, version: &str, how: &How, output: &Output) -> Result<ExitCode> {
    let query = if version.is_empty() { String::new() } else { format!("?version={version}") };
    let template = client(how)?.get(&(path(["templates", name]) + &query)).await?;
    if how.json {
        return rest::show(&template, output);
    }
    let title = format!("{} ({}, {})", text(&template, "name"), from(&template), digest(&template));
    output.line(&output.paint(Colour::Bold, &title));
    output.line(text(&template, "description"));
    for line in variables(&template) {
        output.line(&line);
    }
    output.line("");
    output.line(text(&template, "text").trim_end());
    Ok(ExitCode::SUCCESS)
}

async fn versions(name: &str, how: &How, output: &Output) -> Result<ExitCode> {
    let found = client(how)?.get(&path(["templates", name, "versions"])).await?;
    if how.json {
        return rest::show(&found, output);
    }
    for one in entries(&found, "versions") {
        let latest = if one.get("latest") == Some(&Value::Bool(true)) { "  latest" } else { "" };
        let when = text(one, "registered_at");
        let when = if when.is_empty() { "built in" } else { when };
        output.line(&format!("{}  {when}{latest}", text(one, "digest")));
    }
    Ok(ExitCode::SUCCESS)
}

async fn render(what: &Rendered, output: &Output) -> Result<ExitCode> {
    let body = json!({"vars": values(what)?, "version": what.version});
    let client = client(&what.how)?;
    let request =
        client.request(Method::POST, &path(["templates", &what.name, "render"])).json(&body);
    let rendered = client.json(request).await?;
    if what.how.json {
        return rest::show(&rendered, output);
    }
    output.line(text(&rendered, "text").trim_end());
    Ok(ExitCode::SUCCESS)
}

fn values(what: &Rendered) -> Result<Map<String, Value>> {
    let mut values = Map::new();
    if let Some(file) = &what.file {
        let read = muster_document::read(&regular_text(file, LARGEST)?, &BOUNDS);
        match read.with_context(|| format!("{} cannot be read", file.display()))? {
            Value::Object(map) => values = map,
            other => bail!("{} is {other:.80}, but must be a map of values", file.display()),
        }
    }
    for var in &what.vars {
        let (name, value) = var
            .split_once('=')
            .ok_or_else(|| anyhow!("--var is {var:?}, but must be NAME=VALUE"))?;
        let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
        values.insert(name.to_owned(), value);
    }
    Ok(values)
}

/// A line for each variable.
fn variables(template: &Value) -> Vec<String> {
    let required: Vec<&str> = template
        .pointer("/variables/required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let properties = template.pointer("/variables/properties").and_then(Value::as_object);
    properties
        .into_iter()
        .flatten()
        .map(|(name, about)| {
            let needed = if required.contains(&name.as_str()) { "required" } else { "optional" };
            format!("  {name:<20}  {needed}  {}", text(about, "description"))
        })
        .collect()
}

fn from(template: &Value) -> &'static str {
    if template.get("built_in") == Some(&Value::Bool(true)) { "built in" } else { "registered" }
}

fn digest(template: &Value) -> &str {
    text(template, "digest").get(..12).unwrap_or_default()
}

fn entries<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_json_where_they_can_be_and_text_else() {
        let server = crate::cli::Server { server: String::new() };
        let how = How { json: false, server };
        let mut what = Rendered {
            name: "t".into(),
            vars: ["a=1", "b=one=two", "c=[\"x\"]", "d="].map(str::to_owned).to_vec(),
            file: None,
            version: String::new(),
            how,
        };
        let expected = json!({"a": 1, "b": "one=two", "c": ["x"], "d": ""});
        assert_eq!(Value::Object(values(&what).unwrap()), expected);
        what.vars = vec!["alone".into()];
        assert!(values(&what).unwrap_err().to_string().contains("NAME=VALUE"));
    }
}
