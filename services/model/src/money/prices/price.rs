//! What the tokens of a model cost.

use muster_contracts::llm::v1::TokenUsage;
use serde_json::{Value, json};

/// A tokenizer of another family may count so much more than ours, in parts of a hundred: that far below its threshold a prompt is quoted as a long one.
const DOUBT: u64 = 25;

/// What a model's tokens cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Price {
    pub(crate) rates: Rates,
    /// What they cost where the prompt has more tokens than this.
    pub(crate) long: Option<(u32, Rates)>,
}

/// What a token costs, in billionths of a US dollar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) input: u64,
    pub(crate) cached_input: u64,
    pub(crate) output: u64,
}

impl Price {
    /// What tokens that are used cost. A long prompt is dearer as a whole, and its reply too.
    pub(crate) fn cost(&self, usage: &TokenUsage) -> u64 {
        let rates = match self.long {
            Some((above, long)) if usage.input_tokens > above => long,
            _ => self.rates,
        };
        let cached = usage.cached_input_tokens.min(usage.input_tokens);
        let fresh = usage.input_tokens - cached;
        [(fresh, rates.input), (cached, rates.cached_input), (usage.output_tokens, rates.output)]
            .into_iter()
            .map(|(tokens, price)| u64::from(tokens).saturating_mul(price))
            .fold(0, u64::saturating_add)
    }

    /// The most that so many tokens of a prompt and of its reply may cost.
    pub(crate) fn most(&self, input: u32, output: u32) -> u64 {
        let rates = self.dearest(input);
        let output = u64::from(output).saturating_mul(rates.output);
        u64::from(input).saturating_mul(rates.input).saturating_add(output)
    }

    /// The most tokens that a reply to so many may have, where it all must not cost more than this; nothing where they are free.
    pub(crate) fn longest(&self, input: u32, cost: u64) -> Option<u64> {
        let rates = self.dearest(input);
        cost.saturating_sub(u64::from(input).saturating_mul(rates.input)).checked_div(rates.output)
    }

    /// The most that a token may cost where the prompt is as long as we count it.
    fn dearest(&self, input: u32) -> Rates {
        let Rates { input: fresh, cached_input, output } = self.rates;
        let mut dearest = Rates { input: fresh.max(cached_input), ..self.rates };
        if let Some((above, long)) = self.long
            && u64::from(input) * (100 + DOUBT) > u64::from(above) * 100
        {
            dearest.input = dearest.input.max(long.input).max(long.cached_input);
            dearest.output = output.max(long.output);
        }
        dearest
    }

    /// The same in US dollars for a million tokens, for people.
    pub(super) fn shown(&self) -> Value {
        let mut shown = self.rates.shown();
        if let (Some((above, long)), Some(fields)) = (self.long, shown.as_object_mut()) {
            let mut long = long.shown();
            if let Some(fields) = long.as_object_mut() {
                fields.insert("above".to_owned(), json!(above));
            }
            fields.insert("long".to_owned(), long);
        }
        shown
    }
}

impl Rates {
    fn shown(&self) -> Value {
        let dollars = |nanos: u64| nanos as f64 / 1_000.0;
        json!({
            "input": dollars(self.input),
            "cached_input": dollars(self.cached_input),
            "output": dollars(self.output),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price = Price {
        rates: Rates { input: 10, cached_input: 1, output: 40 },
        long: Some((1_000, Rates { input: 20, cached_input: 2, output: 60 })),
    };

    #[test]
    fn a_long_prompt_costs_more_as_a_whole() {
        let usage = |input_tokens, cached_input_tokens| TokenUsage {
            input_tokens,
            cached_input_tokens,
            output_tokens: 5,
            ..Default::default()
        };
        assert_eq!(PRICE.cost(&usage(1_000, 0)), 10_000 + 200);
        assert_eq!(PRICE.cost(&usage(1_001, 1)), 20_000 + 2 + 300);
    }

    #[test]
    fn a_prompt_that_its_provider_may_count_as_long_is_quoted_as_one() {
        assert_eq!(PRICE.most(800, 5), 8_000 + 200);
        assert_eq!(PRICE.most(801, 5), 16_020 + 300);
        assert_eq!(PRICE.longest(800, 8_000 + 239), Some(5));
        assert_eq!(PRICE.longest(801, 16_020 + 300), Some(5));
        let flat = Price { long: None, ..PRICE };
        assert_eq!(flat.most(u32::MAX, 0), u64::from(u32::MAX) * 10);
    }
}
