//! Tells the lifecycle events of the specification, from what the journals say.

use muster_bus::{MessageId, Recorded};
use muster_contracts::workflow::v1::{JournalEntry, LifecycleEvent, StartExecution};
use muster_contracts::{JsonObject, Message, now, time};
use muster_workflow::Definition;

use crate::Error;
use crate::app::App;
use crate::domain::lifecycle::{Told, accepted, events};
use crate::executions::entry::facts;

pub(crate) async fn recorded(app: App, event: Recorded) -> Result<(), Error> {
    if event.message_type == StartExecution::NAME {
        let start: StartExecution = event.decode()?;
        let definition = app.definitions.load(&start.digest).await?;
        let told = accepted(&definition, &start.execution_id, app.lifecycle, event.time);
        return tell(&app, &definition, (&start.execution_id, event.sequence), told).await;
    }
    let entry: JournalEntry = event.decode()?;
    let definition = app.definitions.load(&entry.digest).await?;
    let (execution_id, at) = (entry.execution_id.clone(), time(entry.at.as_ref()));
    let facts = facts(entry)?;
    let told = events(&definition, &execution_id, app.lifecycle, (&facts, at));
    tell(&app, &definition, (&execution_id, event.sequence), told).await
}

/// A second time tells nothing new: the ids follow from the place in the stream.
async fn tell(
    app: &App,
    definition: &Definition,
    (execution_id, sequence): (&str, u64),
    told: Vec<Told>,
) -> Result<(), Error> {
    let source = format!("/muster/workflows/{}/{}", definition.namespace(), definition.name());
    let publishing = told.into_iter().enumerate().map(|(index, told)| {
        let id = MessageId::derived([
            "lifecycle",
            execution_id,
            &sequence.to_string(),
            &index.to_string(),
        ]);
        let event = LifecycleEvent {
            execution_id: execution_id.to_owned(),
            specversion: "1.0".to_owned(),
            id: id.as_str().to_owned(),
            source: source.clone(),
            r#type: told.kind,
            subject: told.task.unwrap_or_else(|| execution_id.to_owned()),
            time: now(told.at),
            datacontenttype: "application/json".to_owned(),
            data: Some(JsonObject(told.data)),
        };
        async move { app.bus.publish(&event, &id).await.map(drop) }
    });
    for published in futures::future::join_all(publishing).await {
        published?;
    }
    Ok(())
}
