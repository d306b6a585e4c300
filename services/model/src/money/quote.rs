//! What a request may cost at most, before anybody is asked.

use std::sync::OnceLock;

use muster_contracts::JsonObject;
use muster_contracts::llm::v1::{ChatMessage, ChatTool};

use super::Prices;
use crate::domain::content::{Part, parts};
use crate::domain::prompt::Prompt;
use crate::domain::tokens;
use crate::limits::Quote;

/// A conversation up to this size is counted where it stands; a larger one keeps a processor for too long.
const SMALL: usize = 32 << 10;
/// Fewer bytes than a token has as a rule, in any language: for what is large and was not counted.
const BYTES_PER_TOKEN: usize = 3;
const PER_PART: usize = 8;
/// The shortest reply that is worth asking for where nobody said how long it may be, in tokens.
const LEAST: u32 = 256;

/// What a provider is sent. Its texts are counted once.
#[derive(Default)]
pub(crate) struct Asked<'a> {
    messages: &'a [ChatMessage],
    tools: &'a [ChatTool],
    /// That of the reply.
    schema: Option<&'a JsonObject>,
    counted: OnceLock<u32>,
}

impl<'a> Asked<'a> {
    pub(crate) fn new(prompt: &'a Prompt) -> Self {
        Self {
            messages: &prompt.messages,
            tools: &prompt.tools,
            schema: prompt.response_schema.as_ref(),
            counted: OnceLock::new(),
        }
    }

    /// The tokens of it for a model of this name, as far as anybody can know who is not the provider: of images the most.
    pub(crate) fn tokens(&self, model: &str) -> u32 {
        let texts = self.counted.get().copied().unwrap_or_else(|| match self.bytes() {
            (bytes, _) if bytes <= SMALL => *self.counted.get_or_init(|| self.count()),
            (bytes, rest) => {
                u32::try_from(bytes.div_ceil(BYTES_PER_TOKEN) + rest).unwrap_or(u32::MAX)
            }
        });
        texts.saturating_add(tokens::of_images(self.messages, model))
    }

    /// Counts the texts beside what else is done, where they are large: text that is dense, such as numbers, has many more tokens than its size tells.
    pub(crate) async fn count_large(&self) {
        if self.counted.get().is_some() || self.bytes().0 <= SMALL {
            return;
        }
        let (messages, tools) = (self.messages.to_vec(), self.tools.to_vec());
        let beside = self.beside();
        let counting = tokio::task::spawn_blocking(move || count(&messages, &tools, &beside));
        if let Ok(counted) = counting.await {
            self.counted.get_or_init(|| counted);
        }
    }

    fn count(&self) -> u32 {
        count(self.messages, self.tools, &self.beside())
    }

    /// What is sent beside what was said: the schema of the reply, and earlier thoughts.
    fn beside(&self) -> String {
        let schema = self.schema.and_then(|schema| serde_json::to_string(schema).ok());
        let thoughts = self.messages.iter().map(|message| message.reasoning.as_str());
        thoughts.chain(schema.as_deref()).collect()
    }

    /// Bytes of its texts, and tokens of what stands around them.
    fn bytes(&self) -> (usize, usize) {
        let (mut bytes, mut rest) = (self.beside().len(), 0);
        for message in self.messages {
            rest += PER_PART;
            for part in parts(message) {
                if let Part::Text(text) = part {
                    bytes += text.len();
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

fn count(messages: &[ChatMessage], tools: &[ChatTool], beside: &str) -> u32 {
    let beside = u32::try_from(tokens::count(beside)).unwrap_or(u32::MAX);
    tokens::of_texts(messages, tools).saturating_add(beside)
}

/// Who may be asked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) provider: &'a str,
    pub(crate) model: &'a str,
    /// Tokens that it may think beside its answer.
    pub(crate) thought: u32,
}

/// Makes quotes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Quotes {
    pub(crate) prices: Prices,
    /// What a reply may have that has no limit of its own.
    pub(crate) output_tokens: u32,
}

impl Quotes {
    /// The most that a request costs at the dearest of these targets.
    pub(crate) fn quote<'a>(
        &self,
        asked: &Asked<'_>,
        max_tokens: u32,
        targets: impl IntoIterator<Item = Target<'a>>,
    ) -> Quote {
        let quotes = targets.into_iter().map(|target| self.quote_one(asked, max_tokens, target));
        quotes.reduce(dearer).unwrap_or_default()
    }

    fn quote_one(&self, asked: &Asked<'_>, max_tokens: u32, target: Target<'_>) -> Quote {
        let (input, output) = (asked.tokens(target.model), self.output(max_tokens, target));
        let quote = self.quote_for(input, output, [(target.provider, target.model)]);
        match max_tokens {
            0 => {
                let names = [(target.provider, target.model)];
                let least = self.quote_for(input, self.output_tokens.min(LEAST), names);
                Quote { least: least.cost, ..quote }
            }
            _ => quote,
        }
    }

    /// The most tokens that the target makes: those of the answer, and what it thinks beside it.
    fn output(&self, max_tokens: u32, target: Target<'_>) -> u32 {
        let answer = if max_tokens == 0 { self.output_tokens } else { max_tokens };
        answer.saturating_add(target.thought)
    }

    /// The longest reply of this target that costs no more than was reserved, at most as long as it was quoted.
    pub(crate) fn longest(
        &self,
        asked: &Asked<'_>,
        max_tokens: u32,
        target: Target<'_>,
        reserved: u64,
    ) -> u32 {
        let most = self.output(max_tokens, target);
        let price = self.prices.of(target.provider, target.model);
        let paid = price.and_then(|price| price.longest(asked.tokens(target.model), reserved));
        let paid = paid.and_then(|tokens| u32::try_from(tokens).ok()).unwrap_or(u32::MAX);
        paid.clamp(1, most)
    }

    /// The most that so many tokens cost at the dearest of these providers and models.
    pub(crate) fn quote_for<'a>(
        &self,
        input: u32,
        output: u32,
        targets: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Quote {
        let tokens = u64::from(input) + u64::from(output);
        let quotes = targets.into_iter().map(|(provider, model)| {
            let cost = self.prices.of(provider, model).map(|price| price.most(input, output));
            Quote { cost, least: cost, tokens }
        });
        quotes.reduce(dearer).unwrap_or_else(|| Quote { tokens, ..Quote::default() })
    }
}

/// What both may cost and use. One without a price makes the whole unknown.
fn dearer(a: Quote, b: Quote) -> Quote {
    let more = |a: Option<u64>, b: Option<u64>| Some(a?.max(b?));
    Quote {
        cost: more(a.cost, b.cost),
        least: more(a.least, b.least),
        tokens: a.tokens.max(b.tokens),
    }
}

#[cfg(test)]
mod tests {
    use muster_contracts::llm::v1::{CompleteRequest, ContentPart};
    use muster_runtime::Env;

    use super::*;

    fn target<'a>(provider: &'a str, model: &'a str) -> Target<'a> {
        Target { provider, model, thought: 0 }
    }

    fn prompt(message: ChatMessage) -> Prompt {
        let messages = vec![ChatMessage { role: "user".into(), ..message }];
        Prompt::parse(&CompleteRequest { messages, ..Default::default() }).unwrap()
    }

    fn says(content: &str) -> Prompt {
        prompt(ChatMessage { content: content.into(), ..Default::default() })
    }

    fn quotes(output_tokens: u32) -> Quotes {
        let env: Env = [("X", "")].into_iter().collect();
        Quotes { prices: Prices::from_env(&env).unwrap(), output_tokens }
    }

    #[test]
    fn a_quote_is_what_the_dearest_target_may_take() {
        let quotes = quotes(100);
        let prompt = says("hello world");
        let asked = Asked::new(&prompt);
        let (mini, large) = (target("openai", "gpt-4o-mini"), target("openai", "gpt-4o"));
        let quote = quotes.quote(&asked, 0, [mini, large]);
        let cost = Some(9 * 2_500 + 100 * 10_000);
        assert_eq!(quote, Quote { cost, least: cost, tokens: 109 });
        let quote = quotes.quote(&asked, 7, [mini]);
        assert_eq!((quote.cost, quote.least), (Some(9 * 150 + 7 * 600), quote.cost));
        assert_eq!(quotes.quote(&asked, 7, [large, target("x", "unknown")]).cost, None);
    }

    #[test]
    fn what_is_reserved_is_what_the_reply_may_be() {
        let quotes = quotes(4_096);
        let prompt = says("hello world");
        let asked = Asked::new(&prompt);
        let large = target("openai", "gpt-4o");
        let quote = quotes.quote(&asked, 0, [large]);
        assert_eq!(quote.cost, Some(9 * 2_500 + 4_096 * 10_000));
        assert_eq!(quote.least, Some(9 * 2_500 + 256 * 10_000));
        let longest = |reserved| quotes.longest(&asked, 0, large, reserved);
        assert_eq!(longest(9 * 2_500 + 4_096 * 10_000), 4_096);
        assert_eq!(longest(9 * 2_500 + 300 * 10_000 + 9_999), 300);
        assert_eq!(longest(u64::MAX), 4_096);
        assert_eq!(quotes.longest(&asked, 7, large, u64::MAX), 7);
        // What is thought beside the answer is reserved with it.
        let thinks = Target { thought: 1_024, ..large };
        let quote = quotes.quote(&asked, 100, [thinks]);
        assert_eq!(quote.cost, Some(9 * 2_500 + 1_124 * 10_000));
        assert_eq!(quotes.longest(&asked, 100, thinks, u64::MAX), 1_124);
    }

    #[tokio::test]
    async fn a_large_conversation_is_counted_and_an_image_is_what_its_model_makes_of_it() {
        let digits = says(&"7 ".repeat(100_000));
        let asked = Asked::new(&digits);
        let guessed = asked.tokens("m");
        asked.count_large().await;
        assert!(guessed < 70_000 && asked.tokens("m") > 100_000, "{guessed}");
        let words = says(&"word ".repeat(100_000));
        let guessed = Asked::new(&words).tokens("m");
        assert!((100_000..200_000).contains(&guessed), "{guessed}");
        let part = ContentPart {
            r#type: "image".into(),
            image_url: "https://x.example/a.png".into(),
            ..Default::default()
        };
        let picture = prompt(ChatMessage { parts: vec![part], ..Default::default() });
        let asked = Asked::new(&picture);
        let of = |model: &str| asked.tokens(model);
        assert_eq!((of("claude-opus-5"), of("gpt-4o")), (7 + 4_784, 7 + 1_445));
    }
}
