//! The templates of SPARC's stages.

use muster_contracts::JsonObject;
use muster_contracts::sparc::v1::{
    GetArchitectureRequest, GetPseudocodeRequest, GetTemplateRequest, Template,
};

use super::render::filled;
use crate::app::App;
use crate::domain::stage::template_of;
use crate::error::Error;

/// The template of any stage.
pub(crate) async fn template(app: App, request: GetTemplateRequest) -> Result<Template, Error> {
    of_stage(&app, template_of(&request.stage)?, request.vars).await
}

pub(crate) async fn pseudocode(app: App, request: GetPseudocodeRequest) -> Result<Template, Error> {
    of_stage(&app, "pseudocode", request.vars).await
}

pub(crate) async fn architecture(
    app: App,
    request: GetArchitectureRequest,
) -> Result<Template, Error> {
    of_stage(&app, "architecture", request.vars).await
}

async fn of_stage(
    app: &App,
    stage: &'static str,
    vars: Option<JsonObject>,
) -> Result<Template, Error> {
    let filled = filled(app, stage, "", vars).await?;
    Ok(Template {
        stage: stage.to_owned(),
        template: filled.text,
        version: filled.version,
        tokens: filled.tokens,
        name: filled.template,
    })
}
