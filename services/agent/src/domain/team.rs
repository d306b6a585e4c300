//! The agents that an agent works with, and the tools by which it does.

use muster_contracts::JsonObject;
use muster_contracts::agent::v1::{AgentDefinition, RunOrigin, TeamSettings};
use muster_contracts::tool::v1::ToolDefinition;
use serde_json::{Map, Value, json};

use super::definition::Flaw;

/// What the tools that ask another agent begin with.
const ASK: &str = "ask_";
/// What the tools that hand over to another agent begin with.
const HAND_OFF: &str = "handoff_to_";
/// The tool that reads the agent's inbox.
pub(crate) const READ_INBOX: &str = "read_inbox";
/// The tool that writes to another agent, or to all.
pub(crate) const SEND_MESSAGE: &str = "send_message";
/// Everybody, as the recipient of a message.
pub(crate) const ALL: &str = "*";
/// Agents that one agent works with.
const MAX_AGENTS: usize = 32;
/// How deep runs may ask for runs.
const MAX_DEPTH: usize = 4;
/// Runs that one run may ask for.
pub(crate) const MAX_ASKED: u32 = 32;
/// How often a run may be handed over.
pub(crate) const MAX_HAND_OFFS: u32 = 8;
/// A program on the bus is the agent.
pub(crate) const WORKER: &str = "worker";

/// What a call of a tool of the team means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// This agent answers in a run of its own.
    Ask(String),
    /// This agent goes on with the conversation.
    HandOff(String),
}

/// Whether a program on the bus is the agent.
pub(crate) fn is_worker(definition: &AgentDefinition) -> bool {
    definition.kind == WORKER
}

/// What a call of this tool means for the team; nothing where it is another tool.
pub(crate) fn wish(definition: &AgentDefinition, tool: &str) -> Option<Wish> {
    let team = definition.team.as_ref()?;
    let of = |names: &[String], prefix: &str| {
        let name = tool.strip_prefix(prefix)?;
        names.iter().any(|known| known == name).then(|| name.to_owned())
    };
    of(&team.agents, ASK).map(Wish::Ask).or_else(|| of(&team.handoff, HAND_OFF).map(Wish::HandOff))
}

/// Whether the runner itself makes calls of this tool.
pub(crate) fn is_inbox_tool(definition: &AgentDefinition, tool: &str) -> bool {
    definition.team.as_ref().is_some_and(|team| team.inbox)
        && [READ_INBOX, SEND_MESSAGE].contains(&tool)
}

/// The other agents by name, each once.
pub(crate) fn members(definition: &AgentDefinition) -> Vec<String> {
    let team = definition.team.clone().unwrap_or_default();
    let mut names: Vec<String> = team.agents.into_iter().chain(team.handoff).collect();
    names.sort();
    names.dedup();
    names
}

/// The tools of the team as a model sees them; `describe` says what an agent is good for.
pub(crate) fn tools(
    definition: &AgentDefinition,
    describe: impl Fn(&str) -> String,
) -> Vec<ToolDefinition> {
    let team = definition.team.clone().unwrap_or_default();
    let ask = team.agents.iter().map(|name| {
        let about = format!(
            "Asks the agent {name}, which answers in a run of its own with a notice of its answer. {}",
            describe(name)
        );
        tool(&format!("{ASK}{name}"), about.trim(), json!({"request": {"type": "string", "description": "Everything that it has to know: it sees nothing else."}}), &["request"])
    });
    let hand_off = team.handoff.iter().map(|name| {
        let about = format!(
            "Hands over to the agent {name}, which goes on with this conversation; you do not come back. {}",
            describe(name)
        );
        tool(&format!("{HAND_OFF}{name}"), about.trim(), json!({"reason": {"type": "string", "description": "Why, for the other agent."}}), &[])
    });
    let mut tools: Vec<ToolDefinition> = ask.chain(hand_off).collect();
    if team.inbox {
        tools.push(tool(READ_INBOX, "Reads the messages that other agents have sent you, the oldest first. Each is told once.", json!({}), &[]));
        tools.push(tool(
            SEND_MESSAGE,
            "Sends a message to the inbox of another agent, or of all.",
            json!({
                "to": {"type": "string", "description": "The agent's name, or * for all."},
                "content": {"type": "string"},
                "message_type": {"type": "string", "description": "What kind of message it is, as you agree."},
            }),
            &["to", "content"],
        ));
    }
    tools
}

/// What another agent is asked.
pub(crate) fn request(arguments: &Map<String, Value>) -> Value {
    match arguments.get("request") {
        Some(request) if arguments.len() == 1 => request.clone(),
        _ => Value::Object(arguments.clone()),
    }
}

/// The agents from the first one down to this one.
pub(crate) fn path(origin: Option<&RunOrigin>, agent: &str) -> Vec<String> {
    let mut path = origin.map(|origin| origin.path.clone()).unwrap_or_default();
    path.push(agent.to_owned());
    path
}

/// Why another agent is not asked: runs that ask each other must come to an end.
pub(crate) fn refusal(path: &[String], wanted: &str, asked: u32) -> Option<String> {
    if path.iter().any(|agent| agent == wanted) {
        let path = path.join(" → ");
        return Some(format!(
            "the agent {wanted} waits for this answer already ({path}); answer yourself"
        ));
    }
    if path.len() > MAX_DEPTH {
        return Some(format!("runs ask each other at most {MAX_DEPTH} deep; answer yourself"));
    }
    (asked >= MAX_ASKED)
        .then(|| format!("a run may ask at most {MAX_ASKED} times; answer with what you have"))
}

/// Checks the team of an agent. Whether the others are registered shows when they are asked: two may name each other.
///
/// # Errors
/// The first flaw, with the value and what would be right.
pub(crate) fn check(name: &str, team: &TeamSettings) -> Result<(), Flaw> {
    for (field, names) in [("agents", &team.agents), ("handoff", &team.handoff)] {
        if names.len() > MAX_AGENTS {
            let count = names.len();
            return Err(Flaw(format!("`team.{field}` names {count} agents; at most {MAX_AGENTS}")));
        }
        for (place, other) in names.iter().enumerate() {
            super::definition::check_name(other)
                .map_err(|flaw| Flaw(format!("`team.{field}[{place}]`: {flaw}")))?;
            if other == name {
                return Err(Flaw(format!("`team.{field}[{place}]` is the agent itself")));
            }
            if names.iter().take(place).any(|earlier| earlier == other) {
                return Err(Flaw(format!("`team.{field}` names {other:?} twice; once is enough")));
            }
        }
    }
    Ok(())
}

fn tool(name: &str, description: &str, properties: Value, required: &[&str]) -> ToolDefinition {
    ToolDefinition {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: Some(JsonObject::wrap(json!({
            "type": "object",
            "properties": properties,
            "required": required,
        }))),
        kind: "agent".to_owned(),
        ..ToolDefinition::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent() -> AgentDefinition {
        let team = TeamSettings {
            agents: vec!["critic".into()],
            handoff: vec!["closer".into(), "critic".into()],
            inbox: true,
        };
        AgentDefinition { name: "boss".into(), team: Some(team), ..AgentDefinition::default() }
    }

    #[test]
    fn a_tool_means_an_agent_only_where_the_team_has_it() {
        let wish = |tool: &str| wish(&agent(), tool);
        assert_eq!(wish("ask_critic"), Some(Wish::Ask("critic".into())));
        assert_eq!(wish("handoff_to_closer"), Some(Wish::HandOff("closer".into())));
        assert_eq!(wish("ask_closer"), None);
        assert_eq!(wish("search"), None);
        let names: Vec<String> =
            tools(&agent(), |_| String::new()).into_iter().map(|tool| tool.name).collect();
        assert_eq!(
            names,
            ["ask_critic", "handoff_to_closer", "handoff_to_critic", "read_inbox", "send_message"]
        );
        assert_eq!(members(&agent()), ["closer", "critic"]);
    }

    #[test]
    fn runs_that_ask_each_other_come_to_an_end() {
        let path = |length: usize| (0..length).map(|n| format!("a{n}")).collect::<Vec<_>>();
        assert_eq!(refusal(&path(4), "b", 0), None);
        assert!(refusal(&path(2), "a0", 0).unwrap().contains("a0 → a1"));
        assert!(refusal(&path(5), "b", 0).unwrap().contains("deep"));
        assert!(refusal(&path(1), "b", MAX_ASKED).unwrap().contains("32"));
    }

    #[test]
    fn a_team_with_a_flaw_is_refused() {
        let flaw = |names: &[&str]| {
            let agents = names.iter().map(|name| (*name).to_owned()).collect();
            check("boss", &TeamSettings { agents, ..Default::default() }).unwrap_err().to_string()
        };
        assert!(flaw(&["a.b"]).contains("team.agents[0]"));
        assert!(flaw(&["boss"]).contains("itself"));
        assert!(flaw(&["a", "a"]).contains("twice"));
    }
}
