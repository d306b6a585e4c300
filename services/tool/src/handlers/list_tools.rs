//! Lists the tools.

use muster_contracts::tool::v1::{ListToolsRequest, ToolList};

use crate::app::App;
use crate::error::Error;

pub(crate) async fn list_tools(app: App, request: ListToolsRequest) -> Result<ToolList, Error> {
    if request.names.is_empty() {
        return Ok(ToolList { tools: app.registry.all().await? });
    }
    let (mut tools, mut unknown) = (Vec::new(), Vec::new());
    for name in &request.names {
        match app.registry.named(name).await? {
            Some(found) => tools.extend(found),
            None => unknown.push(name.chars().take(80).collect::<String>()),
        }
    }
    if !unknown.is_empty() {
        let known = app.registry.names().await;
        return Err(Error::NotFound(format!(
            "there is no tool {}; there are: {known}",
            unknown.join(", ")
        )));
    }
    tools.sort_by(|a, b| a.name.cmp(&b.name));
    tools.dedup();
    Ok(ToolList { tools })
}
