//! Recorded messages of an execution as the events that a client reads.

use chrono::{DateTime, SecondsFormat, Utc};
use muster_contracts::{
    Json, agent::v1::RunEntry, llm::v1::Token, time, workflow::v1::JournalEntry,
};
use serde_json::{Map, Value, json};

/// A step, and how the execution ended where the step is its end.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    /// One JSON object: `at`, `source`, `type`, and the fact's own fields.
    pub(crate) data: Value,
    /// The final state: `execution_id`, `status`, `output` or `error`, `ended_at`.
    pub(crate) end: Option<Value>,
}

/// The steps of one transition of the workflow, in their order.
pub(crate) fn of_workflow(entry: JournalEntry) -> Vec<Step> {
    let at = time(entry.at.as_ref());
    let execution_id = entry.execution_id;
    // A fork begins with facts of another execution, whose times and whose ends are not its own.
    let copied: Vec<DateTime<Utc>> = entry
        .copied
        .iter()
        .flat_map(|copy| std::iter::repeat_n(time(copy.at.as_ref()), copy.facts as usize))
        .take(entry.facts.len())
        .collect();
    entry
        .facts
        .into_iter()
        .enumerate()
        .map(|(index, fact)| {
            let fact = object(fact.0);
            match copied.get(index) {
                Some(at) => Step { data: step("workflow", *at, fact, []), end: None },
                None => {
                    let end = end(&execution_id, at, &fact);
                    Step { data: step("workflow", at, fact, []), end }
                }
            }
        })
        .collect()
}

/// The step of an agent's run.
pub(crate) fn of_agent(entry: RunEntry) -> Step {
    let at = time(entry.at.as_ref());
    let mut fact = object(entry.fact.unwrap_or_default().0);
    // The first fact of a run holds the whole agent and its tools; who follows it can ask for them by their names.
    for long in ["definition", "tools", "command"] {
        fact.remove(long);
    }
    let about = [("task", entry.task), ("agent", entry.agent), ("run_id", entry.run_id)];
    Step { data: step("agent", at, fact, about), end: None }
}

/// A token.
pub(crate) fn of_model(token: Token) -> Value {
    let mut data = json!({
        "agent": token.agent,
        "task": token.task,
        "reply": token.reply,
        "sequence": token.sequence,
        "delta": token.delta,
        "sent_at_ms": token.sent_at_ms,
    });
    if !token.reasoning.is_empty() {
        set(&mut data, "reasoning", json!(token.reasoning));
    }
    if !token.finish_reason.is_empty() {
        set(&mut data, "finish_reason", json!(token.finish_reason));
    }
    if let Some(usage) = token.usage {
        set(
            &mut data,
            "usage",
            json!({"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}),
        );
    }
    data
}

/// Whether one of the facts ends the execution, and at which index.
pub(crate) fn end_index(entry: &JournalEntry) -> Option<usize> {
    let copied = entry.copied.iter().map(|copy| copy.facts as usize).sum();
    let is_end = |fact: &Json| status(fact.get("type").and_then(Value::as_str)).is_some();
    let mut own = entry.facts.iter().enumerate().skip(copied);
    own.find(|(_, fact)| is_end(fact)).map(|(index, _)| index)
}

fn step<const N: usize>(
    source: &str,
    at: DateTime<Utc>,
    fact: Map<String, Value>,
    about: [(&str, String); N],
) -> Value {
    let mut data = json!({"at": rfc3339(at), "source": source});
    for (name, value) in about {
        set(&mut data, name, json!(value));
    }
    for (name, value) in fact {
        // The journal says when a fact was written; what the fact says itself of `at` is often something else (a timer).
        let name = if name == "at" { "fact_at".to_owned() } else { name };
        set(&mut data, &name, value);
    }
    data
}

fn end(execution_id: &str, at: DateTime<Utc>, fact: &Map<String, Value>) -> Option<Value> {
    let status = status(fact.get("type").and_then(Value::as_str))?;
    let mut state =
        json!({"execution_id": execution_id, "status": status, "ended_at": rfc3339(at)});
    for name in ["output", "error", "reason"] {
        if let Some(value) = fact.get(name) {
            set(&mut state, name, value.clone());
        }
    }
    Some(state)
}

fn status(fact_type: Option<&str>) -> Option<&'static str> {
    match fact_type? {
        "execution_completed" => Some("completed"),
        "execution_faulted" => Some("faulted"),
        "execution_cancelled" => Some("cancelled"),
        _ => None,
    }
}

fn set(data: &mut Value, name: &str, value: Value) {
    if let Some(object) = data.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => Map::from_iter([("value".to_owned(), other)]),
    }
}

fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_contracts::{now, workflow::v1::CopiedTransition};

    fn entry(facts: &[Value]) -> JournalEntry {
        JournalEntry {
            execution_id: "e".to_owned(),
            at: now(DateTime::UNIX_EPOCH),
            facts: facts.iter().cloned().map(Json).collect(),
            ..JournalEntry::default()
        }
    }

    #[test]
    fn the_end_of_what_a_fork_has_copied_is_not_its_own() {
        let facts =
            ["execution_started", "execution_faulted", "execution_retried", "execution_forked"];
        let mut forked = entry(&facts.map(|kind| json!({"type": kind})));
        let copy = |facts, seconds| CopiedTransition {
            at: now(DateTime::from_timestamp(seconds, 0).unwrap()),
            facts,
            ..CopiedTransition::default()
        };
        forked.copied = vec![copy(2, 60), copy(1, 120)];
        assert_eq!(end_index(&forked), None);
        let steps = of_workflow(forked.clone());
        assert!(steps.iter().all(|step| step.end.is_none()));
        let times: Vec<_> = steps.iter().map(|step| step.data["at"].as_str().unwrap()).collect();
        let expected = ["00:01:00", "00:01:00", "00:02:00", "00:00:00"];
        assert!(
            times.iter().zip(expected).all(|(at, expected)| at.contains(expected)),
            "{times:?}"
        );
        forked.facts.push(Json(json!({"type": "execution_completed"})));
        assert_eq!(end_index(&forked), Some(4));
    }

    #[test]
    fn the_last_fact_of_a_workflow_says_how_it_ended() {
        let steps = of_workflow(entry(&[
            json!({"type": "task_completed", "task": "/do/0/a@1", "at": "x"}),
            json!({"type": "execution_completed", "output": {"n": 1}}),
        ]));
        assert_eq!(
            steps.iter().map(|step| &step.data).collect::<Vec<_>>(),
            [
                &json!({"at": "1970-01-01T00:00:00.000Z", "source": "workflow", "type": "task_completed", "task": "/do/0/a@1", "fact_at": "x"}),
                &json!({"at": "1970-01-01T00:00:00.000Z", "source": "workflow", "type": "execution_completed", "output": {"n": 1}}),
            ]
        );
        assert_eq!(steps[0].end, None);
        assert_eq!(
            steps[1].end,
            Some(
                json!({"execution_id": "e", "status": "completed", "ended_at": "1970-01-01T00:00:00.000Z", "output": {"n": 1}})
            )
        );
    }

    #[test]
    fn an_end_is_found_wherever_it_stands() {
        let running = json!({"type": "task_started"});
        for (kind, index) in [
            ("execution_faulted", Some(1)),
            ("execution_cancelled", Some(1)),
            ("task_faulted", None),
        ] {
            assert_eq!(
                end_index(&entry(&[running.clone(), json!({"type": kind})])),
                index,
                "{kind}"
            );
        }
    }

    #[test]
    fn a_run_tells_its_agent_but_not_the_agents_whole_file() {
        let step = of_agent(RunEntry {
            agent: "critic".to_owned(),
            task: "/do/0".to_owned(),
            run_id: "r".to_owned(),
            fact: Some(Json(
                json!({"type": "run_started", "definition": {"instructions": "long"}}),
            )),
            ..RunEntry::default()
        });
        assert_eq!(step.data["agent"], "critic");
        assert_eq!(step.data["type"], "run_started");
        assert_eq!(step.data.get("definition"), None);
    }
}
