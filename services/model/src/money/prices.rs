//! The price table: what is built in, and the operator's own prices before it.

mod file;
mod price;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use muster_runtime::{Env, files::regular_text};
use muster_text::nearest;
use tracing::warn;

const BUILT_IN: &str = include_str!("prices.yaml");
/// The setting that has the operator's own prices.
const SETTING: &str = "MUSTER_PRICES_FILE";
/// How many models without a price are told of.
const TOLD: usize = 1_000;

pub(crate) use self::price::Price;

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

impl Prices {
    /// The built-in prices, and those of the file that the settings name.
    pub(crate) fn from_env(env: &Env) -> anyhow::Result<Self> {
        let own = match env.get(SETTING).filter(|path| !path.is_empty()) {
            None => Table::default(),
            Some(path) => {
                let place = || format!("{SETTING} is {path:?}");
                let largest = u64::try_from(file::BOUNDS.bytes)?;
                let text = regular_text(path, largest).with_context(place)?;
                Table::read(&text).with_context(place)?
            }
        };
        let built_in = Table::read(BUILT_IN).context("the built-in prices")?;
        Ok(Self { tables: Arc::new([own, built_in]), told: Arc::default() })
    }

    /// Checks for which providers there are prices: these are known. One that is nobody's name would have no price at all, and be charged nothing.
    ///
    /// # Errors
    /// Where a name is most likely a slip of one that is known.
    pub(crate) fn check_providers(&self, known: &[&str]) -> anyhow::Result<()> {
        let [own, _] = &*self.tables;
        for (model, name) in own.providers() {
            if known.contains(&name) {
                continue;
            }
            if let Some(near) = nearest(name, known.iter().copied()) {
                bail!(
                    "{SETTING}: the price of {model:?} is for the provider {name:?}, which is not there: did you mean {near:?}? (there are {})",
                    known.join(", ")
                );
            }
            // A file of prices may be the same for services that have other providers.
            warn!(model, provider = name, "price is for a provider that is not configured here");
        }
        Ok(())
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
        let mut table = Self::default();
        for line in file::read(text)? {
            let entry = Entry { provider: line.provider, price: line.price };
            match line.model.strip_suffix('*') {
                Some(start) => table.open.push((start.to_owned(), entry)),
                None => table.exact.entry(line.model).or_default().push(entry),
            }
        }
        table.open.sort_by_key(|(start, _)| std::cmp::Reverse(start.len()));
        Ok(table)
    }

    /// The models that have a price of one provider only, and that provider.
    fn providers(&self) -> impl Iterator<Item = (&str, &str)> {
        let exact = self
            .exact
            .iter()
            .flat_map(|(model, entries)| entries.iter().map(move |entry| (model.as_str(), entry)));
        let all = exact.chain(self.open.iter().map(|(start, entry)| (start.as_str(), entry)));
        all.filter_map(|(model, entry)| Some((model, entry.provider.as_deref()?)))
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
}
