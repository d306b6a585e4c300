//! Notices: what the next agent reads instead of a whole deliverable.

use std::collections::BTreeMap;

use muster_text::{one_line, sentences, tokens};
use serde_json::{Map, Value, json};

use crate::Address;

/// The most tokens that a notice may have.
pub const MAX_TOKENS: u32 = 200;
/// A notice aims at this part of its deliverable, so that a short report gets a short notice.
const PART: u32 = 30;
/// The least that a notice aims at: its address alone needs some forty tokens.
const MIN_AIM: u32 = 72;

/// The notices in an input, at any depth: each deliverable with the texts of its notices.
pub fn scan(input: &Value) -> BTreeMap<Address, Vec<String>> {
    let mut found = BTreeMap::new();
    collect(input, &mut found);
    found
}

fn collect(value: &Value, found: &mut BTreeMap<Address, Vec<String>>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(map) => match address_of(map) {
            Some(address) => found.entry(address).or_default().push(value.to_string()),
            None => map.values().for_each(|item| collect(item, found)),
        },
        _ => {}
    }
}

fn address_of(map: &Map<String, Value>) -> Option<Address> {
    map.get("tokens").filter(|tokens| tokens.is_u64())?;
    Address::parse(map.get("deliverable")?.as_str()?).ok()
}

/// A notice that cannot be made small enough.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "it makes a notice of {tokens} tokens, and at most {MAX_TOKENS} travel to the next agent; let it hold only what decides, in fewer and shorter values"
)]
pub struct TooLarge {
    tokens: u32,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug)]
pub struct About<'a> {
    /// Where it is.
    pub address: &'a Address,
    /// Its text.
    pub content: &'a str,
    /// How many tokens that has.
    pub tokens: u32,
}

/// How many tokens a text has. Not for the async runtime's threads: the first call loads the table, and a long text takes milliseconds.
#[must_use]
pub fn count(text: &str) -> u32 {
    u32::try_from(tokens::count(text)).unwrap_or(u32::MAX)
}

/// The notice of a deliverable, of at most [`MAX_TOKENS`] tokens: with `data`, where it has a structured part, else with its first sentences.
///
/// # Errors
/// Where the structured part alone is too large.
pub fn compose(about: About<'_>, data: Option<&Value>) -> Result<Value, TooLarge> {
    compose_by(about, data, count)
}

fn compose_by(
    about: About<'_>,
    data: Option<&Value>,
    count: impl Fn(&str) -> u32,
) -> Result<Value, TooLarge> {
    let mut notice = json!({
        "deliverable": about.address.to_string(),
        "agent": about.address.agent,
        "tokens": about.tokens,
    });
    if let Some(data) = data {
        // The data says it all; a summary would say it twice.
        put(&mut notice, "data", data.clone());
        let tokens = count(&notice.to_string());
        return if tokens <= MAX_TOKENS { Ok(notice) } else { Err(TooLarge { tokens }) };
    }
    let aim = (about.tokens / PART).clamp(MIN_AIM, MAX_TOKENS);
    let room = aim.saturating_sub(count(&notice.to_string()));
    let summary = lead(about.content, room, &count);
    put(&mut notice, "summary", Value::String(summary));
    let tokens = count(&notice.to_string());
    // Only where the address itself is that long.
    if tokens <= MAX_TOKENS { Ok(notice) } else { Err(TooLarge { tokens }) }
}

/// The notice of what is stored: the text of a structured answer is its data, where that is small enough.
#[must_use]
pub fn of_stored(about: About<'_>) -> Value {
    let data = serde_json::from_str(about.content).ok().filter(Value::is_object);
    let with_data = data.and_then(|data| compose(about, Some(&data)).ok());
    with_data.or_else(|| compose(about, None).ok()).unwrap_or_default()
}

/// The first sentences of a text, as many as fit; of a first sentence that is too long, the first words.
fn lead(text: &str, room: u32, count: impl Fn(&str) -> u32) -> String {
    let fits = |text: &str| count(&json!({ "summary": text }).to_string()) <= room;
    longest(sentences(text).into_iter().map(one_line), &fits)
        .or_else(|| {
            let words = text.split_whitespace().map(str::to_owned);
            longest(words, &|text: &str| fits(&format!("{text} …")))
                .map(|words| format!("{words} …"))
        })
        .unwrap_or_default()
}

/// As many of the first pieces, joined by blanks, as fit; `None` where not even one does.
fn longest(pieces: impl Iterator<Item = String>, fits: &impl Fn(&str) -> bool) -> Option<String> {
    let mut whole = String::new();
    for piece in pieces {
        let longer = if whole.is_empty() { piece } else { format!("{whole} {piece}") };
        if !fits(&longer) {
            break;
        }
        whole = longer;
    }
    (!whole.is_empty()).then_some(whole)
}

fn put(object: &mut Value, key: &str, value: Value) {
    if let Value::Object(map) = object {
        map.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_of_15000_tokens_is_passed_on_for_a_75th_of_it() {
        let content =
            "The export streams rows in batches of five hundred, so that memory stays flat. "
                .repeat(1_000);
        let tokens = super::count(&content);
        assert!((15_000..20_000).contains(&tokens), "{tokens}");
        let address = Address::parse("deliverables/agog/cynthia/research/csv-export@12").unwrap();
        let notice = compose(About { address: &address, content: &content, tokens }, None).unwrap();
        let cost = super::count(&notice.to_string());
        assert!(cost <= MAX_TOKENS, "{cost}");
        assert!(f64::from(tokens - cost) / f64::from(tokens) > 0.986, "{cost} of {tokens}");
    }

    #[test]
    fn what_is_stored_as_json_is_its_own_data_where_that_is_small() {
        let small = of_stored(About { address: &address(), content: r#"{"ok":true}"#, tokens: 5 });
        assert_eq!(small["data"], json!({"ok": true}));
        let content = json!({"list": vec!["a word"; 200]}).to_string();
        let large = of_stored(About { address: &address(), content: &content, tokens: 600 });
        assert!(large.get("data").is_none() && large["summary"].is_string(), "{large}");
    }

    /// Near enough for a test: a token is four bytes.
    fn count(text: &str) -> u32 {
        u32::try_from(text.len().div_ceil(4)).unwrap()
    }

    fn about<'a>(address: &'a Address, content: &'a str) -> About<'a> {
        About { address, content, tokens: count(content) }
    }

    fn address() -> Address {
        Address::parse("deliverables/researcher/report/0123456789abcdef").unwrap()
    }

    #[test]
    fn notices_are_found_at_any_depth_and_each_deliverable_once() {
        let notice = json!({"deliverable": "deliverables/a/report/x", "tokens": 9});
        let input = json!({"findings": [notice, {"deep": {"draft": notice}}], "question": "deliverables/a/report/y"});
        let found = scan(&input);
        assert_eq!(found.len(), 1);
        assert_eq!(found.values().next().map(Vec::len), Some(2));
    }

    #[test]
    fn a_notice_never_exceeds_its_limit_whatever_the_report() {
        let long = "A sentence of some length stands here. ".repeat(900);
        let wall = "word ".repeat(5_000);
        for content in [long.as_str(), wall.as_str(), "Short.", "x"] {
            let notice = compose_by(about(&address(), content), None, count).unwrap();
            assert!(count(&notice.to_string()) <= MAX_TOKENS, "{notice}");
        }
    }

    #[test]
    fn a_notice_of_a_long_report_costs_less_than_a_twentieth_of_it() {
        let content = "A sentence of some length stands here. ".repeat(260);
        let notice = compose_by(about(&address(), &content), None, count).unwrap().to_string();
        let tokens = count(&content);
        assert!(count(&notice) * 20 < tokens, "{} of {tokens}", count(&notice));
        assert!(notice.contains("A sentence of some length stands here."), "{notice}");
    }

    #[test]
    fn data_that_is_too_large_is_refused_with_its_size() {
        let small = json!({"content": false, "missing": ["a", "b"]});
        let notice = compose_by(about(&address(), "{}"), Some(&small), count).unwrap();
        assert_eq!(notice["data"], small);
        let large = json!({"missing": "x".repeat(4_000)});
        let error = compose_by(about(&address(), "{}"), Some(&large), count).unwrap_err();
        assert!(error.to_string().contains("at most 200"), "{error}");
    }
}
