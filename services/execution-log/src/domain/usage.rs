//! What an execution used, in all and by agent.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use muster_contracts::agent::v1::Usage;
use muster_contracts::log::v1::{AgentUsage, ExecutionUsage};

/// Something that used a model or a tool, and ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Run {
    /// Whose run it was; empty for a call of the workflow itself.
    pub(crate) agent: String,
    pub(crate) usage: Usage,
}

/// The events of an execution in numbers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Summary {
    pub(crate) events: i64,
    pub(crate) first: DateTime<Utc>,
    pub(crate) last: DateTime<Utc>,
}

/// Sums the runs up, agents in the order of their names.
pub(crate) fn total(execution_id: String, summary: &Summary, runs: &[Run]) -> ExecutionUsage {
    let mut total = Usage::default();
    let mut agents: BTreeMap<&str, AgentUsage> = BTreeMap::new();
    for run in runs {
        add(&mut total, &run.usage);
        if run.agent.is_empty() {
            continue;
        }
        let agent = agents
            .entry(&run.agent)
            .or_insert_with(|| AgentUsage { agent: run.agent.clone(), ..AgentUsage::default() });
        agent.runs = agent.runs.saturating_add(1);
        add(agent.usage.get_or_insert_default(), &run.usage);
    }
    let duration = (summary.last - summary.first).num_milliseconds();
    ExecutionUsage {
        execution_id,
        total: Some(total),
        agents: agents.into_values().collect(),
        duration_ms: u32::try_from(duration).unwrap_or(u32::MAX),
        events: u32::try_from(summary.events).unwrap_or(u32::MAX),
    }
}

fn add(sum: &mut Usage, more: &Usage) {
    // Named one by one: a new field of the contract must not be forgotten here.
    let Usage {
        input_tokens,
        output_tokens,
        saved_tokens,
        pasted_tokens,
        fetched_tokens,
        model_calls,
        tool_calls,
        cost_nanos,
        reasoning_tokens,
    } = more;
    sum.cost_nanos = sum.cost_nanos.saturating_add(*cost_nanos);
    for (sum, more) in [
        (&mut sum.input_tokens, input_tokens),
        (&mut sum.output_tokens, output_tokens),
        (&mut sum.saved_tokens, saved_tokens),
        (&mut sum.pasted_tokens, pasted_tokens),
        (&mut sum.fetched_tokens, fetched_tokens),
        (&mut sum.model_calls, model_calls),
        (&mut sum.tool_calls, tool_calls),
        (&mut sum.reasoning_tokens, reasoning_tokens),
    ] {
        *sum = sum.saturating_add(*more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(agent: &str, input_tokens: u32) -> Run {
        let usage = Usage { input_tokens, model_calls: 1, ..Usage::default() };
        Run { agent: agent.to_owned(), usage }
    }

    fn summary(milliseconds: i64) -> Summary {
        let first = DateTime::from_timestamp_millis(1000).unwrap();
        Summary { events: 5, first, last: first + chrono::TimeDelta::milliseconds(milliseconds) }
    }

    #[test]
    fn runs_are_summed_in_all_and_by_agent() {
        let usage = total("e1".into(), &summary(1500), &[run("b", 5), run("a", 1), run("b", 7)]);
        assert_eq!(
            usage.total.unwrap(),
            Usage { input_tokens: 13, model_calls: 3, ..Usage::default() }
        );
        let agents: Vec<_> = usage
            .agents
            .iter()
            .map(|agent| (agent.agent.as_str(), agent.runs, agent.usage.unwrap().input_tokens))
            .collect();
        assert_eq!(agents, [("a", 1, 1), ("b", 2, 12)]);
        assert_eq!((usage.duration_ms, usage.events), (1500, 5));
    }

    #[test]
    fn sums_end_at_the_largest_number() {
        let usage = total(
            "e1".into(),
            &summary(i64::from(u32::MAX) + 1),
            &[run("a", u32::MAX), run("a", 1)],
        );
        assert_eq!(usage.total.unwrap().input_tokens, u32::MAX);
        assert_eq!(usage.duration_ms, u32::MAX);
    }
}
