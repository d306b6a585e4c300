//! Agents that a provider answers: parallel calls, approvals, teams, and what each leaves behind.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::platform::{Nats, Platform};

/// The agents, each with what its file says beside its name.
const AGENTS: [(&str, &str); 6] = [
    ("crew", "tools: [http_request]"),
    ("buyer", "tools: [http_request]\napproval: {tools: {http_request: always}, approvers: [ann]}"),
    ("lead", "team: {agents: [scout], handoff: [closer]}"),
    ("scout", "tools: [http_request]"),
    ("closer", "tools: [http_request]"),
    ("talker", "tools: [http_request]"),
];
/// What all of them together may spend is far away: it is the sum that is looked at.
const BUDGET_USD: f64 = 1_000.0;

/// Registers the agents, what they may spend, and a workflow for each kind of errand.
pub(super) async fn register(platform: &Platform<impl Nats>) {
    // Those that are named by others come first.
    for (name, rest) in AGENTS.iter().rev() {
        let model = "model: {provider: paid, name: scripted, max_tokens: 5}";
        let text = format!("name: {name}\ninstructions: {name}\n{model}\n{rest}\n");
        let (status, body) = platform.put_yaml(&format!("/v1/agents/{name}"), text).await;
        assert!(status.is_success(), "{name}: {status} {body}");
        let url = platform.url(&format!("/v1/allowances/agent/{name}"));
        let allowance = json!({ "budget_usd": BUDGET_USD });
        let allowed = platform.client.put(url).json(&allowance).send().await.unwrap();
        assert_eq!(allowed.status(), StatusCode::OK);
    }
    for kind in ["crew", "buyer", "lead"] {
        platform.put_workflow(workflow(kind)).await;
    }
}

fn workflow(agent: &str) -> String {
    format!(
        "
document: {{dsl: '1.0.3', namespace: chaos, name: {agent}, version: '1.0.0'}}
do:
- work:
    call: agent
    with: {{agent: {agent}, input: '${{ $workflow.input.run + \" \" + $workflow.input.base }}'}}
"
    )
}

/// The marks that a run of this kind and number leaves; nothing where the kind is no errand of agents.
pub(super) fn marks(kind: &str, number: usize) -> Option<Vec<&'static str>> {
    Some(match kind {
        "crew" => vec!["left", "right", "then"],
        "buyer" => match number % 3 {
            0 => vec!["first", "second"],
            1 => vec!["first"],
            _ => vec!["first", "second-edited"],
        },
        "lead" => vec!["east-seen", "west-seen", "closed"],
        _ => return None,
    })
}

/// What somebody decides about a call of a run with this number, and the status that it then has.
pub(super) fn decision(url: &str, number: usize) -> (Value, &'static str) {
    let by = "ann";
    if url.ends_with("-first") || number.is_multiple_of(3) {
        return (json!({ "decision": "approve", "by": by }), "approved");
    }
    if number % 3 == 1 {
        return (json!({ "decision": "reject", "by": by, "reason": "too dear" }), "rejected");
    }
    let arguments = json!({ "method": "PUT", "url": format!("{url}-edited") });
    (json!({ "decision": "approve", "by": by, "arguments": arguments }), "approved")
}

/// The number in the URL of a mark, as in `http://HOST/buyer17-first`.
pub(super) fn number_of(url: &str) -> usize {
    let name = url.rsplit('/').next().unwrap_or_default();
    let digits: String = name
        .chars()
        .skip_while(char::is_ascii_alphabetic)
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().unwrap()
}

/// How many deliverables a run of this kind leaves: its own, and those of the runs that it asked for.
pub(super) fn deliverables(kind: &str) -> usize {
    if kind == "lead" { 3 } else { 1 }
}

/// What was spent by all agents, in billionths of a dollar, and what is reserved.
pub(super) async fn spent(platform: &Platform<impl Nats>) -> Result<(u64, f64), Value> {
    let (mut spent, mut reserved) = (0, 0.0);
    for (name, _) in AGENTS {
        let (status, body) = platform.get(&format!("/v1/allowances/agent/{name}")).await;
        let spending = &body["spending"];
        let of_agent = spending["spent_nanos"].as_u64().filter(|_| status.is_success());
        spent += of_agent.ok_or_else(|| body.clone())?;
        reserved += spending["reserved_usd"].as_f64().unwrap_or_default();
    }
    Ok((spent, reserved))
}
