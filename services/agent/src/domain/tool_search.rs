//! Agents with many tools: the model is offered a search in place of all schemas, and then the tools that it found.

use muster_contracts::{JsonObject, tool::v1::ToolDefinition};
use serde_json::{Map, Value, json};

use super::fact::Returned;

/// The tool by which others are found.
const SEARCH: &str = "search_tools";
/// An agent with more registered tools than this has them searched.
const MANY: usize = 20;
/// Tools that one search finds, where the model does not say how many.
const FOUND: usize = 5;
const MOST_FOUND: usize = 10;
/// Characters of a description that a search tells; the tool itself comes with all of it.
const TOLD: usize = 300;

/// The tools with the search among them, where there are many.
pub(crate) fn with_search(mut tools: Vec<ToolDefinition>) -> Vec<ToolDefinition> {
    if tools.iter().filter(|tool| is_hidden(tool)).count() > MANY {
        tools.insert(0, search());
    }
    tools
}

/// What the model is offered: all tools, or those of the agent itself and what was found, in the order in which it was found. What was offered once keeps its place, for the caches of prompts.
pub(crate) fn offered<'t>(
    tools: &'t [ToolDefinition],
    found: &[String],
) -> Vec<&'t ToolDefinition> {
    if !is_search(tools, SEARCH) {
        return tools.iter().collect();
    }
    let own = tools.iter().filter(|tool| !is_hidden(tool));
    let found = found
        .iter()
        .filter_map(|name| tools.iter().find(|tool| is_hidden(tool) && tool.name == *name));
    own.chain(found).collect()
}

/// Whether a call is that of the search, and not of a registered tool with its name.
pub(crate) fn is_search(tools: &[ToolDefinition], name: &str) -> bool {
    name == SEARCH && tools.iter().any(|tool| tool.name == SEARCH && !is_hidden(tool))
}

/// Remembers what a search has found.
pub(crate) fn note(found: &mut Vec<String>, returned: &Returned) {
    let result = returned.result.as_ref().filter(|_| returned.name == SEARCH);
    let tools = result.and_then(|result| result.get("tools")).and_then(Value::as_array);
    for name in tools.into_iter().flatten().filter_map(|tool| tool.get("name")?.as_str()) {
        if !found.iter().any(|known| known == name) {
            found.push(name.to_owned());
        }
    }
}

/// The best tools for a query, best first: words of names count more than those of descriptions. Of equally good ones the first by name.
pub(crate) fn find(tools: &[ToolDefinition], arguments: &Map<String, Value>) -> Value {
    let query = arguments.get("query").and_then(Value::as_str).unwrap_or_default();
    let limit =
        arguments.get("limit").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let limit = limit.unwrap_or(FOUND).clamp(1, MOST_FOUND);
    let wanted = words(query);
    let hidden: Vec<&ToolDefinition> = tools.iter().filter(|tool| is_hidden(tool)).collect();
    let mut ranked: Vec<(usize, &ToolDefinition)> =
        hidden.iter().map(|tool| (score(tool, &wanted), *tool)).filter(|(s, _)| *s > 0).collect();
    ranked.sort_by(|(a, one), (b, other)| b.cmp(a).then_with(|| one.name.cmp(&other.name)));
    let best: Vec<Value> = ranked.iter().take(limit).map(|(_, tool)| shown(tool)).collect();
    if best.is_empty() {
        let names: Vec<&str> = hidden.iter().map(|tool| tool.name.as_str()).collect();
        return json!({ "tools": [], "hint": "no tool has these words; these are all names", "names": names });
    }
    json!({ "tools": best, "of": hidden.len() })
}

/// Those that are registered somewhere; the agent's own (memory, team, search) bear no kind.
fn is_hidden(tool: &ToolDefinition) -> bool {
    !tool.kind.is_empty()
}

fn shown(tool: &ToolDefinition) -> Value {
    let description: String = tool.description.chars().take(TOLD).collect();
    json!({ "name": tool.name, "description": description })
}

fn score(tool: &ToolDefinition, wanted: &[String]) -> usize {
    let (name, description) = (words(&tool.name), words(&tool.description));
    let fits = |word: &String, wanted: &String| match () {
        () if word == wanted => 2,
        // `file` finds `files`, and the other way round.
        () if wanted.len() > 2
            && (word.starts_with(wanted.as_str())
                || (word.len() > 2 && wanted.starts_with(word.as_str()))) =>
        {
            1
        }
        () => 0,
    };
    let best = |words: &[String], wanted: &String| {
        words.iter().map(|word| fits(word, wanted)).max().unwrap_or_default()
    };
    wanted.iter().map(|wanted| 3 * best(&name, wanted) + best(&description, wanted)).sum()
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

fn search() -> ToolDefinition {
    ToolDefinition {
        name: SEARCH.to_owned(),
        description: "Finds tools by words of what they do. You have many more tools than you see: search before you say that something cannot be done. What is found can be called from then on.".to_owned(),
        parameters: Some(JsonObject::wrap(json!({
            "type": "object",
            "properties": {
                "query": { "type": "string", "description": "Words of what is to be done, such as: read file." },
                "limit": { "type": "integer", "minimum": 1, "maximum": MOST_FOUND, "description": "How many; default 5." },
            },
            "required": ["query"],
            "additionalProperties": false,
        }))),
        ..ToolDefinition::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, description: &str) -> ToolDefinition {
        ToolDefinition {
            name: name.into(),
            description: description.into(),
            kind: "mcp".into(),
            ..Default::default()
        }
    }

    fn many() -> Vec<ToolDefinition> {
        let mut tools: Vec<_> =
            (0..MANY).map(|n| tool(&format!("other-{n:02}"), "Nothing.")).collect();
        tools.push(tool("fs__read_file", "Reads a file."));
        tools.push(tool("fs__list", "Lists the files of a folder."));
        tools
    }

    fn names(tools: &[&ToolDefinition]) -> Vec<String> {
        tools.iter().map(|tool| tool.name.clone()).collect()
    }

    fn found(query: &str) -> Vec<String> {
        let found = find(&many(), json!({ "query": query }).as_object().unwrap());
        let tools = found["tools"].as_array().unwrap();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn few_tools_are_all_offered() {
        let few = with_search(many().split_off(2));
        assert_eq!(offered(&few, &[]).len(), few.len());
        assert_eq!(few.len(), MANY);
    }

    #[test]
    fn many_tools_are_found_and_keep_their_place() {
        let memory = ToolDefinition { name: "recall".into(), ..Default::default() };
        let mut tools = with_search(many());
        tools.push(memory);
        assert_eq!(names(&offered(&tools, &[])), [SEARCH, "recall"]);
        let mut known = Vec::new();
        for query in ["list", "read file", "list"] {
            let result = find(&tools, json!({ "query": query, "limit": 1 }).as_object().unwrap());
            let returned =
                Returned { name: SEARCH.into(), result: Some(result), ..Default::default() };
            note(&mut known, &returned);
        }
        assert_eq!(
            names(&offered(&tools, &known)),
            [SEARCH, "recall", "fs__list", "fs__read_file"]
        );
        // Another tool that answers the same finds nothing.
        let other = Returned {
            name: "x".into(),
            result: Some(json!({ "tools": [{ "name": "other-00" }] })),
            ..Default::default()
        };
        note(&mut known, &other);
        assert_eq!(known.len(), 2);
    }

    #[test]
    fn names_count_more_than_descriptions_and_order_is_stable() {
        assert_eq!(found("READ files"), ["fs__read_file", "fs__list"]);
        assert_eq!(found("other"), ["other-00", "other-01", "other-02", "other-03", "other-04"]);
        assert!(found("zebra").is_empty());
    }
}
