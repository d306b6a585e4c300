//! What notices saved an execution, and what they left where it is.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use serde_json::{Value, json};

use super::report::grouped;
use crate::client::Client;

/// The tool whose results are what was fetched.
const FETCH: &str = "fetch_deliverable";
/// Events that are read at once.
const PAGE: usize = 1000;

/// The savings of an execution.
#[derive(Debug, Default)]
pub(crate) struct Savings {
    agents: Vec<Row>,
}

/// The savings of an agent, over all its runs in the execution.
#[derive(Debug, Default)]
struct Row {
    agent: String,
    pasted: u64,
    saved: u64,
    fetched: u64,
    told: Told,
}

/// What the journals of an agent's runs say.
#[derive(Debug, Default, Clone)]
struct Told {
    /// Addresses in the inputs.
    noticed: BTreeSet<String>,
    /// Tokens that were fetched, by address.
    fetched: BTreeMap<String, u64>,
}

impl Savings {
    /// Reads the usage's agents and the execution's events.
    pub(crate) async fn read(client: &Client, execution_id: &str, usage: &Value) -> Result<Self> {
        let told = told(client, execution_id).await?;
        Ok(Self::of(usage, &told))
    }

    fn of(usage: &Value, told: &BTreeMap<String, Told>) -> Self {
        let agents = usage.get("agents").and_then(Value::as_array).into_iter().flatten();
        let row = |agent: &Value| {
            let name = text(agent, "agent");
            let used = agent.get("usage").unwrap_or(&Value::Null);
            Row {
                agent: name.to_owned(),
                pasted: number(used, "pasted_tokens"),
                saved: number(used, "saved_tokens"),
                fetched: number(used, "fetched_tokens"),
                told: told.get(name).cloned().unwrap_or_default(),
            }
        };
        Self { agents: agents.map(row).collect() }
    }

    /// How much of what pasting would have cost was saved, in per cent; nothing where there was nothing to paste.
    pub(crate) fn percent(&self) -> Option<f64> {
        let (pasted, saved) = (self.sum(|row| row.pasted), self.sum(|row| row.saved));
        (pasted > 0).then(|| saved as f64 * 100.0 / pasted as f64)
    }

    /// Tokens that were counted as fetched, though no call of the tool says which.
    pub(crate) fn unexplained(&self) -> Vec<String> {
        let wrong = self.agents.iter().filter(|row| row.fetched != row.told.sum());
        let line = |row: &Row| {
            format!("{}: {} tokens fetched, {} explained", row.agent, row.fetched, row.told.sum())
        };
        wrong.map(line).collect()
    }

    /// What an agent fetched.
    pub(crate) fn fetched_by(&self, agent: &str) -> Vec<&str> {
        let rows = self.agents.iter().filter(|row| row.agent == agent);
        rows.flat_map(|row| row.told.fetched.keys()).map(String::as_str).collect()
    }

    /// A table, and below it what each agent fetched and left.
    pub(crate) fn lines(&self) -> Vec<String> {
        let row = |agent: &str, pasted: u64, saved: u64, fetched: u64| {
            let percent = match pasted {
                0 => "-".to_owned(),
                _ => format!("{:.1} %", saved as f64 * 100.0 / pasted as f64),
            };
            format!(
                "{agent:<16} {:>10} {:>10} {percent:>9} {:>10}",
                grouped(pasted),
                grouped(pasted.saturating_sub(saved)),
                grouped(fetched)
            )
        };
        let mut lines = vec![format!(
            "{:<16} {:>10} {:>10} {:>9} {:>10}",
            "agent", "if pasted", "notices", "saved", "fetched"
        )];
        for one in &self.agents {
            lines.push(row(&one.agent, one.pasted, one.saved, one.fetched));
        }
        let (pasted, saved) = (self.sum(|row| row.pasted), self.sum(|row| row.saved));
        lines.push(row("all", pasted, saved, self.sum(|row| row.fetched)));
        lines.push(String::new());
        for one in self.agents.iter().filter(|row| !row.told.noticed.is_empty()) {
            lines.extend(one.told.lines(&one.agent));
        }
        lines
    }

    pub(crate) fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "agent": row.agent,
                "pasted_tokens": row.pasted,
                "notice_tokens": row.pasted.saturating_sub(row.saved),
                "saved_tokens": row.saved,
                "fetched_tokens": row.fetched,
                "fetched": row.told.fetched,
                "left": row.told.left().collect::<Vec<_>>(),
            })
        };
        json!({
            "percent": self.percent(),
            "pasted_tokens": self.sum(|row| row.pasted),
            "saved_tokens": self.sum(|row| row.saved),
            "fetched_tokens": self.sum(|row| row.fetched),
            "agents": self.agents.iter().map(row).collect::<Vec<_>>(),
        })
    }

    fn sum(&self, of: impl Fn(&Row) -> u64) -> u64 {
        self.agents.iter().map(of).sum()
    }
}

impl Told {
    fn sum(&self) -> u64 {
        self.fetched.values().sum()
    }

    /// What a notice named, and nobody fetched.
    fn left(&self) -> impl Iterator<Item = &str> {
        let noticed = self.noticed.iter();
        noticed.filter(|address| !self.fetched.contains_key(*address)).map(String::as_str)
    }

    fn lines(&self, agent: &str) -> Vec<String> {
        let fetched = self.fetched.iter();
        let fetched = fetched.map(|(address, tokens)| {
            format!("{agent} fetched {} tokens of {address}", grouped(*tokens))
        });
        let left = self.left().map(|address| format!("{agent} left {address} where it is"));
        fetched.chain(left).collect()
    }

    /// Takes in what a step of a run says.
    fn hear(&mut self, fact: &Value) {
        match text(fact, "type") {
            "run_started" => notices(fact.get("input").unwrap_or(&Value::Null), &mut self.noticed),
            "tool_returned" if text(fact, "name") == FETCH => {
                if let Some(result) = fact.get("result") {
                    let address = text(result, "deliverable").to_owned();
                    *self.fetched.entry(address).or_default() += number(fact, "fetched_tokens");
                }
            }
            _ => {}
        }
    }
}

/// What the journals of the runs say, by agent.
async fn told(client: &Client, execution_id: &str) -> Result<BTreeMap<String, Told>> {
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    let mut after = 0;
    loop {
        let path = format!("/v1/executions/{execution_id}/events?after={after}&limit={PAGE}");
        let page = client.get(&path).await?;
        for event in page.get("events").and_then(Value::as_array).into_iter().flatten() {
            let body = event.get("body").unwrap_or(&Value::Null);
            if let Some(fact) = body.get("fact") {
                told.entry(text(body, "agent").to_owned()).or_default().hear(fact);
            }
        }
        match page.get("next_after").and_then(Value::as_u64) {
            Some(next) if next > after => after = next,
            _ => return Ok(told),
        }
    }
}

/// The addresses of the notices in an input.
fn notices(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| notices(item, found)),
        Value::Object(map) => match (text(value, "deliverable"), map.get("tokens")) {
            (address, Some(tokens)) if tokens.is_u64() && address.starts_with("deliverables/") => {
                found.insert(address.to_owned());
            }
            _ => map.values().for_each(|item| notices(item, found)),
        },
        _ => {}
    }
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

    fn savings(fetched: u64) -> Savings {
        let mut roy = Told::default();
        let notice = |address: &str| json!({"deliverable": address, "tokens": 5000});
        roy.hear(&json!({"type": "run_started", "input": {
            "research": notice("deliverables/agog/cynthia/research/x@1"),
            "critique": notice("deliverables/agog/sylvia/critique/x@1"),
        }}));
        roy.hear(&json!({"type": "tool_returned", "name": "search", "fetched_tokens": 9}));
        roy.hear(&json!({"type": "tool_returned", "name": FETCH, "fetched_tokens": 700,
            "result": {"deliverable": "deliverables/agog/cynthia/research/x@1"}}));
        let usage = json!({"agents": [{"agent": "roy", "runs": 1, "usage":
            {"pasted_tokens": 10_000, "saved_tokens": 9_700, "fetched_tokens": fetched}}]});
        Savings::of(&usage, &BTreeMap::from([("roy".to_owned(), roy)]))
    }

    #[test]
    fn it_tells_what_was_fetched_and_what_stayed() {
        let savings = savings(700);
        assert_eq!(savings.percent(), Some(97.0));
        assert!(savings.unexplained().is_empty());
        assert_eq!(savings.fetched_by("roy"), ["deliverables/agog/cynthia/research/x@1"]);
        let text = savings.lines().join("\n");
        for words in [
            "97.0 %",
            "roy fetched 700 tokens of deliverables/agog/cynthia/research/x@1",
            "roy left deliverables/agog/sylvia/critique/x@1 where it is",
        ] {
            assert!(text.contains(words), "{words:?} is not in {text}");
        }
        let left = &savings.json()["agents"][0]["left"];
        assert_eq!(left, &json!(["deliverables/agog/sylvia/critique/x@1"]));
    }

    #[test]
    fn what_no_call_explains_is_told() {
        assert_eq!(savings(900).unexplained(), ["roy: 900 tokens fetched, 700 explained"]);
        assert_eq!(Savings::default().percent(), None);
    }
}
