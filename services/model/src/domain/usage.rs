//! What a provider told of the usage of a reply, and what has to be counted of it.

use muster_contracts::llm::v1::TokenUsage;

/// What a provider told of the usage. `None` of a number: it was not told, or as something that is no number of tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) input: Option<u32>,
    /// With what was thought.
    pub(crate) output: Option<u32>,
    /// The part of `output` that the model thought with.
    pub(crate) reasoning: Option<u32>,
    /// The part of `input` that the provider's own prompt cache knew.
    pub(crate) cached: Option<u32>,
    /// Whether the numbers were counted by our tokenizer.
    pub(crate) estimated: bool,
    /// The first of it that cannot be read, as people are told.
    pub(crate) odd: Option<String>,
}

impl Told {
    /// Whether both numbers are there that a reply costs.
    pub(crate) const fn is_whole(&self) -> bool {
        self.input.is_some() && self.output.is_some()
    }

    /// The numbers that are there; 0 for the others.
    pub(crate) fn known(&self) -> TokenUsage {
        TokenUsage {
            input_tokens: self.input.unwrap_or_default(),
            output_tokens: self.output.unwrap_or_default(),
            reasoning_tokens: self.reasoning.unwrap_or_default(),
            cached_input_tokens: self.cached.unwrap_or_default(),
            // What is odd may have been any number.
            estimated: self.estimated || self.odd.is_some(),
        }
    }

    /// The usage of a whole reply: what was not told is taken from what was counted.
    pub(crate) fn or_counted(&self, counted: impl FnOnce() -> TokenUsage) -> TokenUsage {
        let known = self.known();
        if self.is_whole() {
            return known;
        }
        let counted = counted();
        let mut usage = TokenUsage { estimated: true, ..known };
        usage.input_tokens = self.input.unwrap_or(counted.input_tokens);
        if self.output.is_none() {
            let said = counted.output_tokens.saturating_sub(counted.reasoning_tokens);
            // Of what was thought we see a part only, or nothing.
            usage.reasoning_tokens = known.reasoning_tokens.max(counted.reasoning_tokens);
            usage.output_tokens = said.saturating_add(usage.reasoning_tokens);
        }
        usage
    }
}

impl From<TokenUsage> for Told {
    fn from(usage: TokenUsage) -> Self {
        Self {
            input: Some(usage.input_tokens),
            output: Some(usage.output_tokens),
            reasoning: Some(usage.reasoning_tokens),
            cached: Some(usage.cached_input_tokens),
            estimated: usage.estimated,
            odd: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTED: TokenUsage = TokenUsage {
        input_tokens: 100,
        output_tokens: 30,
        reasoning_tokens: 10,
        cached_input_tokens: 0,
        estimated: true,
    };

    #[test]
    fn what_was_told_is_kept_and_the_rest_is_counted() {
        let numbers = |told: Told| {
            let usage = told.or_counted(|| COUNTED);
            let counts = (usage.input_tokens, usage.output_tokens, usage.reasoning_tokens);
            (counts, usage.estimated)
        };
        let told = |input, output, reasoning| Told { input, output, reasoning, ..Told::default() };
        assert_eq!(numbers(told(Some(9), Some(7), Some(2))), ((9, 7, 2), false));
        assert_eq!(numbers(told(Some(9), Some(7), None)), ((9, 7, 0), false));
        assert_eq!(numbers(told(None, Some(7), None)), ((100, 7, 0), true));
        assert_eq!(numbers(told(Some(9), None, None)), ((9, 30, 10), true));
        // What it thought is told, and more than we saw.
        assert_eq!(numbers(told(Some(9), None, Some(500))), ((9, 520, 500), true));
        assert_eq!(numbers(Told::default()), ((100, 30, 10), true));
        let odd = Told { odd: Some("cached_tokens is -1".into()), ..told(Some(9), Some(7), None) };
        assert_eq!(numbers(odd), ((9, 7, 0), true));
        let most = Told { reasoning: Some(u32::MAX), ..Told::default() };
        assert_eq!(numbers(most), ((100, u32::MAX, u32::MAX), true));
        assert_eq!(Told::from(COUNTED).or_counted(TokenUsage::default), COUNTED);
    }
}
