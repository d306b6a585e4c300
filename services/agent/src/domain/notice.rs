//! Notices: what the next agent reads instead of a whole deliverable.

use std::collections::BTreeMap;

use muster_contracts::{deliverable::v1::Deliverable, subject};
use muster_text::{one_line, sentences};
use serde_json::{Map, Value, json};

/// The most tokens that a notice may have.
pub(crate) const MAX_TOKENS: u32 = 200;
/// A notice aims at this part of its deliverable, so that a short report gets a short notice.
const PART: u32 = 30;
/// The least that a notice aims at: its address alone needs some forty tokens.
const MIN_AIM: u32 = 72;

/// The address of a deliverable: `deliverables/{agent}/{type}/{feature}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    /// Who made it.
    pub(crate) agent: String,
    /// What kind of thing it is.
    pub(crate) kind: String,
    /// What it is about.
    pub(crate) feature: String,
}

impl Address {
    /// The address in a text; `None` where it is none.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.strip_prefix("deliverables/")?.split('/');
        let mut token = || {
            let part = parts.next()?;
            subject::token("deliverable", part).is_ok().then(|| part.to_owned())
        };
        let address = Self { agent: token()?, kind: token()?, feature: token()? };
        parts.next().is_none().then_some(address)
    }

    /// The deliverable's message with only the address filled in.
    pub(crate) fn message(&self) -> Deliverable {
        Deliverable {
            agent: self.agent.clone(),
            r#type: self.kind.clone(),
            feature: self.feature.clone(),
            ..Deliverable::default()
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "deliverables/{}/{}/{}", self.agent, self.kind, self.feature)
    }
}

/// The notices in an input, at any depth: each deliverable with the texts of its notices.
pub(crate) fn scan(input: &Value) -> BTreeMap<Address, Vec<String>> {
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
    Address::parse(map.get("deliverable")?.as_str()?)
}

/// A notice that cannot be made small enough.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "it makes a notice of {tokens} tokens, and at most {MAX_TOKENS} travel to the next agent; let it hold only what decides, in fewer and shorter values"
)]
pub(crate) struct TooLarge {
    tokens: u32,
}

/// The notice of a deliverable with this text, of at most [`MAX_TOKENS`] tokens as `count` counts them.
///
/// # Errors
/// Where the structured answer alone is too large.
pub(crate) fn compose(
    deliverable: &Deliverable,
    data: Option<&Value>,
    count: impl Fn(&str) -> u32,
) -> Result<Value, TooLarge> {
    let address = Address {
        agent: deliverable.agent.clone(),
        kind: deliverable.r#type.clone(),
        feature: deliverable.feature.clone(),
    };
    let mut notice = json!({
        "deliverable": address.to_string(),
        "agent": deliverable.agent,
        "tokens": deliverable.tokens,
    });
    if let Some(data) = data {
        // The data says it all; a summary would say it twice.
        put(&mut notice, "data", data.clone());
        let tokens = count(&notice.to_string());
        return if tokens <= MAX_TOKENS { Ok(notice) } else { Err(TooLarge { tokens }) };
    }
    let aim = (deliverable.tokens / PART).clamp(MIN_AIM, MAX_TOKENS);
    let room = aim.saturating_sub(count(&notice.to_string()));
    let summary = lead(&deliverable.content, room, &count);
    put(&mut notice, "summary", Value::String(summary));
    Ok(notice)
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

    /// Near enough for a test: a token is four bytes.
    fn count(text: &str) -> u32 {
        u32::try_from(text.len().div_ceil(4)).unwrap()
    }

    fn report(content: &str) -> Deliverable {
        let feature = "0123456789abcdef".to_owned();
        let tokens = count(content);
        Deliverable {
            agent: "researcher".into(),
            r#type: "report".into(),
            feature,
            content: content.into(),
            tokens,
            ..Default::default()
        }
    }

    #[test]
    fn an_address_survives_its_text_and_nothing_else_is_one() {
        let address = Address::parse("deliverables/a/report/f-1").expect("an address");
        assert_eq!(address.to_string(), "deliverables/a/report/f-1");
        for bad in
            ["", "deliverables/a/b", "deliverables/a/b/c/d", "deliverables/a/b/c.d", "x/a/b/c"]
        {
            assert_eq!(Address::parse(bad), None, "{bad}");
        }
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
            let notice = compose(&report(content), None, count).expect("a notice");
            assert!(count(&notice.to_string()) <= MAX_TOKENS, "{notice}");
        }
    }

    #[test]
    fn a_notice_of_a_long_report_costs_less_than_a_twentieth_of_it() {
        let content = "A sentence of some length stands here. ".repeat(260);
        let report = report(&content);
        let notice = compose(&report, None, count).expect("a notice").to_string();
        assert!(count(&notice) * 20 < report.tokens, "{} of {}", count(&notice), report.tokens);
        assert!(notice.contains("A sentence of some length stands here."), "{notice}");
    }

    #[test]
    fn data_that_is_too_large_is_refused_with_its_size() {
        let small = json!({"content": false, "missing": ["a", "b"]});
        let notice = compose(&report("{}"), Some(&small), count).expect("a notice");
        assert_eq!(notice["data"], small);
        let large = json!({"missing": "x".repeat(4_000)});
        let error = compose(&report("{}"), Some(&large), count).expect_err("too large");
        assert!(error.to_string().contains("at most 200"), "{error}");
    }
}
