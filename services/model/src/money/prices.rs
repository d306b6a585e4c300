//! The price table: what is built in, and the operator's own prices before it.

mod price;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, ensure};
use muster_document::Bounds;
use muster_runtime::{Env, files::regular_text};
use serde::Deserialize;
use tracing::warn;

const BUILT_IN: &str = include_str!("prices.yaml");
/// The setting that has the operator's own prices.
const SETTING: &str = "MUSTER_PRICES_FILE";
/// The largest price, in dollars for a million tokens.
const DEAREST: f64 = 1_000_000.0;
const BOUNDS: Bounds = Bounds { bytes: 4 << 20, values: 200_000, depth: 8 };
/// How many models without a price are told of.
const TOLD: usize = 1_000;

pub(crate) use self::price::Price;
use self::price::Rates;

/// Every price that is known. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Prices {
    /// The operator's own first.
    tables: Arc<[Table; 2]>,
    told: Arc<Mutex<HashSet<String>>>,
}

#[derive(Default)]
struct Table {
    exact: HashMap<String, Vec<Entry>>,
    /// Those that end with `*`, the longest first.
    open: Vec<(String, Entry)>,
}

struct Entry {
    /// `None`: of every provider.
    provider: Option<String>,
    price: Price,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    prices: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    provider: Option<String>,
    model: String,
    input: f64,
    cached_input: Option<f64>,
    output: f64,
    /// What a token costs where the prompt is a long one.
    long: Option<Long>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Long {
    /// Prompts with more tokens than this are long.
    above: u32,
    input: f64,
    cached_input: Option<f64>,
    output: f64,
}

impl Prices {
    /// The built-in prices, and those of the file that the settings name.
    pub(crate) fn from_env(env: &Env) -> anyhow::Result<Self> {
        let own = match env.get(SETTING).filter(|path| !path.is_empty()) {
            None => Table::default(),
            Some(path) => {
                let place = || format!("{SETTING} is {path:?}");
                let largest = u64::try_from(BOUNDS.bytes)?;
                let text = regular_text(path, largest).with_context(place)?;
                Table::read(&text).with_context(place)?
            }
        };
        let built_in = Table::read(BUILT_IN).context("the built-in prices")?;
        Ok(Self { tables: Arc::new([own, built_in]), told: Arc::default() })
    }

    /// The price of a model; nothing where it has none.
    pub(crate) fn of(&self, provider: &str, model: &str) -> Option<Price> {
        self.tables.iter().find_map(|table| table.find(provider, model))
    }

    /// The price of a model in US dollars for a million tokens, for people; null where it has none.
    pub(crate) fn shown(&self, provider: &str, model: &str) -> serde_json::Value {
        self.of(provider, model).map_or(serde_json::Value::Null, |price| price.shown())
    }

    /// The same; of a model without a price, it is told once.
    pub(crate) fn known(&self, provider: &str, model: &str) -> Option<Price> {
        let price = self.of(provider, model);
        if price.is_none() {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() < TOLD && told.insert(format!("{provider}/{model}")) {
                warn!(
                    provider,
                    model, "model has no price, its replies cost 0: give it one in {SETTING}"
                );
            }
        }
        price
    }
}

impl Table {
    fn read(text: &str) -> anyhow::Result<Self> {
        let value = muster_document::read(text, &BOUNDS)?;
        let file: File = serde_json::from_value(value)?;
        let mut table = Self::default();
        for line in file.prices {
            let price = line.price().with_context(|| format!("the price of {:?}", line.model))?;
            let entry = Entry { provider: line.provider, price };
            match line.model.strip_suffix('*') {
                Some(start) => table.open.push((start.to_owned(), entry)),
                None => table.exact.entry(line.model).or_default().push(entry),
            }
        }
        table.open.sort_by_key(|(start, _)| std::cmp::Reverse(start.len()));
        Ok(table)
    }

    fn find(&self, provider: &str, model: &str) -> Option<Price> {
        let fits = |entry: &&Entry| entry.provider.as_deref().is_none_or(|name| name == provider);
        let exact = |name: &str| {
            let entries = self.exact.get(name)?;
            // A price of this provider comes before one of all.
            let fitting = entries.iter().filter(fits);
            fitting.max_by_key(|entry| entry.provider.is_some()).map(|entry| entry.price)
        };
        let open = || {
            let starts = self.open.iter().filter(|(start, _)| model.starts_with(start.as_str()));
            starts.map(|(_, entry)| entry).find(fits).map(|entry| entry.price)
        };
        exact(model).or_else(|| exact(undated(model))).or_else(open)
    }
}

impl Line {
    fn price(&self) -> anyhow::Result<Price> {
        let long = |long: &Long| {
            rates(long.input, long.cached_input, long.output).map(|rates| (long.above, rates))
        };
        let long = self.long.as_ref().map(long).transpose().context("`long`")?;
        Ok(Price { rates: rates(self.input, self.cached_input, self.output)?, long })
    }
}

/// In billionths for a token, from dollars for a million.
fn rates(input: f64, cached_input: Option<f64>, output: f64) -> anyhow::Result<Rates> {
    let input = per_token("input", input)?;
    let cached_input = match cached_input {
        Some(dollars) => per_token("cached_input", dollars)?,
        None => input,
    };
    Ok(Rates { input, cached_input, output: per_token("output", output)? })
}

/// Dollars for a million tokens are thousands of billionths for one.
fn per_token(field: &str, dollars: f64) -> anyhow::Result<u64> {
    ensure!(
        (0.0..=DEAREST).contains(&dollars),
        "`{field}` is {dollars}, but must be 0 to {DEAREST} US dollars for a million tokens"
    );
    let nanos = (dollars * 1_000.0).round();
    ensure!(
        (nanos / 1_000.0 - dollars).abs() < 1e-9,
        "`{field}` is {dollars}, but must have at most three decimals: round it up"
    );
    Ok(nanos as u64)
}

/// The model's name without what tells one version of it from the next: `gpt-4o-2024-08-06`, `claude-sonnet-4-20250514`, `gemini-2.0-flash-001`, `mistral-large-latest`.
fn undated(model: &str) -> &str {
    if let Some(name) = model.strip_suffix("-latest") {
        return name;
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let last =
        |text: &'_ str| text.rsplit_once('-').map(|(name, end)| (name.len(), end.to_owned()));
    let cut = |text: &str, lengths: &[usize]| -> Option<usize> {
        let mut at = text.len();
        for length in lengths {
            let (rest, end) = last(text.get(..at)?)?;
            if end.len() != *length || !digits(&end) {
                return None;
            }
            at = rest;
        }
        Some(at)
    };
    let forms: [&[usize]; 4] = [&[2, 2, 4], &[8], &[3], &[4]];
    let at = forms.into_iter().find_map(|lengths| cut(model, lengths));
    at.and_then(|at| model.get(..at)).unwrap_or(model)
}

#[cfg(test)]
mod tests {
    use muster_contracts::llm::v1::TokenUsage;

    use super::*;

    fn prices(own: &str) -> anyhow::Result<Prices> {
        let tables = [Table::read(own)?, Table::read(BUILT_IN)?];
        Ok(Prices { tables: Arc::new(tables), told: Arc::default() })
    }

    fn usage(input_tokens: u32, cached_input_tokens: u32, output_tokens: u32) -> TokenUsage {
        TokenUsage { input_tokens, cached_input_tokens, output_tokens, ..Default::default() }
    }

    #[test]
    fn a_reply_costs_its_tokens_exactly() {
        let prices = prices("prices: []").unwrap();
        let mini = prices.of("openai", "gpt-4o-mini-2024-07-18").unwrap();
        assert_eq!(mini.cost(&usage(1_000, 400, 100)), 600 * 150 + 400 * 75 + 100 * 600);
        assert_eq!(mini.cost(&usage(1, 9, 0)), 75);
        assert_eq!(prices.of("offline", "offline").unwrap().cost(&usage(9, 0, 9)), 0);
        assert_eq!(prices.of("openai", "scripted"), None);
    }

    #[test]
    fn a_long_prompt_has_its_own_price_in_the_built_in_table_and_in_the_operators() {
        let own =
            "prices: [{model: m, input: 1, output: 2, long: {above: 100, input: 3, output: 4}}]";
        let prices = prices(own).unwrap();
        let mine = prices.of("x", "m").unwrap();
        assert_eq!(mine.cost(&usage(100, 0, 1)), 100 * 1_000 + 2_000);
        assert_eq!(mine.cost(&usage(101, 0, 1)), 101 * 3_000 + 4_000);
        assert_eq!(prices.shown("x", "m")["long"]["above"], 100);
        let pro = prices.of("gemini", "gemini-2.5-pro").unwrap();
        assert_eq!(pro.cost(&usage(200_001, 200_001, 1)), 200_001 * 250 + 15_000);
    }

    #[test]
    fn a_version_of_a_model_has_the_price_of_the_model() {
        let prices = prices("prices: []").unwrap();
        for (dated, name) in [
            ("claude-sonnet-4-5-20250929", "claude-sonnet-4-5"),
            ("claude-sonnet-4-20250514", "claude-sonnet-4"),
            ("gemini-2.0-flash-001", "gemini-2.0-flash"),
            ("mistral-large-latest", "mistral-large"),
            ("mistral-small-2503", "mistral-small"),
        ] {
            assert!(prices.of("x", dated).is_some(), "{dated}");
            assert_eq!(prices.of("x", dated), prices.of("x", name), "{dated}");
        }
        assert_eq!(prices.of("x", "gpt-4o-audio-preview"), None);
    }

    #[test]
    fn the_operators_own_prices_come_first_and_those_of_a_provider_before_those_of_all() {
        let own = "prices:\n- {model: gpt-4o-mini, input: 1, output: 2}\n- {provider: mine, model: gpt-4o-mini, input: 0.001, output: 0}\n- {model: 'big-*', input: 3, output: 3}\n- {model: 'big-one-*', input: 4, output: 4}";
        let prices = prices(own).unwrap();
        let input = |provider: &str, model: &str| prices.of(provider, model).unwrap().rates.input;
        assert_eq!((input("openai", "gpt-4o-mini"), input("mine", "gpt-4o-mini")), (1_000, 1));
        assert_eq!((input("x", "big-two"), input("x", "big-one-2")), (3_000, 4_000));
        assert_eq!(input("x", "gpt-4o"), 2_500);
    }

    #[test]
    fn a_bad_price_is_told_with_its_model_and_value() {
        for (line, part) in [
            ("{model: m, input: 0.0001, output: 1}", "at most three decimals"),
            ("{model: m, input: -1, output: 1}", "`input` is -1"),
            ("{model: m, input: 1}", "output"),
            ("{model: m, input: 1, output: 1, long: {input: 1, output: 1}}", "above"),
            (
                "{model: m, input: 1, output: 1, long: {above: 9, input: 1, output: -1}}",
                "`long`: `output` is -1",
            ),
            ("{model: m, input: 1, output: 1, long: {above: 9, input: 1, output: 1, x: 1}}", "x"),
            ("{model: m, input: 1, output: 1, per: 1}", "per"),
        ] {
            let error = prices(&format!("prices: [{line}]")).err().unwrap();
            assert!(format!("{error:#}").contains(part), "{error:#}");
        }
    }
}
