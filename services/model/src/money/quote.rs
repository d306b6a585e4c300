//! What a request may cost at most, before anybody is asked.

use muster_contracts::llm::v1::{ChatMessage, ChatTool};

use super::Prices;
use crate::domain::content::{Part, parts};
use crate::domain::tokens;
use crate::limits::Quote;

/// A conversation up to this size is counted by the tokenizer; a larger one by its bytes, which costs nothing.
const COUNTED: usize = 32 << 10;
/// Fewer bytes than a token has as a rule, in any language.
const BYTES_PER_TOKEN: usize = 3;
const PER_IMAGE: usize = 1_000;
const PER_PART: usize = 8;
/// The shortest reply that is worth asking for where nobody said how long it may be, in tokens.
const LEAST: u32 = 256;

/// What a provider is sent.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) messages: &'a [ChatMessage],
    pub(crate) tools: &'a [ChatTool],
}

impl Asked<'_> {
    /// The tokens of it, as far as anybody can know who is not the provider.
    pub(crate) fn tokens(self) -> u32 {
        let (bytes, rest) = self.size();
        if bytes <= COUNTED {
            let empty = ChatMessage::default();
            return tokens::estimate(self.messages, self.tools, &empty).input_tokens;
        }
        u32::try_from(bytes.div_ceil(BYTES_PER_TOKEN) + rest).unwrap_or(u32::MAX)
    }

    /// Bytes of its texts, and tokens of what is no text.
    fn size(self) -> (usize, usize) {
        let (mut bytes, mut rest) = (0, 0);
        for message in self.messages {
            rest += PER_PART;
            for part in parts(message) {
                match part {
                    Part::Text(text) => bytes += text.len(),
                    Part::Image(_) => rest += PER_IMAGE,
                }
            }
            let calls = message.tool_calls.iter();
            let calls = calls.map(|call| serde_json::to_string(call).map_or(0, |json| json.len()));
            bytes += calls.sum::<usize>();
        }
        for tool in self.tools {
            rest += PER_PART;
            bytes += serde_json::to_string(tool).map_or(0, |json| json.len());
        }
        (bytes, rest)
    }
}

/// Makes quotes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Quotes {
    pub(crate) prices: Prices,
    /// What a reply may have that has no limit of its own.
    pub(crate) output_tokens: u32,
}

impl Quotes {
    /// The most that a request costs at the dearest of these providers and models.
    pub(crate) fn quote<'a>(
        &self,
        asked: Asked<'_>,
        max_tokens: u32,
        targets: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Quote {
        let input = asked.tokens();
        if max_tokens > 0 {
            return self.quote_for(input, max_tokens, targets);
        }
        let targets: Vec<(&str, &str)> = targets.into_iter().collect();
        let least = self.quote_for(input, self.output_tokens.min(LEAST), targets.iter().copied());
        Quote { least: least.cost, ..self.quote_for(input, self.output_tokens, targets) }
    }

    /// The longest reply of this provider's model that costs no more than was reserved, at most what a reply may have without a limit of its own; nothing where it has no price.
    pub(crate) fn longest(
        &self,
        asked: Asked<'_>,
        (provider, model): (&str, &str),
        reserved: u64,
    ) -> Option<u32> {
        let price = self.prices.of(provider, model)?;
        let input = u64::from(asked.tokens()).saturating_mul(price.input.max(price.cached_input));
        let paid = reserved.saturating_sub(input).checked_div(price.output);
        let paid = paid.and_then(|tokens| u32::try_from(tokens).ok()).unwrap_or(u32::MAX);
        Some(paid.clamp(1, self.output_tokens))
    }

    /// The most that so many tokens cost at the dearest of these providers and models.
    pub(crate) fn quote_for<'a>(
        &self,
        input: u32,
        output: u32,
        targets: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Quote {
        let cost = targets.into_iter().map(|(provider, model)| {
            let price = self.prices.of(provider, model)?;
            let dearest = price.input.max(price.cached_input);
            let input = u64::from(input).saturating_mul(dearest);
            Some(input.saturating_add(u64::from(output).saturating_mul(price.output)))
        });
        // One without a price makes the whole unknown.
        let cost = cost.reduce(|a, b| Some(a?.max(b?))).flatten();
        Quote { cost, least: cost, tokens: u64::from(input) + u64::from(output) }
    }
}

#[cfg(test)]
mod tests {
    use muster_runtime::Env;

    use super::*;

    #[test]
    fn a_quote_is_what_the_dearest_target_may_take() {
        let env: Env = [("X", "")].into_iter().collect();
        let quotes = Quotes { prices: Prices::from_env(&env).unwrap(), output_tokens: 100 };
        let message = |content: &str| ChatMessage {
            role: "user".into(),
            content: content.into(),
            ..ChatMessage::default()
        };
        let messages = [message("hello world")];
        let asked = Asked { messages: &messages, tools: &[] };
        let targets = [("openai", "gpt-4o-mini"), ("openai", "gpt-4o")];
        let quote = quotes.quote(asked, 0, targets);
        let cost = Some(9 * 2_500 + 100 * 10_000);
        assert_eq!(quote, Quote { cost, least: cost, tokens: 109 });
        let quote = quotes.quote(asked, 7, [("openai", "gpt-4o-mini")]);
        assert_eq!((quote.cost, quote.least), (Some(9 * 150 + 7 * 600), quote.cost));
        let long = Quotes { output_tokens: 4_096, ..quotes.clone() };
        let quote = long.quote(asked, 0, [("openai", "gpt-4o")]);
        assert_eq!(quote.cost, Some(9 * 2_500 + 4_096 * 10_000));
        assert_eq!(quote.least, Some(9 * 2_500 + 256 * 10_000));
        // What is reserved is what the reply may be.
        let longest = |reserved| long.longest(asked, ("openai", "gpt-4o"), reserved);
        assert_eq!(longest(9 * 2_500 + 4_096 * 10_000), Some(4_096));
        assert_eq!(longest(9 * 2_500 + 300 * 10_000 + 9_999), Some(300));
        assert_eq!(longest(u64::MAX), Some(4_096));
        assert_eq!(long.longest(asked, ("x", "unknown"), 1), None);
        assert_eq!(quotes.quote(asked, 7, [("openai", "gpt-4o"), ("x", "unknown")]).cost, None);
        let long = [message(&"word ".repeat(100_000))];
        let tokens = Asked { messages: &long, tools: &[] }.tokens();
        assert!((100_000..200_000).contains(&tokens), "{tokens}");
    }
}
