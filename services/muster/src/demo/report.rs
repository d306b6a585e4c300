//! What is told at the end: the timeline, the tokens, and what was saved.

use std::{collections::BTreeSet, time::Duration};

use anyhow::Result;
use serde_json::Value;
use tokio::time::Instant;

use crate::client::Client;

/// The log follows the events: it may be a moment behind the end.
const SETTLE: Duration = Duration::from_secs(15);
const PAUSE: Duration = Duration::from_millis(200);
const BAR: f64 = 32.0;

/// The address of the brief in an execution's output: that of `brief` where there is one, else the first.
pub(crate) fn deliverable(output: &Value) -> Option<String> {
    let brief = output.get("brief").and_then(first_address);
    brief.or_else(|| first_address(output))
}

fn first_address(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.starts_with("deliverables/") => Some(text.clone()),
        Value::Array(items) => items.iter().find_map(first_address),
        Value::Object(fields) => fields.values().find_map(first_address),
        _ => None,
    }
}

/// One line for each task: when it began, how long it took, and a bar that shows both.
pub(crate) fn timeline(execution: &Value) -> Vec<String> {
    let tasks = execution.get("tasks").and_then(Value::as_array).cloned().unwrap_or_default();
    let keys: Vec<&str> = tasks.iter().filter_map(|task| task.get("task")?.as_str()).collect();
    let spans: Vec<Span> = tasks.iter().filter_map(|task| Span::of(task, &keys)).collect();
    let begin = spans.iter().map(|span| span.begin).fold(f64::INFINITY, f64::min);
    let end = spans.iter().map(|span| span.end).fold(0.0, f64::max);
    let width = spans.iter().map(|span| span.name.chars().count()).max().unwrap_or(0);
    spans.iter().map(|span| span.line(begin, end, width)).collect()
}

/// A task that began, with times in seconds.
struct Span {
    name: String,
    kind: String,
    status: String,
    begin: f64,
    end: f64,
}

impl Span {
    fn of(task: &Value, keys: &[&str]) -> Option<Self> {
        let text =
            |field: &str| task.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let begin = seconds(&text("started_at"))?;
        let depth = depth(&text("task"), keys);
        Some(Self {
            name: format!("{}{}", "  ".repeat(depth), text("name")),
            kind: text("kind"),
            status: text("status"),
            begin,
            end: seconds(&text("ended_at")).unwrap_or(begin),
        })
    }

    fn line(&self, begin: f64, end: f64, width: usize) -> String {
        let scale = BAR / (end - begin).max(0.001);
        let columns =
            |from: f64, to: f64| "#".repeat((((to - from) * scale).round().max(1.0)) as usize);
        let lead = " ".repeat(((self.begin - begin) * scale).floor().min(BAR - 1.0) as usize);
        let bar = format!("{lead}{}", columns(self.begin, self.end));
        let status =
            if self.status == "completed" { String::new() } else { format!(" {}", self.status) };
        format!(
            "{:>7.2} s {:>7.2} s  {:width$}  {:32}  {}{status}",
            self.begin - begin,
            self.end - self.begin,
            self.name,
            bar,
            self.kind
        )
        .trim_end()
        .to_owned()
    }
}

/// In how many other tasks a task is: their keys are the beginning of its key.
fn depth(key: &str, keys: &[&str]) -> usize {
    let around =
        |other: &&&str| key.strip_prefix(**other).is_some_and(|rest| rest.starts_with(['/', '[']));
    keys.iter().filter(around).count()
}

/// Seconds since the epoch of an RFC 3339 time in UTC.
fn seconds(time: &str) -> Option<f64> {
    let time = chrono::DateTime::parse_from_rfc3339(time).ok()?;
    Some(time.timestamp_micros() as f64 / 1e6)
}

/// The usage, once the log has recorded the end of every run.
pub(crate) async fn settled_usage(client: &Client, execution_id: &str, runs: u64) -> Result<Value> {
    let over = Instant::now() + SETTLE;
    loop {
        let found = client.get(&format!("/v1/executions/{execution_id}/usage")).await;
        // Where not even the first event is recorded yet, there is none.
        let recorded = found
            .as_ref()
            .ok()
            .map(|usage| agents(usage).iter().map(|agent| number(agent, "runs")).sum::<u64>());
        if recorded.is_some_and(|recorded| recorded >= runs) || Instant::now() > over {
            return found;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// One line for each agent, and one for all.
pub(crate) fn usage(usage: &Value) -> Vec<String> {
    let row = |name: &str, runs: u64, usage: &Value| {
        format!(
            "{name:<14} {runs:>5} {:>12} {:>11} {:>11} {:>11}",
            grouped(number(usage, "model_calls")),
            grouped(number(usage, "tool_calls")),
            grouped(number(usage, "input_tokens")),
            grouped(number(usage, "output_tokens")),
        )
    };
    let mut lines = vec![format!(
        "{:<14} {:>5} {:>12} {:>11} {:>11} {:>11}",
        "agent", "runs", "model calls", "tool calls", "tokens in", "tokens out"
    )];
    let mut runs = 0;
    for agent in agents(usage) {
        runs += number(agent, "runs");
        let name = agent.get("agent").and_then(Value::as_str).unwrap_or_default();
        lines.push(row(name, number(agent, "runs"), agent.get("usage").unwrap_or(&Value::Null)));
    }
    lines.push(row("all", runs, usage.get("total").unwrap_or(&Value::Null)));
    lines
}

/// What the notices saved.
pub(crate) fn saving(usage: &Value) -> String {
    let total = usage.get("total").unwrap_or(&Value::Null);
    let (pasted, saved, fetched) = (
        number(total, "pasted_tokens"),
        number(total, "saved_tokens"),
        number(total, "fetched_tokens"),
    );
    if pasted == 0 {
        return "No agent was given another's deliverable, so there was nothing to save."
            .to_owned();
    }
    format!(
        "Saved by notices: {} of {} tokens ({:.1} %) that pasting the full reports would have cost. Fetched on demand: {} tokens.",
        grouped(saved),
        grouped(pasted),
        saved as f64 * 100.0 / pasted as f64,
        grouped(fetched),
    )
}

/// Which providers answered, and what the built-in one is.
pub(crate) fn who_answered(providers: &BTreeSet<(String, String)>) -> String {
    let names: Vec<String> = providers
        .iter()
        .map(|(provider, model)| {
            if model.is_empty() || model == provider {
                provider.clone()
            } else {
                format!("{provider} ({model})")
            }
        })
        .collect();
    let mut text = format!(
        "Answered by: {}.",
        if names.is_empty() { "nobody".to_owned() } else { names.join(", ") }
    );
    if providers.iter().any(|(provider, _)| provider == "offline") {
        text.push_str(
            " `offline` is built in and no language model: it follows the agents' scripts and picks sentences from what they found. \
             Set OPENAI_API_KEY or OPENAI_BASE_URL for a real one.",
        );
    }
    text
}

/// A number with thousands apart.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn agents(usage: &Value) -> &[Value] {
    usage.get("agents").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn number(data: &Value, field: &str) -> u64 {
    data.get(field).and_then(Value::as_u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_brief_is_found_before_other_deliverables() {
        let output = json!({"research": [{"deliverable": "deliverables/a/report/1"}], "brief": {"deliverable": "deliverables/w/report/2"}});
        assert_eq!(deliverable(&output).as_deref(), Some("deliverables/w/report/2"));
        assert_eq!(
            deliverable(&json!({"x": [{"deliverable": "deliverables/a/report/1"}]})).as_deref(),
            Some("deliverables/a/report/1")
        );
        assert_eq!(deliverable(&json!({"brief": "text"})), None);
    }

    #[test]
    fn the_timeline_shows_when_and_how_long() {
        let task = |key: &str, name: &str, from: &str, to: &str| json!({"task": key, "name": name, "kind": "call", "status": "completed", "started_at": format!("2026-11-21T00:00:{from}Z"), "ended_at": format!("2026-11-21T00:00:{to}Z")});
        let lines = timeline(&json!({"tasks": [
            task("/do/0/a", "a", "00", "01.5"),
            task("/do/1/b", "b", "02", "04"),
            task("/do/1/b[0]/do/0/c", "c", "03", "04"),
            {"task": "/do/2/d", "name": "d", "status": "pending"},
        ]}));
        assert_eq!(
            lines,
            [
                "   0.00 s    1.50 s  a    ############                      call",
                "   2.00 s    2.00 s  b                    ################  call",
                "   3.00 s    1.00 s    c                          ########  call",
            ]
        );
    }

    #[test]
    fn the_saving_is_a_part_of_what_pasting_costs() {
        let usage = json!({"total": {"pasted_tokens": 10_000, "saved_tokens": 9_630, "fetched_tokens": 1_200}});
        assert!(saving(&usage).contains("9,630 of 10,000 tokens (96.3 %)"), "{}", saving(&usage));
        assert!(saving(&json!({})).contains("nothing to save"));
    }

    #[test]
    fn tokens_are_listed_by_agent_and_in_all() {
        let one =
            json!({"model_calls": 2, "tool_calls": 3, "input_tokens": 12_345, "output_tokens": 67});
        let lines =
            usage(&json!({"total": one, "agents": [{"agent": "writer", "runs": 2, "usage": one}]}));
        assert_eq!(lines.len(), 3);
        assert_eq!(
            lines[1],
            "writer             2            2           3      12,345          67"
        );
    }

    #[test]
    fn the_offline_model_says_what_it_is() {
        let offline = BTreeSet::from([("offline".to_owned(), "offline".to_owned())]);
        assert!(who_answered(&offline).contains("no language model"));
        let real = BTreeSet::from([("openai".to_owned(), "gpt-x".to_owned())]);
        assert_eq!(who_answered(&real), "Answered by: openai (gpt-x).");
    }
}
