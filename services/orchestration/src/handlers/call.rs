//! `call: model` and `call: search`: asks the service and tells the answer as an event.

use std::time::Duration;

use muster_bus::{Delivery, MessageId};
use muster_contracts::llm::v1::{ChatMessage, CompleteRequest, Parameters};
use muster_contracts::vector::v1::SearchRequest;
use muster_contracts::workflow::v1::{CallCompleted, CallRequested};
use muster_contracts::{Code, Fault, Json, JsonObject, OnEvent};
use muster_workflow::Function;
use serde_json::{Value, json};

use crate::Error;
use crate::app::App;
use crate::domain::command::idempotency_key;
use crate::domain::fault::standard_error;
use crate::domain::state::error_object;

/// After so many tries the workflow decides: it may catch the error and retry by its own policy.
const TRIES: u32 = 5;
/// How long a model may take.
const MODEL_DEADLINE: Duration = Duration::from_secs(300);

pub(crate) async fn requested(app: App, command: Delivery<CallRequested>) -> Result<(), Error> {
    let arguments = command.arguments.clone().unwrap_or_default();
    let answer = if command.function == Function::Search.name() {
        search(&app, &command, &arguments).await
    } else {
        model(&app, &command, &arguments).await
    };
    let (output, error) = match answer {
        Ok(output) => (Some(Json(output)), None),
        Err(fault) if fault.code.on_event() != OnEvent::DeadLetter && command.attempt < TRIES => {
            return Err(fault.into());
        }
        Err(fault) => (None, Some(error_object(&standard_error(fault.code, &fault.message)))),
    };
    let event = CallCompleted {
        execution_id: command.execution_id.clone(),
        task: command.task.clone(),
        output,
        error,
    };
    app.bus.publish(&event, &MessageId::derived(["call-completed", &command.id])).await?;
    Ok(())
}

async fn search(
    app: &App,
    command: &CallRequested,
    arguments: &JsonObject,
) -> Result<Value, Fault> {
    let request = SearchRequest {
        collection: text(arguments, "collection"),
        query: text(arguments, "query"),
        top_k: arguments
            .get("top_k")
            .and_then(Value::as_u64)
            .and_then(|top_k| u32::try_from(top_k).ok())
            .unwrap_or_default(),
        filter: arguments.get("filter").cloned().map(JsonObject::wrap),
        execution_id: command.execution_id.clone(),
    };
    written(&app.bus.request(&request).await?)
}

async fn model(app: &App, command: &CallRequested, arguments: &JsonObject) -> Result<Value, Fault> {
    let messages = match arguments.get("messages") {
        Some(messages) => serde_json::from_value(messages.clone()).map_err(|error| {
            Fault::new(
                Code::Invalid,
                format!("`messages` must be a list of {{role, content}}: {error}"),
            )
        })?,
        None => vec![ChatMessage {
            role: "user".to_owned(),
            content: prompt(arguments),
            ..Default::default()
        }],
    };
    let params = Parameters {
        temperature: arguments.get("temperature").and_then(Value::as_f64),
        max_tokens: arguments
            .get("max_tokens")
            .and_then(Value::as_u64)
            .and_then(|tokens| u32::try_from(tokens).ok())
            .unwrap_or_default(),
        response_schema: arguments.get("schema").cloned().map(JsonObject::wrap),
    };
    let (provider, model) = provider_and_model(&text(arguments, "model"));
    let request = CompleteRequest {
        provider,
        model,
        messages,
        params: Some(params),
        session: command.execution_id.clone(),
        idempotency_key: idempotency_key(&command.execution_id, &command.task),
        execution_id: command.execution_id.clone(),
        task: command.task.clone(),
        ..Default::default()
    };
    let reply = app.bus.request_within(&request, MODEL_DEADLINE).await?;
    Ok(json!({
        "text": reply.message.unwrap_or_default().content,
        "finish_reason": reply.finish_reason,
        "model": reply.model,
        "usage": written(&reply.usage.unwrap_or_default())?,
    }))
}

/// `openai/gpt-4o-mini` names both; `default` and `offline` name a provider; anything else is a model of the default provider.
fn provider_and_model(name: &str) -> (String, String) {
    match name.split_once('/') {
        Some((provider @ ("openai" | "offline"), model)) => (provider.to_owned(), model.to_owned()),
        _ if matches!(name, "" | "default") => ("default".to_owned(), String::new()),
        _ if matches!(name, "offline" | "openai") => (name.to_owned(), String::new()),
        _ => ("default".to_owned(), name.to_owned()),
    }
}

fn prompt(arguments: &JsonObject) -> String {
    match arguments.get("prompt") {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    }
}

fn text(arguments: &JsonObject, name: &str) -> String {
    arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn written(reply: &impl serde::Serialize) -> Result<Value, Fault> {
    serde_json::to_value(reply).map_err(|error| Fault::new(Code::Internal, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_may_name_its_provider() {
        let check = |name, provider: &str, model: &str| {
            assert_eq!(provider_and_model(name), (provider.to_owned(), model.to_owned()), "{name}");
        };
        check("", "default", "");
        check("offline", "offline", "");
        check("openai/gpt-4o", "openai", "gpt-4o");
        check("meta/llama-3", "default", "meta/llama-3");
    }
}
