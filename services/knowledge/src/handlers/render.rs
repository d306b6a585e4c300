//! Filling a template.

use anyhow::Context;
use muster_contracts::JsonObject;
use muster_contracts::template::v1::{RenderTemplateRequest, RenderedTemplate, TemplateDefinition};

use crate::app::App;
use crate::domain::{Flaw, render as domain, stage};
use crate::error::Error;

/// Fills the template of this name or stage.
pub(crate) async fn render(
    app: App,
    request: RenderTemplateRequest,
) -> Result<RenderedTemplate, Error> {
    let name = match (request.template.as_str(), request.stage.as_str()) {
        ("", "") => {
            return Err(
                Flaw("`template` is missing: the name of a template, or `stage`".into()).into()
            );
        }
        ("", of) => stage::template_of(of)?,
        (name, "") => name,
        (name, of) => {
            let error = format!(
                "`template` is {:.80?} and `stage` {:.80?}, but only one of them can say which template is filled",
                name, of
            );
            return Err(Flaw(error).into());
        }
    };
    filled(&app, name, &request.version, request.vars).await
}

/// The filled version of a template; an empty version is the latest.
pub(crate) async fn filled(
    app: &App,
    name: &str,
    version: &str,
    vars: Option<JsonObject>,
) -> Result<RenderedTemplate, Error> {
    let template = match version {
        "" => app.registry.get(name).await?,
        version => app.registry.version(name, version).await?,
    };
    // Bounded, but long enough to keep others waiting; and counting reads a table first.
    tokio::task::spawn_blocking(move || text_of(template, &vars.unwrap_or_default()))
        .await
        .context("filling a template ended early")?
        .map_err(Error::from)
}

fn text_of(template: TemplateDefinition, vars: &JsonObject) -> Result<RenderedTemplate, Flaw> {
    let text = domain::render(&template, vars)?;
    let tokens = u32::try_from(muster_text::tokens::count(&text)).unwrap_or(u32::MAX);
    Ok(RenderedTemplate { template: template.name, version: template.digest, text, tokens })
}
