//! What was given up: an execution must not wait for it for ever.

use muster_bus::{Delivery, MessageId};
use muster_contracts::agent::v1::{
    AgentExecutionCancelled, AgentExecutionCompleted, AgentExecutionFailed, AgentExecutionRequested,
};
use muster_contracts::dead_letter::v1::DeadLetter;
use muster_contracts::tool::v1::{
    ToolExecutionCancelled, ToolExecutionCompleted, ToolExecutionFailed, ToolExecutionRequested,
};
use muster_contracts::workflow::v1::{
    CallCompleted, CallRequested, ExecutionFailed, ScheduleFired, StartExecution, TimerFired,
};
use muster_contracts::{Code, Message, now, permissions, time};
use muster_workflow::{Error as Failure, Input, Status};
use serde_json::Value;

use crate::Error;
use crate::app::App;
use crate::domain::command::idempotency_key;
use crate::domain::fault::standard_error;
use crate::domain::state::{error_object, word};

/// Commands of tasks, and what answers them.
const COMMANDS: [&str; 3] =
    [AgentExecutionRequested::NAME, ToolExecutionRequested::NAME, CallRequested::NAME];
const ANSWERS: [&str; 4] = [
    AgentExecutionCompleted::NAME,
    AgentExecutionFailed::NAME,
    AgentExecutionCancelled::NAME,
    CallCompleted::NAME,
];
/// Agents call tools too, for the same task: of these only the task's own call is meant.
const ANSWERS_OF_TOOLS: [&str; 3] =
    [ToolExecutionCompleted::NAME, ToolExecutionFailed::NAME, ToolExecutionCancelled::NAME];

/// A command that nobody could handle fails its task, and so does an answer that could not be taken; a timer is tried again.
pub(crate) async fn dead_letter(app: App, letter: Delivery<DeadLetter>) -> Result<(), Error> {
    // It may be compressed, or lie in the object store.
    let message = app.bus.dead_letters().original(&letter).await;
    let body: Value = serde_json::from_slice(&message.body).unwrap_or_default();
    if is_ours(&letter, StartExecution::NAME) {
        return match serde_json::from_value(body) {
            Ok(start) => given_up(&app, &letter, start).await,
            // Nobody knows which execution it was to be.
            Err(_) => Ok(()),
        };
    }
    if is_ours(&letter, ScheduleFired::NAME) {
        return match serde_json::from_value::<ScheduleFired>(body) {
            Ok(event) => {
                let at = time(letter.last_at.as_ref());
                app.schedules.go_on(&event.workflow, &event.digest, at).await
            }
            Err(_) => Ok(()),
        };
    }
    let Some((execution_id, input)) = input(&letter, &body) else { return Ok(()) };
    app.executions.give(&execution_id, &letter.id, &input).await
}

/// An execution that nobody could start has faulted, and so has the task that runs it; the schedule goes on.
async fn given_up(
    app: &App,
    letter: &Delivery<DeadLetter>,
    start: StartExecution,
) -> Result<(), Error> {
    let id = &start.execution_id;
    if app.executions.look(id, |found| found.is_some()).await? {
        // It has begun; what follows from that could not be done.
        return app.executions.publish_of(id, &letter.message_id).await.map(drop);
    }
    let code = Code::from_name(&letter.code).unwrap_or(Code::Internal);
    let (tries, reason, sequence) = (letter.deliveries, &letter.reason, letter.sequence);
    let text = format!(
        "the execution could not be started after {tries} tries: {reason} (dead letter {sequence}, whose replay starts it)"
    );
    let error = Failure { instance: "/".to_owned(), ..standard_error(code, &text) };
    let at = time(letter.last_at.as_ref());
    app.executions.unstarted().note(&start, &error, (sequence, at)).await?;
    let failed = ExecutionFailed {
        execution_id: id.clone(),
        workflow: start.workflow.clone(),
        version: start.version.clone(),
        status: word(&Status::Faulted),
        error: Some(error_object(&error)),
        timestamp: now(at),
    };
    let told = MessageId::derived(["unstarted", id, &sequence.to_string()]);
    app.bus.publish(&failed, &told).await?;
    if let Some(parent) = start.parent.as_ref().filter(|parent| !parent.detached) {
        let input = Input::Failed {
            task: parent.task.clone(),
            error: Failure { instance: String::new(), ..error },
        };
        app.executions.give(&parent.execution_id, told.as_str(), &input).await?;
    }
    app.schedules.go_on_behind(&start, at).await
}

fn is_ours(letter: &DeadLetter, name: &str) -> bool {
    letter.consumer == permissions::consumer_name("orchestration", name)
}

/// What the letter means for an execution; nothing where it means nothing.
fn input(letter: &DeadLetter, body: &Value) -> Option<(String, Input)> {
    let text = |name: &str| body.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let execution_id = text("execution_id")?.to_owned();
    // The log reads everything, too: what it gives up is done all the same.
    let worked = |name: &&str| {
        letter.consumer.strip_suffix(permissions::consumer_suffix(name).as_str()).is_some()
    };
    let ours = |name: &&str| is_ours(letter, name);
    if ours(&TimerFired::NAME) {
        return Some((execution_id, Input::TimerFired { timer: text("timer")?.to_owned() }));
    }
    let task = text("task")?.to_owned();
    let own_call = text("idempotency_key") == Some(&idempotency_key(&execution_id, &task));
    let ends = COMMANDS.iter().any(worked)
        || ANSWERS.iter().any(ours)
        || (own_call && ANSWERS_OF_TOOLS.iter().any(ours));
    let code = Code::from_name(&letter.code).unwrap_or(Code::Internal);
    let tries = letter.deliveries;
    let text =
        format!("{} could not be handled after {tries} tries: {}", letter.subject, letter.reason);
    ends.then(|| (execution_id, Input::Failed { task, error: standard_error(code, &text) }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn meant(consumer: &str, body: Value) -> Option<Input> {
        let letter = DeadLetter {
            consumer: consumer.to_owned(),
            subject: "s".to_owned(),
            code: "INVALID".to_owned(),
            reason: "no".to_owned(),
            ..Default::default()
        };
        input(&letter, &body).map(|(execution_id, input)| {
            assert_eq!(execution_id, "e1");
            input
        })
    }

    #[test]
    fn only_what_an_execution_waits_for_means_something() {
        let body = json!({"execution_id": "e1", "task": "/do/0/a"});
        let fails = |consumer: &str| matches!(meant(consumer, body.clone()), Some(Input::Failed { task, .. }) if task == "/do/0/a");
        assert!(fails("agent-agent-execution-requested"));
        assert!(fails("tool-tool-execution-requested"));
        assert!(fails("orchestration-call-requested"));
        assert!(fails("orchestration-agent-execution-completed"));
        assert!(fails("orchestration-call-completed"));
        // Others read the same messages, and agents call tools for the same task.
        assert!(!fails("execution-log-log"));
        assert!(!fails("gateway-agent-execution-completed"));
        assert!(!fails("orchestration-tool-execution-completed"));
        let own = json!({"execution_id": "e1", "task": "/do/0/a", "idempotency_key": "e1/do/0/a"});
        assert!(meant("orchestration-tool-execution-completed", own).is_some());
    }

    #[test]
    fn a_timer_is_tried_again_and_rubbish_means_nothing() {
        let timer = json!({"execution_id": "e1", "timer": "/do/0/nap#wait"});
        let again = Some(Input::TimerFired { timer: "/do/0/nap#wait".to_owned() });
        assert_eq!(meant("orchestration-timer-fired", timer), again);
        for body in [json!(null), json!([]), json!({"execution_id": "e1"}), json!({"task": 7})] {
            assert_eq!(meant("orchestration-call-completed", body), None);
        }
    }
}
