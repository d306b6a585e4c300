//! Lists our tools.

use muster_contracts::JsonObject;
use muster_contracts::tool::v1::{ListToolsRequest, ToolDefinition, ToolList};

use crate::app::App;
use crate::error::Error;
use crate::tools::Registered;

pub(crate) async fn list_tools(app: App, request: ListToolsRequest) -> Result<ToolList, Error> {
    let unknown: Vec<&str> = request
        .names
        .iter()
        .map(String::as_str)
        .filter(|name| app.registry.get(name).is_none())
        .collect();
    if !unknown.is_empty() {
        return Err(Error::NotFound(format!(
            "there is no tool {}; there are: {}",
            unknown.join(", "),
            app.registry.names()
        )));
    }
    let timeout_ms = u32::try_from(app.timeout.as_millis()).unwrap_or(u32::MAX);
    let wanted = |tool: &&Registered| {
        request.names.is_empty() || request.names.iter().any(|name| name == tool.definition.name)
    };
    let define = |tool: &Registered| ToolDefinition {
        name: tool.definition.name.to_owned(),
        description: tool.definition.description.to_owned(),
        parameters: Some(JsonObject::wrap(tool.definition.parameters.clone())),
        effect: tool.definition.effect.name().to_owned(),
        timeout_ms,
    };
    Ok(ToolList { tools: app.registry.all().filter(wanted).map(define).collect() })
}
