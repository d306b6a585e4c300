//! A file of prices: what it says, and what is wrong with it.

use std::collections::HashMap;

use anyhow::{Context, anyhow, bail, ensure};
use muster_document::{Bounds, Place, places};
use muster_text::nearest;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::price::{Price, Rates};

/// The largest price, in dollars for a million tokens.
const DEAREST: f64 = 1_000_000.0;
pub(super) const BOUNDS: Bounds = Bounds { bytes: 4 << 20, values: 200_000, depth: 8 };
const FILE: [&str; 1] = ["prices"];
const ENTRY: [&str; 6] = ["provider", "model", "input", "cached_input", "output", "long"];
const LONG: [&str; 4] = ["above", "input", "cached_input", "output"];

/// The price of a model.
pub(super) struct Line {
    /// `None`: of every provider.
    pub(super) provider: Option<String>,
    /// May end with `*`.
    pub(super) model: String,
    pub(super) price: Price,
}

#[derive(Deserialize)]
struct Entry {
    provider: Option<String>,
    model: String,
    input: f64,
    cached_input: Option<f64>,
    output: f64,
    /// What a token costs where the prompt is a long one.
    long: Option<Long>,
}

#[derive(Deserialize)]
struct Long {
    /// Prompts with more tokens than this are long.
    above: u32,
    input: f64,
    cached_input: Option<f64>,
    output: f64,
}

/// The prices in a file, in its order.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<Line>> {
    let file = match muster_document::read(text, &BOUNDS)? {
        Value::Object(file) => file,
        other => bail!("it is {}, but must be a map with `prices`", kind(&other)),
    };
    check_names(&file, &FILE)?;
    let entries = match file.get("prices") {
        Some(Value::Array(entries)) => entries,
        Some(other) => bail!("`prices` is {}, but must be a list", kind(other)),
        None => bail!("`prices` is missing"),
    };
    let mut lines = Vec::new();
    let mut seen = HashMap::new();
    for (at, entry) in entries.iter().enumerate() {
        let line = line(entry).with_context(|| place(text, at, entry))?;
        if let Some(before) = seen.insert((line.provider.clone(), line.model.clone()), at) {
            let before = before + 1;
            return Err(anyhow!("entry {before} has a price for the same already"))
                .with_context(|| place(text, at, entry));
        }
        lines.push(line);
    }
    Ok(lines)
}

fn line(entry: &Value) -> anyhow::Result<Line> {
    let Value::Object(fields) = entry else {
        bail!(
            "it is {}, but must be a map such as {{model: gpt-4o, input: 2.5, output: 10}}",
            kind(entry)
        );
    };
    check_names(fields, &ENTRY)?;
    if let Some(Value::Object(long)) = fields.get("long") {
        check_names(long, &LONG).context("`long`")?;
    }
    let entry = Entry::deserialize(entry)?;
    check_model(&entry.model)?;
    Ok(Line { price: entry.price()?, provider: entry.provider, model: entry.model })
}

/// A price that nobody reads would be 0 or another one: whoever wrote it must hear of it.
fn check_names(fields: &Map<String, Value>, known: &[&str]) -> anyhow::Result<()> {
    let Some(name) = fields.keys().find(|name| !known.contains(&name.as_str())) else {
        return Ok(());
    };
    let hint = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "prices are US dollars for a million tokens".to_owned(),
    };
    bail!("there is no field `{name}`: {hint} (there are {})", known.join(", "))
}

fn check_model(model: &str) -> anyhow::Result<()> {
    let name = model.strip_suffix('*').unwrap_or(model);
    let is_name = !model.is_empty() && !name.contains(['*', ' ', '\t', '\n']);
    ensure!(
        is_name,
        "`model` is {model:?}, but must be a provider's name of a model, at whose end may stand one *"
    );
    Ok(())
}

/// Which entry it is, for whoever looks for it.
fn place(text: &str, at: usize, entry: &Value) -> String {
    let model = entry.get("model").and_then(Value::as_str);
    let model = model.map_or_else(|| "no model".to_owned(), |model| format!("{model:?}"));
    let pointer = format!("/prices/{at}");
    let line = match places(text, &[&pointer]).first() {
        Some(Some(Place { line, .. })) => format!(" (line {line})"),
        _ => String::new(),
    };
    format!("the price of {model}, entry {}{line}", at + 1)
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "empty",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}

impl Entry {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        read(text).err().map_or_else(String::new, |error| format!("{error:#}"))
    }

    #[test]
    fn a_bad_price_is_told_with_its_model_and_value() {
        for (line, part) in [
            ("{model: m, input: 0.0001, output: 1}", "at most three decimals"),
            ("{model: m, input: -1, output: 1}", "`input` is -1"),
            ("{model: m, input: 1}", "output"),
            ("{model: m, input: '1', output: 1}", "\"1\""),
            ("{model: m, input: 1, output: 1, long: {input: 1, output: 1}}", "above"),
            (
                "{model: m, input: 1, output: 1, long: {above: 9, input: 1, output: -1}}",
                "`long`: `output` is -1",
            ),
        ] {
            let told = wrong(&format!("prices:\n- {{model: n, input: 1, output: 1}}\n- {line}"));
            let place = "the price of \"m\", entry 2 (line 3): ";
            assert!(told.starts_with(place) && told.contains(part), "{told}");
        }
    }

    #[test]
    fn a_name_that_nobody_reads_is_refused_with_the_one_that_is_near() {
        for (line, part) in [
            ("{model: m, imput: 1, output: 1}", "there is no field `imput`: did you mean `input`?"),
            (
                "{model: m, input: 1, output: 1, cached_imput: 1}",
                "there is no field `cached_imput`: did you mean `cached_input`?",
            ),
            (
                "{model: m, input: 1, output: 1, per: 1000}",
                "there is no field `per`: prices are US dollars for a million tokens (there are provider, model, input, cached_input, output, long)",
            ),
            (
                "{model: m, input: 1, output: 1, long: {abov: 9, input: 1, output: 1}}",
                "`long`: there is no field `abov`: did you mean `above`?",
            ),
        ] {
            let told = wrong(&format!("prices: [{line}]"));
            assert!(told.starts_with("the price of \"m\", entry 1 (line 1): "), "{told}");
            assert!(told.contains(part), "{told}");
        }
        let told = wrong("prices: [{modle: m, input: 1, output: 1}]");
        assert!(told.contains("the price of no model, entry 1"), "{told}");
        assert!(told.contains("`modle`: did you mean `model`?"), "{told}");
        for (text, part) in [
            ("price: []", "there is no field `price`: did you mean `prices`?"),
            ("prices: {m: 1}", "`prices` is a map, but must be a list"),
            ("prices:", "`prices` is empty, but must be a list"),
            ("[]", "it is a list, but must be a map with `prices`"),
            ("prices: [m]", "it is a text, but must be a map such as {model"),
        ] {
            assert!(wrong(text).contains(part), "{}", wrong(text));
        }
    }

    #[test]
    fn a_model_that_no_reply_can_have_and_a_second_price_are_refused() {
        for model in ["", "*gpt", "gpt*4", "a b", "gpt-4o "] {
            let told = wrong(&format!("prices: [{{model: '{model}', input: 1, output: 1}}]"));
            assert!(told.contains(&format!("`model` is {model:?}, but must be")), "{told}");
        }
        let twice = "prices:\n- {model: m, input: 1, output: 1}\n- {model: m, provider: x, input: 1, output: 1}\n- {model: m, input: 2, output: 1}";
        let told = wrong(twice);
        assert!(told.starts_with("the price of \"m\", entry 3 (line 4): entry 1 has"), "{told}");
        assert_eq!(wrong("prices: [{model: '*', input: 1, output: 1}]"), "");
    }
}
