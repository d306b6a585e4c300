//! Calls of the engine as commands of the contract.

use std::collections::BTreeMap;

use muster_contracts::agent::v1::AgentExecutionRequested;
use muster_contracts::tool::v1::ToolExecutionRequested;
use muster_contracts::workflow::v1::CallRequested;
use muster_contracts::{Json, JsonObject};
use muster_workflow::{Execution, Function, Payer};
use serde_json::{Map, Value};

/// A command to another service.
pub(crate) enum Command {
    Agent(Box<AgentExecutionRequested>),
    Tool(ToolExecutionRequested),
    Call(CallRequested),
}

/// The command of a `call` task. `secrets` are those that the workflow declares, by their names.
pub(crate) fn command(
    execution: &Execution,
    task: &str,
    function: Function,
    (arguments, secrets): (&Value, &BTreeMap<String, String>),
) -> Command {
    let (execution_id, task) = (execution.id().to_owned(), task.to_owned());
    let Payer { tenant, key_id } = execution.payer().cloned().unwrap_or_default();
    match function {
        Function::Agent => Command::Agent(Box::new(AgentExecutionRequested {
            agent: text(arguments, "agent"),
            input: arguments.get("input").or_else(|| arguments.get("prompt")).cloned().map(Json),
            overrides: arguments
                .get("overrides")
                .filter(|value| !value.is_null())
                .cloned()
                .map(JsonObject::wrap),
            thread_id: text(arguments, "thread"),
            message_id: text(arguments, "message"),
            execution_id,
            task,
            tenant,
            key_id,
            ..Default::default()
        })),
        Function::Tool => Command::Tool(ToolExecutionRequested {
            tool: text(arguments, "tool"),
            arguments: arguments.get("arguments").cloned().map(JsonObject::wrap),
            idempotency_key: idempotency_key(&execution_id, &task),
            execution_id,
            task,
            secrets: Vec::new(),
        }),
        Function::Http | Function::Openapi | Function::Mcp | Function::A2a | Function::Run => {
            Command::Tool(ToolExecutionRequested {
                tool: format!("call:{}", function.name()),
                arguments: Some(JsonObject::wrap(arguments.clone())),
                idempotency_key: idempotency_key(&execution_id, &task),
                execution_id,
                task,
                secrets: secrets.keys().cloned().collect(),
            })
        }
        Function::Model | Function::Search | Function::Template => Command::Call(CallRequested {
            function: function.name().to_owned(),
            arguments: Some(JsonObject(arguments.as_object().cloned().unwrap_or_else(Map::new))),
            execution_id,
            task,
            tenant,
            key_id,
        }),
    }
}

/// The key of a task's call: the same in every try. It also tells a task's own tool call from those that an agent makes for it.
pub(crate) fn idempotency_key(execution_id: &str, task: &str) -> String {
    format!("{execution_id}{task}")
}

fn text(arguments: &Value, name: &str) -> String {
    arguments.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
