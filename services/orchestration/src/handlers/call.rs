//! `call: model`, `call: search` and `call: template`: asks the service and tells the answer as an event.

use std::ops::RangeInclusive;
use std::time::Duration;

use muster_bus::{Delivery, HeardFirst, MessageId};
use muster_contracts::llm::v1::{ChatMessage, CompleteRequest, Parameters};
use muster_contracts::template::v1::RenderTemplateRequest;
use muster_contracts::vector::v1::SearchRequest;
use muster_contracts::workflow::v1::{CallCompleted, CallRequested};
use muster_contracts::{Code, Fault, Json, JsonObject, OnEvent};
use muster_workflow::Function;
use serde_json::Value;

use crate::Error;
use crate::app::App;
use crate::domain::answer as output;
use crate::domain::command::idempotency_key;
use crate::domain::fault::standard_error;
use crate::domain::state::error_object;

/// After so many tries the workflow decides: it may catch the error and retry by its own policy.
const TRIES: u32 = 5;
/// How long a model may take.
const MODEL_DEADLINE: Duration = Duration::from_secs(300);

pub(crate) async fn requested(app: App, command: Delivery<CallRequested>) -> Result<(), Error> {
    let call = app.calls.begin_delivered(&command, &command.execution_id, &command.task).await?;
    tokio::select! {
        biased;
        // Nobody waits for the answer any more: no event.
        () = call.cancelled() => Ok(()),
        answered = answer(&app, &command) => answered,
    }
}

async fn answer(app: &App, command: &Delivery<CallRequested>) -> Result<(), Error> {
    let arguments = command.arguments.clone().unwrap_or_default();
    let answer = if command.function == Function::Search.name() {
        search(app, command, &arguments).await
    } else if command.function == Function::Template.name() {
        template(app, &arguments).await
    } else {
        model(app, command, &arguments).await
    };
    let (output, error) = match answer {
        Ok(output) => (Some(Json(output)), None),
        // The model has heard first that nobody waits any more.
        Err(fault) if HeardFirst::is_said(&fault) => return Err(HeardFirst::wait().await.into()),
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
        collection: text(arguments, "collection")?,
        query: text(arguments, "query")?,
        top_k: number(arguments, "top_k", 1..=100)?,
        filter: object(arguments, "filter")?,
        execution_id: command.execution_id.clone(),
    };
    Ok(output::found(app.bus.request(&request).await?))
}

async fn template(app: &App, arguments: &JsonObject) -> Result<Value, Fault> {
    let request = RenderTemplateRequest {
        template: text(arguments, "template")?,
        stage: text(arguments, "stage")?,
        version: text(arguments, "version")?,
        vars: object(arguments, "vars")?,
    };
    Ok(output::filled(app.bus.request(&request).await?))
}

async fn model(app: &App, command: &CallRequested, arguments: &JsonObject) -> Result<Value, Fault> {
    let request = question(command, arguments)?;
    Ok(output::said(app.bus.request_within(&request, MODEL_DEADLINE).await?))
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
    let temperature = match given(arguments, "temperature") {
        None => None,
        Some(value) => {
            let known = value.as_f64().filter(|value| (0.0..=2.0).contains(value));
            Some(known.ok_or_else(|| wrong("temperature", value, "a number from 0 to 2"))?)
        }
    };
    let params = Parameters {
        temperature,
        max_tokens: number(arguments, "max_tokens", 0..=u32::MAX)?,
        response_schema: object(arguments, "response_schema")?,
        ..Parameters::default()
    };
    let (provider, model) =
        provider_and_model(&text(arguments, "provider")?, &text(arguments, "model")?);
    Ok(CompleteRequest {
        provider,
        model,
        messages,
        params: Some(params),
        session: command.execution_id.clone(),
        idempotency_key: idempotency_key(&command.execution_id, &command.task),
        execution_id: command.execution_id.clone(),
        task: command.task.clone(),
        tenant: command.tenant.clone(),
        key_id: command.key_id.clone(),
        ..Default::default()
    })
}

/// A named provider is final. Without one the model service finds out what the model means: a name for models, a provider, `PROVIDER/MODEL` or a model.
fn provider_and_model(provider: &str, model: &str) -> (String, String) {
    let provider = if provider.is_empty() { "default" } else { provider };
    let model = if model == "default" || model == provider { "" } else { model };
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

/// An argument that is there; null is as good as none.
fn given<'a>(arguments: &'a JsonObject, name: &str) -> Option<&'a Value> {
    arguments.get(name).filter(|value| !value.is_null())
}

fn text(arguments: &JsonObject, name: &str) -> Result<String, Fault> {
    match given(arguments, name) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(other) => Err(wrong(name, other, "a string")),
    }
}

/// 0 where it is absent.
fn number(arguments: &JsonObject, name: &str, range: RangeInclusive<u32>) -> Result<u32, Fault> {
    let Some(value) = given(arguments, name) else { return Ok(0) };
    let number = value.as_u64().and_then(|number| u32::try_from(number).ok());
    number.filter(|number| range.contains(number)).ok_or_else(|| {
        let (first, last) = (range.start(), range.end());
        wrong(name, value, &format!("a whole number from {first} to {last}"))
    })
}

fn object(arguments: &JsonObject, name: &str) -> Result<Option<JsonObject>, Fault> {
    match given(arguments, name) {
        None => Ok(None),
        Some(Value::Object(map)) => Ok(Some(JsonObject(map.clone()))),
        Some(other) => Err(wrong(name, other, "an object")),
    }
}

fn wrong(name: &str, value: &Value, expected: &str) -> Fault {
    let value = value.to_string();
    Fault::new(Code::Invalid, format!("`{name}` is {value:.100}, but it must be {expected}"))
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
        check("", "default", ("default", ""));
        check("default", "default", ("default", ""));
        check("", "offline", ("default", "offline"));
        check("", "anthropic/claude-haiku-4-5", ("default", "anthropic/claude-haiku-4-5"));
        check("", "meta/llama-3", ("default", "meta/llama-3"));
        check("openai", "meta/llama-3", ("openai", "meta/llama-3"));
        check("offline", "default", ("offline", ""));
    }

    #[test]
    fn an_argument_of_the_wrong_kind_is_named_with_its_value() {
        let check = |arguments: Value, expected: &str| {
            let arguments = JsonObject::wrap(arguments);
            let fault = question(&CallRequested::default(), &arguments).unwrap_err();
            assert_eq!((fault.code, fault.message.as_str()), (Code::Invalid, expected));
        };
        check(
            json!({"prompt": "x", "temperature": "hot"}),
            "`temperature` is \"hot\", but it must be a number from 0 to 2",
        );
        check(
            json!({"prompt": "x", "max_tokens": -5}),
            "`max_tokens` is -5, but it must be a whole number from 0 to 4294967295",
        );
        check(
            json!({"prompt": "x", "response_schema": [1]}),
            "`response_schema` is [1], but it must be an object",
        );
        check(json!({"prompt": "x", "provider": 1}), "`provider` is 1, but it must be a string");
        let top_k =
            |value: Value| number(&JsonObject::wrap(json!({"top_k": value})), "top_k", 1..=100);
        assert_eq!((top_k(json!(8)), top_k(Value::Null)), (Ok(8), Ok(0)));
        for value in [json!(0), json!(101), json!(1.5), json!("8")] {
            assert!(top_k(value.clone()).is_err(), "{value}");
        }
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
