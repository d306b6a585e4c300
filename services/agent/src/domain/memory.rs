//! What an agent remembers from run to run.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use muster_contracts::JsonObject;
use muster_contracts::tool::v1::ToolDefinition;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The longest thing that can be remembered, in bytes.
pub(crate) const MAX_CONTENT: usize = 2_048;
/// How many memories `recall` tells.
const RECALLED: usize = 10;
const MAX_RECALLED: u64 = 50;
const REMEMBER: &str = "remember";
const RECALL: &str = "recall";
const FORGET: &str = "forget";

/// Everything that is remembered in one place, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) items: Vec<Item>,
}

/// One thing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    /// From the key of the call that wrote it: a call that is made again writes the same.
    pub(crate) id: String,
    pub(crate) content: String,
    pub(crate) at: DateTime<Utc>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires_at: Option<DateTime<Utc>>,
    pub(crate) execution_id: String,
}

/// What bounds a memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) items: usize,
    /// In seconds; 0: for ever.
    pub(crate) ttl: u64,
}

/// A call of one of the three tools.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Wish {
    Remember(String),
    Recall { query: String, limit: usize },
    Forget(String),
}

/// Whether this is the name of one of the three tools.
pub(crate) fn is_tool(name: &str) -> bool {
    [REMEMBER, RECALL, FORGET].contains(&name)
}

/// The three tools as a model sees them.
pub(crate) fn tools() -> Vec<ToolDefinition> {
    let tool = |name: &str, description: &str, properties: Value, required: &str| ToolDefinition {
        name: name.to_owned(),
        description: description.to_owned(),
        parameters: Some(JsonObject::wrap(json!({
            "type": "object",
            "properties": properties,
            "required": [required],
            "additionalProperties": false,
        }))),
        ..ToolDefinition::default()
    };
    vec![
        tool(
            REMEMBER,
            "Keeps a fact for later conversations. One fact a call, whole and understandable on its own.",
            json!({"content": {"type": "string", "description": "The fact, at most 2048 bytes."}}),
            "content",
        ),
        tool(
            RECALL,
            "Finds what was remembered, best match first. An empty query tells the newest.",
            json!({
                "query": {"type": "string", "description": "Words of what is looked for."},
                "limit": {"type": "integer", "minimum": 1, "maximum": MAX_RECALLED},
            }),
            "query",
        ),
        tool(
            FORGET,
            "Removes something that was remembered.",
            json!({"id": {"type": "string", "description": "Its id, as recall tells it."}}),
            "id",
        ),
    ]
}

impl Wish {
    /// Reads a call.
    ///
    /// # Errors
    /// What the model must change.
    pub(crate) fn parse(tool: &str, arguments: &JsonObject) -> Result<Self, String> {
        let field = if tool == RECALL {
            "query"
        } else if tool == FORGET {
            "id"
        } else {
            "content"
        };
        let text = match arguments.get(field) {
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(other) => return Err(format!("`{field}` must be a text, not {other:.80}")),
            None => return Err(format!("`{field}` is missing")),
        };
        match tool {
            RECALL => Ok(Self::Recall { query: text, limit: limit(arguments)? }),
            FORGET => Ok(Self::Forget(text)),
            _ if text.is_empty() => Err("`content` is empty; say what to remember".to_owned()),
            _ if text.len() > MAX_CONTENT => Err(format!(
                "`content` has {} bytes; at most {MAX_CONTENT}: remember what matters of it",
                text.len()
            )),
            _ => Ok(Self::Remember(text)),
        }
    }
}

fn limit(arguments: &JsonObject) -> Result<usize, String> {
    match arguments.get("limit") {
        None | Some(Value::Null) => Ok(RECALLED),
        Some(value) => {
            let limit = value.as_u64().filter(|limit| (1..=MAX_RECALLED).contains(limit));
            let limit = limit.and_then(|limit| usize::try_from(limit).ok());
            limit.ok_or_else(|| format!("`limit` is {value:.80}; it must be 1 to {MAX_RECALLED}"))
        }
    }
}

impl Memory {
    /// Keeps something; what was remembered before in the same words is renewed. The same id a second time changes nothing.
    pub(crate) fn remember(&mut self, item: Item, bounds: Bounds) {
        let now = item.at;
        self.expire(now);
        if self.items.iter().any(|kept| kept.id == item.id) {
            return;
        }
        let ttl = i64::try_from(bounds.ttl).ok().and_then(TimeDelta::try_seconds);
        let expires_at =
            ttl.filter(|ttl| !ttl.is_zero()).and_then(|ttl| now.checked_add_signed(ttl));
        self.items.retain(|kept| kept.content != item.content);
        self.items.push(Item { expires_at, ..item });
        let surplus = self.items.len().saturating_sub(bounds.items);
        self.items.drain(..surplus);
    }

    /// Drops what is over. True where something was.
    pub(crate) fn expire(&mut self, now: DateTime<Utc>) -> bool {
        let before = self.items.len();
        self.items.retain(|item| item.expires_at.is_none_or(|at| at > now));
        self.items.len() < before
    }

    /// Removes one thing. False where it is not there.
    pub(crate) fn forget(&mut self, id: &str) -> bool {
        let before = self.items.len();
        self.items.retain(|item| item.id != id);
        self.items.len() < before
    }

    /// What fits the query best; the newest, where it has no words.
    pub(crate) fn recall(&self, query: &str, limit: usize) -> Vec<&Item> {
        let wanted = words(query);
        let mut found: Vec<(usize, usize, &Item)> = self
            .items
            .iter()
            .enumerate()
            .map(|(place, item)| (wanted.intersection(&words(&item.content)).count(), place, item))
            .filter(|(hits, ..)| wanted.is_empty() || *hits > 0)
            .collect();
        found.sort_by_key(|(hits, place, _)| std::cmp::Reverse((*hits, *place)));
        found.into_iter().take(limit).map(|(_, _, item)| item).collect()
    }
}

fn words(text: &str) -> BTreeSet<String> {
    let words = text.split(|letter: char| !letter.is_alphanumeric());
    words.filter(|word| word.chars().count() > 1).map(str::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    fn item(id: &str, content: &str, seconds: i64) -> Item {
        Item {
            id: id.into(),
            content: content.into(),
            at: at(seconds),
            expires_at: None,
            execution_id: "e".into(),
        }
    }

    fn ids(items: &[&Item]) -> String {
        items.iter().map(|item| item.id.as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_memory_is_bounded_in_number_and_time_and_written_once() {
        let bounds = Bounds { items: 2, ttl: 10 };
        let mut memory = Memory::default();
        for (id, seconds) in [("a", 0), ("b", 1), ("b", 2), ("c", 3)] {
            memory.remember(item(id, id, seconds), bounds);
        }
        assert_eq!(ids(&memory.recall("", 9)), "c b");
        assert!(!memory.expire(at(10)) && memory.expire(at(11)));
        assert_eq!(ids(&memory.recall("", 9)), "c");
        assert!(memory.forget("c") && !memory.forget("c"));
    }

    #[test]
    fn what_is_said_again_in_the_same_words_is_renewed() {
        let bounds = Bounds { items: 9, ttl: 10 };
        let mut memory = Memory::default();
        for (id, content, seconds) in [("a", "x", 0), ("b", "y", 1), ("c", "x", 5)] {
            memory.remember(item(id, content, seconds), bounds);
        }
        assert_eq!(ids(&memory.recall("", 9)), "c b");
        memory.expire(at(14));
        assert_eq!(ids(&memory.recall("", 9)), "c");
    }

    #[test]
    fn what_shares_most_words_is_recalled_first() {
        let bounds = Bounds { items: 9, ttl: 0 };
        let mut memory = Memory::default();
        memory.remember(item("a", "The user likes green tea", 0), bounds);
        memory.remember(item("b", "The user lives in Bonn", 1), bounds);
        memory.remember(item("c", "Tea is green or black", 2), bounds);
        assert_eq!(ids(&memory.recall("green tea, the user", 9)), "a c b");
        assert_eq!(ids(&memory.recall("coffee", 9)), "");
        assert_eq!(ids(&memory.recall("tea", 1)), "c");
    }

    #[test]
    fn wrong_arguments_are_told() {
        let wish = |tool: &str, arguments: Value| Wish::parse(tool, &JsonObject::wrap(arguments));
        assert!(wish("remember", json!({})).is_err_and(|flaw| flaw.contains("missing")));
        assert!(wish("remember", json!({"content": 7})).is_err_and(|flaw| flaw.contains("not 7")));
        assert!(
            wish("remember", json!({"content": "x".repeat(3000)}))
                .is_err_and(|flaw| flaw.contains("3000"))
        );
        assert!(
            wish("recall", json!({"query": "", "limit": 0}))
                .is_err_and(|flaw| flaw.contains("1 to 50"))
        );
        assert_eq!(wish("forget", json!({"id": " a "})), Ok(Wish::Forget("a".into())));
    }
}
