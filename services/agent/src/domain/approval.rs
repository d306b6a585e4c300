//! Calls that somebody must approve before they are made.

use chrono::{DateTime, TimeDelta, Utc};
use muster_contracts::agent::v1::{AgentDefinition, ApprovalSettings};
use muster_contracts::tool::v1::ToolDefinition;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::definition::Flaw;

/// A month: what nobody decides in that time, nobody will.
const MAX_SECONDS: u32 = 2_592_000;
const MAX_NAMES: usize = 64;
const MAX_NAME: usize = 200;
const ALWAYS: &str = "always";
const NEVER: &str = "never";
/// Who decides where nobody does.
pub(crate) const TIMEOUT: &str = "timeout";

/// A call that waits for a decision.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    /// The turn that asked for the call.
    pub(crate) turn: u32,
    /// Its place among the calls of that turn, from 0.
    pub(crate) index: u32,
    /// The approval's id.
    #[serde(default)]
    pub(crate) approval_id: String,
    /// What is to be called.
    pub(crate) tool: String,
    /// With what.
    #[serde(default)]
    pub(crate) arguments: Map<String, Value>,
    /// Who may decide; empty: anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) approvers: Vec<String>,
    /// When the time is over; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<DateTime<Utc>>,
    /// What happens then.
    #[serde(default)]
    pub(crate) on_timeout: OnTimeout,
    /// Nobody decided the first time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) escalated: bool,
}

/// What was decided.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Decided {
    /// The turn that asked for the call.
    pub(crate) turn: u32,
    /// Its place among the calls of that turn, from 0.
    pub(crate) index: u32,
    /// The approval's id.
    pub(crate) approval_id: String,
    /// Tells this decision from others.
    #[serde(default)]
    pub(crate) decision_id: String,
    /// Whether the call is made.
    pub(crate) approved: bool,
    /// What it is made with instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) arguments: Option<Map<String, Value>>,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// Who decided.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) by: String,
    /// The run fails with it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) fatal: bool,
}

/// What happens to a call about which nobody has decided in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnTimeout {
    /// It is not made, and the model is told so.
    #[default]
    Reject,
    /// It is made.
    Approve,
    /// The run fails.
    Fail,
    /// Others are asked.
    Escalate,
}

/// What comes when the time of a call is over.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Expired {
    /// It is decided so.
    Decided(Decided),
    /// Others are asked.
    Escalated(Asked),
}

impl OnTimeout {
    const ALL: [Self; 4] = [Self::Reject, Self::Approve, Self::Fail, Self::Escalate];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Approve => "approve",
            Self::Fail => "fail",
            Self::Escalate => "escalate",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(Self::default());
        }
        Self::ALL.into_iter().find(|known| known.name() == name)
    }
}

impl Asked {
    /// What asks for this call at this moment.
    pub(crate) fn new(
        definition: &AgentDefinition,
        place: (u32, u32),
        tool: &str,
        arguments: Map<String, Value>,
        now: DateTime<Utc>,
    ) -> Self {
        let default = ApprovalSettings::default();
        let settings = definition.approval.as_ref().unwrap_or(&default);
        Self {
            turn: place.0,
            index: place.1,
            tool: tool.to_owned(),
            arguments,
            approvers: settings.approvers.clone(),
            expires_at: expiry(settings, now),
            on_timeout: OnTimeout::parse(&settings.on_timeout).unwrap_or_default(),
            ..Self::default()
        }
    }

    /// What happens at this moment because the time is over; nothing before.
    pub(crate) fn expired(
        &self,
        definition: &AgentDefinition,
        now: DateTime<Utc>,
    ) -> Option<Expired> {
        if self.expires_at.is_none_or(|at| now < at) {
            return None;
        }
        let default = ApprovalSettings::default();
        let settings = definition.approval.as_ref().unwrap_or(&default);
        if self.on_timeout == OnTimeout::Escalate && !self.escalated {
            return Some(Expired::Escalated(Self {
                approvers: settings.escalate_to.clone(),
                expires_at: expiry(settings, now),
                escalated: true,
                ..self.clone()
            }));
        }
        let seconds = settings.timeout_seconds;
        Some(Expired::Decided(Decided {
            turn: self.turn,
            index: self.index,
            approval_id: self.approval_id.clone(),
            decision_id: TIMEOUT.to_owned(),
            approved: self.on_timeout == OnTimeout::Approve,
            reason: format!("nobody decided within {seconds} s"),
            by: TIMEOUT.to_owned(),
            fatal: self.on_timeout == OnTimeout::Fail,
            arguments: None,
        }))
    }

    /// Whether this person may decide.
    pub(crate) fn may_decide(&self, by: &str) -> bool {
        self.approvers.is_empty() || self.approvers.iter().any(|name| name == by)
    }
}

/// Whether a call of this tool waits for somebody's approval.
pub(crate) fn is_needed(
    definition: &AgentDefinition,
    tool: &str,
    tools: &[ToolDefinition],
) -> bool {
    let rule = |name: &str| {
        let rules = definition.approval.as_ref()?.tools.as_ref()?;
        rules.get(name).and_then(Value::as_str).map(|word| word == ALWAYS)
    };
    let registered = || tools.iter().any(|found| found.name == tool && found.approval);
    rule(tool).or_else(|| rule("*")).unwrap_or_else(registered)
}

/// Checks what a definition says of approvals.
///
/// # Errors
/// The first flaw, with the value and what would be right.
pub(crate) fn check(settings: &ApprovalSettings) -> Result<(), Flaw> {
    for (tool, word) in settings.tools.iter().flat_map(|tools| tools.iter()) {
        let known = word.as_str().is_some_and(|word| [ALWAYS, NEVER].contains(&word));
        ensure(known, || {
            format!("`approval.tools.{tool:.80}` is {word:.80}; it must be \"always\" or \"never\"")
        })?;
    }
    let seconds = settings.timeout_seconds;
    ensure(seconds <= MAX_SECONDS, || {
        format!("`approval.timeout_seconds` is {seconds}; at most {MAX_SECONDS}, or 0 for ever")
    })?;
    let word = settings.on_timeout.as_str();
    let on_timeout = OnTimeout::parse(word);
    ensure(on_timeout.is_some(), || {
        let known = OnTimeout::ALL.map(OnTimeout::name).join(", ");
        format!("`approval.on_timeout` is {word:.80?}; it must be one of {known}")
    })?;
    let others = !settings.escalate_to.is_empty() && seconds > 0;
    ensure(on_timeout != Some(OnTimeout::Escalate) || others, || {
        "`approval.on_timeout` is \"escalate\", which needs `escalate_to` and `timeout_seconds`"
            .to_owned()
    })?;
    for (field, names) in
        [("approvers", &settings.approvers), ("escalate_to", &settings.escalate_to)]
    {
        let fits = names.len() <= MAX_NAMES
            && names.iter().all(|name| (1..=MAX_NAME).contains(&name.len()));
        ensure(fits, || {
            format!("`approval.{field}` must be at most {MAX_NAMES} names of 1 to {MAX_NAME} bytes")
        })?;
    }
    Ok(())
}

fn expiry(settings: &ApprovalSettings, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let seconds = Some(settings.timeout_seconds).filter(|seconds| *seconds > 0)?;
    now.checked_add_signed(TimeDelta::seconds(i64::from(seconds)))
}

fn ensure(holds: bool, flaw: impl FnOnce() -> String) -> Result<(), Flaw> {
    if holds { Ok(()) } else { Err(Flaw(flaw())) }
}

#[cfg(test)]
mod tests {
    use muster_contracts::JsonObject;
    use serde_json::json;

    use super::*;

    fn agent(settings: ApprovalSettings) -> AgentDefinition {
        AgentDefinition { approval: Some(settings), ..AgentDefinition::default() }
    }

    fn rules(rules: Value) -> AgentDefinition {
        agent(ApprovalSettings { tools: Some(JsonObject::wrap(rules)), ..Default::default() })
    }

    #[test]
    fn the_agents_word_comes_before_that_of_the_tool() {
        let pay = ToolDefinition { name: "pay".into(), approval: true, ..Default::default() };
        let tools = [pay, ToolDefinition { name: "look".into(), ..Default::default() }];
        let needed = |definition: &AgentDefinition| {
            ["pay", "look"].map(|tool| is_needed(definition, tool, &tools))
        };
        assert_eq!(needed(&AgentDefinition::default()), [true, false]);
        assert_eq!(needed(&rules(json!({"pay": "never", "look": "always"}))), [false, true]);
        assert_eq!(needed(&rules(json!({"*": "always", "look": "never"}))), [true, false]);
    }

    #[test]
    fn when_the_time_is_over_it_happens_what_the_agent_says() {
        let now = DateTime::UNIX_EPOCH;
        let expired = |on_timeout: &str| {
            let definition = agent(ApprovalSettings {
                timeout_seconds: 5,
                on_timeout: on_timeout.into(),
                escalate_to: vec!["boss".into()],
                ..Default::default()
            });
            let asked = Asked::new(&definition, (1, 0), "pay", Map::new(), now);
            assert_eq!(asked.expired(&definition, now + TimeDelta::seconds(4)), None);
            asked.expired(&definition, now + TimeDelta::seconds(5)).unwrap()
        };
        let decided = |on_timeout: &str| match expired(on_timeout) {
            Expired::Decided(decided) => (decided.approved, decided.fatal),
            Expired::Escalated(_) => (false, false),
        };
        assert_eq!(decided("reject"), (false, false));
        assert_eq!(decided("approve"), (true, false));
        assert_eq!(decided("fail"), (false, true));
        let Expired::Escalated(asked) = expired("escalate") else { unreachable!() };
        assert!(asked.may_decide("boss") && !asked.may_decide("ann"));
        // The second time it is rejected.
        let later = now + TimeDelta::seconds(60);
        assert!(matches!(
            asked.expired(&AgentDefinition::default(), later),
            Some(Expired::Decided(Decided { approved: false, fatal: false, .. }))
        ));
    }

    #[test]
    fn a_flaw_names_the_value_and_what_would_be_right() {
        let flaw = |settings| check(&settings).unwrap_err().to_string();
        let on_timeout =
            |word: &str| ApprovalSettings { on_timeout: word.into(), ..Default::default() };
        assert!(flaw(on_timeout("ask")).contains("reject, approve, fail, escalate"));
        assert!(flaw(on_timeout("escalate")).contains("escalate_to"));
        let tools = Some(JsonObject::wrap(json!({"pay": true})));
        assert!(flaw(ApprovalSettings { tools, ..Default::default() }).contains("\"always\""));
        assert!(
            flaw(ApprovalSettings { timeout_seconds: 2_592_001, ..Default::default() })
                .contains("2592001")
        );
    }
}
