//! Events of a live stream as lines that a person can follow.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::output::{Colour, Output};

/// Tokens are told in lines of about this many characters: agents speak at the same time.
const WIDTH: usize = 96;

/// One line of the story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    who: String,
    colour: Colour,
    text: String,
}

impl Line {
    /// The line with its speaker in front.
    pub(crate) fn text(&self, output: &Output) -> String {
        format!("{} {}", output.paint(self.colour, &format!("{:>20} |", self.who)), self.text)
    }
}

/// Who speaks, who works, and what was heard so far.
#[derive(Debug, Default)]
pub(crate) struct Narrator {
    /// Names of tasks by their keys.
    tasks: BTreeMap<String, String>,
    speakers: Vec<String>,
    replies: BTreeMap<String, Reply>,
    providers: BTreeSet<(String, String)>,
    runs: u64,
}

#[derive(Debug, Default)]
struct Reply {
    heard: u64,
    line: String,
}

impl Narrator {
    /// What to tell about an event.
    pub(crate) fn hear(&mut self, event: &str, data: &Value) -> Vec<Line> {
        match (event, text(data, "source")) {
            ("token", _) => self.token(data),
            ("step", "agent") => self.agent(data),
            ("step", _) => {
                self.workflow(data).map(|text| self.line("workflow", text)).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// Providers and models that answered.
    pub(crate) fn providers(&self) -> &BTreeSet<(String, String)> {
        &self.providers
    }

    /// How many runs of agents have ended.
    pub(crate) fn runs(&self) -> u64 {
        self.runs
    }

    fn line(&mut self, who: &str, text: String) -> Line {
        let colour =
            if who == "workflow" { Colour::Dim } else { Colour::Speaker(self.speaker(who)) };
        Line { who: who.to_owned(), colour, text }
    }

    /// The agent, and its task where that is called otherwise: one agent may work on several tasks at once.
    fn who(&self, data: &Value) -> String {
        let agent = text(data, "agent");
        match self.tasks.get(text(data, "task")) {
            Some(task) if task != agent => format!("{agent}/{task}"),
            _ => agent.to_owned(),
        }
    }

    fn speaker(&mut self, who: &str) -> usize {
        self.speakers.iter().position(|speaker| speaker == who).unwrap_or_else(|| {
            self.speakers.push(who.to_owned());
            self.speakers.len() - 1
        })
    }

    fn token(&mut self, data: &Value) -> Vec<Line> {
        let reply = self.replies.entry(text(data, "reply").to_owned()).or_default();
        let sequence = number(data, "sequence");
        let mut told = Vec::new();
        if sequence <= reply.heard {
            // The model service was restarted in the middle: the reply is made anew.
            reply.line.clear();
            told.push("(begins again)".to_owned());
        }
        reply.heard = sequence;
        reply.line.push_str(text(data, "delta"));
        told.extend(whole_lines(&mut reply.line));
        if data.get("finish_reason").is_some() {
            told.push(std::mem::take(&mut reply.line));
        }
        let who = self.who(data);
        told.into_iter()
            .filter(|text| !text.trim().is_empty())
            .map(|text| self.line(&who, text))
            .collect()
    }

    fn agent(&mut self, data: &Value) -> Vec<Line> {
        let who = self.who(data);
        let told = match text(data, "type") {
            "run_started" => Some("* begins".to_owned()),
            "model_replied" => {
                self.providers
                    .insert((text(data, "provider").to_owned(), text(data, "model").to_owned()));
                asked_for(data)
            }
            "model_delayed" => {
                Some(format!("! the model does not answer: {}", text(data, "error")))
            }
            "tool_returned" => Some(returned(data)),
            "answer_refused" => Some(format!("! must mend its answer: {}", text(data, "flaw"))),
            "run_completed" => {
                self.runs += 1;
                let output = data.get("output").unwrap_or(&Value::Null);
                let tokens = number(output, "tokens");
                Some(format!("* delivers {tokens} tokens, passed on as a notice"))
            }
            "run_failed" => {
                self.runs += 1;
                Some(format!("! failed ({}): {}", text(data, "code"), text(data, "error")))
            }
            _ => None,
        };
        told.map(|text| self.line(&who, text)).into_iter().collect()
    }

    fn workflow(&mut self, data: &Value) -> Option<String> {
        let key = text(data, "task");
        let name = self.tasks.get(key).cloned().unwrap_or_else(|| key.to_owned());
        Some(match text(data, "type") {
            "execution_started" => "started".to_owned(),
            "task_started" => {
                let (name, kind) = (text(data, "name"), text(data, "kind"));
                self.tasks.insert(key.to_owned(), name.to_owned());
                if !matches!(kind, "fork" | "try" | "wait" | "call") {
                    return None;
                }
                format!("{name}: {kind}")
            }
            "iteration_started" => format!("{name}: round {}", number(data, "index") + 1),
            "task_retried" => format!("{name}: attempt {}", number(data, "attempt")),
            "task_faulted" => format!("{name}: failed: {}", problem(data)),
            "error_caught" => format!("{name}: caught: {}", problem(data)),
            "execution_completed" => "completed".to_owned(),
            "execution_faulted" => format!("failed: {}", problem(data)),
            "execution_cancelled" => format!("cancelled: {}", text(data, "reason")),
            _ => return None,
        })
    }
}

/// Takes the lines that are whole, or long enough to be told, out of what was heard.
fn whole_lines(heard: &mut String) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        let newline = heard.find('\n');
        let space =
            heard.char_indices().nth(WIDTH).and_then(|(end, _)| heard.get(..end)?.rfind(' '));
        let end = match (newline, space) {
            (Some(newline), Some(space)) => newline.min(space),
            (Some(end), None) | (None, Some(end)) => end,
            (None, None) => return lines,
        };
        let rest = heard.split_off(end);
        lines.push(std::mem::replace(heard, rest.chars().skip(1).collect()));
    }
}

fn asked_for(data: &Value) -> Option<String> {
    let calls = data.get("message")?.get("tool_calls")?.as_array()?;
    let names: Vec<&str> = calls.iter().map(|call| text(call, "name")).collect();
    (!names.is_empty()).then(|| format!("> asks for {}", names.join(", ")))
}

fn returned(data: &Value) -> String {
    let (name, took) = (text(data, "name"), number(data, "duration_ms"));
    match data.get("error").and_then(Value::as_str) {
        Some(error) => format!("< {name} failed: {error}"),
        None => {
            let hits =
                data.get("result").and_then(|result| result.get("hits")?.as_array()).map(Vec::len);
            let what = hits.map_or_else(String::new, |hits| format!(": {hits} hits"));
            format!("< {name}{what} ({took} ms)")
        }
    }
}

fn problem(data: &Value) -> String {
    let error = data.get("error").unwrap_or(&Value::Null);
    let said = [text(error, "title"), text(error, "detail")];
    said.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(": ")
}

fn text<'a>(data: &'a Value, field: &str) -> &'a str {
    data.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn number(data: &Value, field: &str) -> u64 {
    data.get(field).and_then(Value::as_u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(events: &[(&str, Value)], expected: &[&str]) {
        let mut narrator = Narrator::default();
        let told: Vec<String> = events
            .iter()
            .flat_map(|(event, data)| narrator.hear(event, data))
            .map(|line| format!("{}: {}", line.who, line.text))
            .collect();
        assert_eq!(told, expected);
    }

    fn token(agent: &str, sequence: u64, delta: &str) -> (&'static str, Value) {
        ("token", json!({"agent": agent, "reply": agent, "sequence": sequence, "delta": delta}))
    }

    #[test]
    fn agents_that_speak_at_once_are_told_line_by_line() {
        check(
            &[
                token("a", 1, "One "),
                token("b", 1, "Two\nThree"),
                token("a", 2, "line\n"),
                (
                    "token",
                    json!({"agent": "b", "reply": "b", "sequence": 2, "delta": ".", "finish_reason": "stop"}),
                ),
            ],
            &["b: Two", "a: One line", "b: Three."],
        );
    }

    #[test]
    fn a_long_line_is_told_before_its_end() {
        let words = "word ".repeat(30);
        let mut narrator = Narrator::default();
        let told = narrator.hear("token", &token("a", 1, &words).1);
        assert_eq!(told.len(), 1);
        assert!(told[0].text.len() <= WIDTH && told[0].text.ends_with("word"), "{told:?}");
    }

    #[test]
    fn a_reply_that_begins_again_says_so() {
        check(
            &[token("a", 1, "half"), token("a", 1, "whole\n")],
            &["a: (begins again)", "a: whole"],
        );
    }

    #[test]
    fn the_workflow_and_its_runs_are_told_in_words() {
        check(
            &[
                (
                    "step",
                    json!({"source": "workflow", "type": "task_started", "task": "/do/0/loop@1", "name": "rounds", "kind": "for"}),
                ),
                (
                    "step",
                    json!({"source": "workflow", "type": "iteration_started", "task": "/do/0/loop@1", "index": 0}),
                ),
                (
                    "step",
                    json!({"source": "agent", "type": "model_replied", "agent": "critic", "task": "/do/0/loop@1", "message": {"tool_calls": [{"name": "search"}]}}),
                ),
                (
                    "step",
                    json!({"source": "agent", "type": "tool_returned", "agent": "critic", "name": "search", "duration_ms": 4, "result": {"hits": [1, 2]}}),
                ),
                (
                    "step",
                    json!({"source": "agent", "type": "model_delayed", "agent": "critic", "error": "cannot connect"}),
                ),
                (
                    "step",
                    json!({"source": "agent", "type": "answer_refused", "agent": "critic", "flaw": "it is no JSON"}),
                ),
                (
                    "step",
                    json!({"source": "workflow", "type": "execution_faulted", "error": {"title": "Timeout", "detail": "no answer"}}),
                ),
            ],
            &[
                "workflow: rounds: round 1",
                "critic/rounds: > asks for search",
                "critic: < search: 2 hits (4 ms)",
                "critic: ! the model does not answer: cannot connect",
                "critic: ! must mend its answer: it is no JSON",
                "workflow: failed: Timeout: no answer",
            ],
        );
    }
}
