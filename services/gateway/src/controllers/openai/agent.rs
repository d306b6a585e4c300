//! An agent in the place of a model: its run is an execution of a workflow of one call.

use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use muster_bus::{Bucket, Bus};
use muster_contracts::agent::v1::GetAgentRequest;
use muster_contracts::llm::v1::{ChatMessage, CompleteResponse, TokenUsage};
use muster_contracts::log::v1::{ExecutionUsage, GetUsageRequest};
use muster_contracts::workflow::v1::PutWorkflowRequest;
use muster_contracts::{Code, Fault};
use muster_deliverable::{Address, Deliverables};
use serde_json::{Value, json};
use tracing::debug;

use super::LONGEST;
use super::chat::refused;
use crate::app::App;
use crate::auth::Client;
use crate::controllers::executions::record_key;
use crate::controllers::executions::start::{self, Wanted};
use crate::domain::idempotency::{Key, StartRecord};
use crate::domain::name;
use crate::domain::openai::{AGENT, messages};
use crate::error::Error;
use crate::wire::openai::{ChatRequest, Refusal};
use crate::wire::{Execution, Start};

/// How often it is looked for what a run spent, which the log may know a moment later than the end.
const LOOKS: u32 = 40;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);
const WORKFLOW: &str = "chat-with-agent";
/// Registered when it is used for the first time; the same definition again changes nothing.
const SOURCE: &str = "\
document: {dsl: '1.0.3', namespace: muster, name: chat-with-agent, version: '1.0.0', summary: An agent that is asked by /v1/chat/completions.}
do:
- run: {call: agent, with: {agent: '${ .agent }', input: '${ .input }'}}
";

/// Runs the agent on the conversation. A part of the request that an agent's definition decides is refused.
pub(super) fn run(
    app: App,
    asked: ChatRequest,
    (client, key): (Client, Option<String>),
) -> Result<BoxFuture<'static, Result<CompleteResponse, Error>>, Error> {
    let model = asked.model.clone();
    let agent =
        name::name("agent's name", model.strip_prefix(AGENT).unwrap_or_default())?.to_owned();
    check(&asked).map_err(Error::Refused)?;
    let input = input(&messages(asked.messages).map_err(Error::Refused)?);
    let start = Start {
        workflow: WORKFLOW.to_owned(),
        input: json!({ "agent": agent, "input": input }),
        version: None,
    };
    Ok(async move {
        let key = key.map(|key| Key::parse(&key)).transpose()?;
        let wanted = Wanted { start: &start, key: key.as_ref(), client: &client };
        // What a key began before is answered, also where its agent is gone since.
        if !is_begun(&app, wanted).await? {
            let asked = GetAgentRequest { name: agent, ..GetAgentRequest::default() };
            app.bus.request(&asked).await.map_err(refused)?;
        }
        let execution = execute(&app, wanted).await?;
        reply(&app, execution, model).await
    }
    .boxed())
}

/// Whether the key of the request has an execution already.
async fn is_begun(app: &App, wanted: Wanted<'_>) -> Result<bool, Error> {
    let Some(id) = wanted.key.map(|key| key.id(&wanted.client.scope("executions"))) else {
        return Ok(false);
    };
    let records = app.bus.kv::<StartRecord>(Bucket::Idempotency);
    Ok(records.get(&record_key(&id.to_string())).await?.is_some())
}

/// An agent's own definition says what it may do and how it answers.
fn check(asked: &ChatRequest) -> Result<(), Refusal> {
    let own = "is decided by the agent's definition";
    let given = [
        ("tools", asked.tools.as_ref().is_some_and(|tools| !tools.is_empty())),
        ("tool_choice", asked.tool_choice.is_some()),
        (
            "response_format",
            asked.response_format.as_ref().is_some_and(|format| format.kind != "text"),
        ),
        ("n", asked.n.is_some_and(|count| count != 1)),
        ("stop", asked.stop.is_some()),
    ];
    let refused = given.into_iter().find(|(_, is_given)| *is_given);
    refused.map_or(Ok(()), |(param, _)| Err(Refusal::unsupported(param, own)))
}

/// One message is the question itself; a conversation is told with its roles, as JSON that no content can leave.
fn input(messages: &[ChatMessage]) -> Value {
    match messages {
        [only] if only.role == "user" && only.parts.is_empty() => json!(only.content),
        _ => {
            let told = messages.iter().map(|message| {
                let texts = message.parts.iter().map(|part| part.text.as_str());
                let text: String = std::iter::once(message.content.as_str()).chain(texts).collect();
                json!({ "role": message.role, "content": text })
            });
            json!({ "conversation": told.collect::<Vec<_>>() })
        }
    }
}

async fn execute(app: &App, wanted: Wanted<'_>) -> Result<Execution, Error> {
    match start::to_the_end(app, wanted, LONGEST).await {
        Err(Error::Fault(fault)) if fault.code == Code::NotFound => {
            debug!(workflow = WORKFLOW, "registering what runs agents");
            app.bus
                .request(&PutWorkflowRequest { source: SOURCE.to_owned(), ..Default::default() })
                .await?;
            start::to_the_end(app, wanted, LONGEST).await
        }
        result => result,
    }
}

async fn reply(app: &App, execution: Execution, model: String) -> Result<CompleteResponse, Error> {
    match execution.status.as_str() {
        "completed" => {}
        "faulted" => return Err(failed(&execution)),
        "cancelled" => {
            return Err(Fault::new(
                Code::Conflict,
                format!("the execution {} was cancelled", execution.execution_id),
            )
            .into());
        }
        other => {
            let text = format!(
                "the execution {} is still {other} after {} s",
                execution.execution_id,
                LONGEST.as_secs()
            );
            return Err(Fault::new(Code::Deadline, text).into());
        }
    }
    let content = content(&app.bus, execution.output.unwrap_or_default()).await?;
    let usage = usage(app, &execution.execution_id).await;
    let message = ChatMessage { role: "assistant".to_owned(), content, ..ChatMessage::default() };
    Ok(CompleteResponse {
        message: Some(message),
        finish_reason: "stop".to_owned(),
        usage: Some(usage),
        provider: "muster".to_owned(),
        model,
        ..CompleteResponse::default()
    })
}

/// The result as a text. Of what an agent delivered the execution has a notice only: the client gets the whole.
async fn content(bus: &Bus, output: Value) -> Result<String, Fault> {
    let address = output.get("deliverable").and_then(Value::as_str).map(Address::parse);
    if let Some(Ok(address)) = address
        && let Some(stored) = Deliverables::new(bus).fetch(&address).await?
    {
        return Ok(stored.deliverable.content);
    }
    Ok(match output {
        Value::Null => String::new(),
        Value::String(text) => text,
        other => other.to_string(),
    })
}

/// What the run spent, as soon as the log knows it.
async fn usage(app: &App, execution_id: &str) -> TokenUsage {
    let request = GetUsageRequest { execution_id: execution_id.to_owned() };
    for _look in 0..LOOKS {
        if let Ok(ExecutionUsage { total: Some(total), .. }) = app.bus.request(&request).await
            && total.model_calls > 0
        {
            return TokenUsage {
                input_tokens: total.input_tokens,
                output_tokens: total.output_tokens,
                reasoning_tokens: total.reasoning_tokens,
                ..TokenUsage::default()
            };
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
    TokenUsage::default()
}

/// The error of the run, with its status.
fn failed(execution: &Execution) -> Error {
    let error = execution.error.as_ref();
    let text = |field: &str| error.and_then(|error| error.get(field)).and_then(Value::as_str);
    let status = error.and_then(|error| error.get("status")).and_then(Value::as_u64);
    let code = Code::ALL.into_iter().find(|code| Some(u64::from(code.http_status())) == status);
    let told = text("detail").or_else(|| text("title")).unwrap_or("no reason given");
    let message = format!("the execution {} failed: {told}", execution.execution_id);
    refused(match code.filter(|code| *code != Code::Internal) {
        Some(code) => Fault::new(code, message),
        // What an agent comes to is no bug of the platform.
        None => Fault::new(Code::Unavailable, message),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_question_is_told_as_it_is_and_a_conversation_with_its_roles() {
        let message = |role: &str, content: &str| ChatMessage {
            role: role.into(),
            content: content.into(),
            ..ChatMessage::default()
        };
        assert_eq!(input(&[message("user", "hi")]), json!("hi"));
        assert_eq!(
            input(&[message("system", "Be brief."), message("user", "hi \"}")]),
            json!({ "conversation": [
                { "role": "system", "content": "Be brief." }, { "role": "user", "content": "hi \"}" },
            ] })
        );
    }
}
