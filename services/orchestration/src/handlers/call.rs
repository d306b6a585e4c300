//! `call: model` and `call: search`: asks the service and tells the answer as an event.

use std::time::Duration;

use muster_bus::{Delivery, MessageId};
use muster_contracts::llm::v1::{ChatMessage, CompleteRequest, Parameters};
use muster_contracts::vector::v1::SearchRequest;
use muster_contracts::workflow::v1::{CallCompleted, CallRequested};
use muster_contracts::{Code, Fault, Json, JsonObject, OnEvent};
use muster_workflow::Function;
use serde_json::Value;

use crate::Error;
use crate::app::App;
use crate::domain::answer;
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
    Ok(answer::found(app.bus.request(&request).await?))
}

async fn model(app: &App, command: &CallRequested, arguments: &JsonObject) -> Result<Value, Fault> {
    let request = question(command, arguments)?;
    Ok(answer::said(app.bus.request_within(&request, MODEL_DEADLINE).await?))
}

fn question(command: &CallRequested, arguments: &JsonObject) -> Result<CompleteRequest, Fault> {
    let mut messages = match arguments.get("messages") {
        Some(messages) => serde_json::from_value(messages.clone()).map_err(|error| {
            Fault::new(
                Code::Invalid,
                format!("`messages` must be a list of {{role, content}}: {error}"),
            )
        })?,
        None => vec![message("user", arguments.get("prompt"))],
    };
    if let Some(system) = arguments.get("system") {
        messages.insert(0, message("system", Some(system)));
    }
    let params = Parameters {
        temperature: arguments.get("temperature").and_then(Value::as_f64),
        max_tokens: arguments
            .get("max_tokens")
            .and_then(Value::as_u64)
            .and_then(|tokens| u32::try_from(tokens).ok())
            .unwrap_or_default(),
        response_schema: arguments.get("response_schema").cloned().map(JsonObject::wrap),
    };
    let (provider, model) =
        provider_and_model(&text(arguments, "provider"), &text(arguments, "model"));
    Ok(CompleteRequest {
        provider,
        model,
        messages,
        params: Some(params),
        session: command.execution_id.clone(),
        idempotency_key: idempotency_key(&command.execution_id, &command.task),
        execution_id: command.execution_id.clone(),
        task: command.task.clone(),
        ..Default::default()
    })
}

/// `openai/gpt-4o-mini` names both; `default`, `openai` and `offline` name a provider; anything else is a model of the default provider.
fn provider_and_model(provider: &str, model: &str) -> (String, String) {
    let (provider, model) = match (provider, model.split_once('/')) {
        ("", Some((provider @ ("openai" | "offline"), model))) => (provider, model),
        ("", _) if matches!(model, "offline" | "openai") => (model, ""),
        ("", _) if matches!(model, "" | "default") => ("default", ""),
        ("", _) => ("default", model),
        (provider, _) => {
            (provider, if model == "default" || model == provider { "" } else { model })
        }
    };
    (provider.to_owned(), model.to_owned())
}

fn message(role: &str, content: Option<&Value>) -> ChatMessage {
    let content = match content {
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
        None => String::new(),
    };
    ChatMessage { role: role.to_owned(), content, ..Default::default() }
}

fn text(arguments: &JsonObject, name: &str) -> String {
    arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_model_may_name_its_provider() {
        let check = |provider, model, expected: (&str, &str)| {
            assert_eq!(
                provider_and_model(provider, model),
                (expected.0.to_owned(), expected.1.to_owned()),
                "{provider} {model}"
            );
        };
        check("", "", ("default", ""));
        check("", "offline", ("offline", ""));
        check("", "openai/gpt-4o", ("openai", "gpt-4o"));
        check("", "meta/llama-3", ("default", "meta/llama-3"));
        check("openai", "meta/llama-3", ("openai", "meta/llama-3"));
        check("offline", "default", ("offline", ""));
    }

    #[test]
    fn a_prompt_and_a_system_text_become_messages() {
        let arguments = JsonObject::wrap(
            json!({"model": "offline", "system": "Be brief.", "prompt": {"q": 1}, "max_tokens": 9}),
        );
        let request = question(&CallRequested::default(), &arguments).unwrap();
        let told: Vec<(&str, &str)> = request
            .messages
            .iter()
            .map(|message| (message.role.as_str(), message.content.as_str()))
            .collect();
        assert_eq!(told, [("system", "Be brief."), ("user", "{\"q\":1}")]);
        assert_eq!(request.params.unwrap().max_tokens, 9);
    }
}
