//! Names for models, by the REST interface of the gateway. `muster apply` registers them.

use std::process::ExitCode;

use anyhow::Result;
use reqwest::Method;
use serde_json::Value;

use super::rest::{client, path, show, text};
use crate::{
    cli::{How, Models},
    output::{Colour, Output},
};

pub(crate) async fn models(what: &Models, output: &Output) -> Result<ExitCode> {
    match what {
        Models::Ls { how } => ls(how, output).await,
        Models::Show { name, how } => {
            show(&client(how)?.get(&path(["model-aliases", name])).await?, output)
        }
        Models::Rm { name, how } => {
            let client = client(how)?;
            client.send(client.request(Method::DELETE, &path(["model-aliases", name]))).await?;
            output.line(&format!("removed {name}"));
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn ls(how: &How, output: &Output) -> Result<ExitCode> {
    let list = client(how)?.get("/v1/model-aliases").await?;
    if how.json {
        return show(&list, output);
    }
    let models = list.get("models").and_then(Value::as_array).cloned().unwrap_or_default();
    if models.is_empty() {
        output.line("no names for models");
        return Ok(ExitCode::SUCCESS);
    }
    let head = format!("{:<24}  {:<10}  ASKS", "NAME", "FROM");
    output.line(&output.paint(Colour::Bold, &head));
    for one in &models {
        let preset = one.get("preset") == Some(&Value::Bool(true));
        let from = if preset { "settings" } else { "registered" };
        output.line(&format!("{:<24}  {from:<10}  {}", text(one, "name"), targets(one)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Who is asked, in the order of the definition.
fn targets(model: &Value) -> String {
    let targets = model.get("targets").and_then(Value::as_array).cloned().unwrap_or_default();
    let told = targets.iter().map(|target| match text(target, "model") {
        "" => text(target, "provider").to_owned(),
        model => format!("{}/{model}", text(target, "provider")),
    });
    told.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn targets_are_told_as_requests_name_them() {
        let model = json!({"targets": [{"provider": "openai", "model": "m"}, {"provider": "offline", "model": ""}]});
        assert_eq!(targets(&model), "openai/m, offline");
    }
}
