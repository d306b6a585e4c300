//! Which replies are kept, and for which other requests.

use std::time::Duration;

use muster_contracts::llm::v1::{ChatMessage, CompleteRequest};
use muster_contracts::model::v1::CachePolicy;
use sha2::{Digest as _, Sha256};

use super::prompt::check_model;

/// The longest that a reply is kept, as the bucket has it.
pub(crate) const MAX_SECONDS: u32 = 3_600;
/// The least nearness that may be wished: below it texts have little in common.
pub(crate) const LEAST_SIMILARITY: f64 = 0.5;
/// The longest question that is compared with others, in bytes.
const MAX_QUESTION: usize = 8 << 10;

/// How replies are cached.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Policy {
    /// How long a reply is kept; zero: nothing is.
    pub(crate) ttl: Duration,
    /// How near a question must be to get the reply of another one; 0: only the same request gets it.
    pub(crate) similarity: f64,
    /// What makes the vectors; empty: the first model that can.
    pub(crate) embedding_model: String,
}

impl Policy {
    pub(crate) fn of(policy: &CachePolicy) -> Self {
        Self {
            ttl: Duration::from_secs(policy.ttl_seconds.into()),
            similarity: policy.similarity,
            embedding_model: policy.embedding_model.clone(),
        }
    }
}

/// Checks what somebody wishes.
pub(crate) fn check(policy: &CachePolicy) -> Result<(), String> {
    let CachePolicy { ttl_seconds, similarity, embedding_model } = policy;
    if *ttl_seconds > MAX_SECONDS {
        return Err(format!("ttl_seconds is {ttl_seconds}, but must be at most {MAX_SECONDS}"));
    }
    check_similarity(*similarity).map_err(|what| format!("similarity is {similarity}, {what}"))?;
    check_model(embedding_model).map_err(|error| format!("embedding_model: {error}"))
}

/// Checks how near questions must be.
pub(crate) fn check_similarity(similarity: f64) -> Result<(), String> {
    if similarity == 0.0 || (LEAST_SIMILARITY..=1.0).contains(&similarity) {
        return Ok(());
    }
    Err(format!("but must be {LEAST_SIMILARITY} to 1, or 0 for the same requests only"))
}

/// The last message of a user, which another one may have said in other words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Question<'a> {
    pub(crate) text: &'a str,
    /// A hash of everything else in the request: only questions with the same one are compared.
    context: [u8; 32],
}

impl<'a> Question<'a> {
    /// None where only the same request may get the reply: it may call tools, shows images, or ends with what no user said.
    pub(crate) fn of(request: &'a CompleteRequest, asked: &str) -> Option<Self> {
        let (last, before) = request.messages.split_last()?;
        let is_question = last.role == "user" && last.parts.is_empty();
        let fits = (1..=MAX_QUESTION).contains(&last.content.trim().len());
        if !is_question || !fits || !request.tools.is_empty() {
            return None;
        }
        let rest = ChatMessage { content: String::new(), ..last.clone() };
        let what = serde_json::json!([
            request.tenant,
            asked,
            before,
            rest,
            request.params,
            request.offline,
            decisive(&last.content),
        ]);
        let context = Sha256::digest(what.to_string().as_bytes()).into();
        Some(Self { text: &last.content, context })
    }

    /// The context, where this made the vectors: those of two models are never compared.
    pub(crate) fn context(&self, made_by: &str) -> String {
        let hash = Sha256::new().chain_update(self.context).chain_update(made_by).finalize();
        hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The words that no vector tells well enough, in their order: numbers, and what turns a sentence into its opposite.
fn decisive(text: &str) -> Vec<String> {
    let text = text.to_lowercase().replace('\u{2019}', "'");
    let known = |c: char| c.is_alphanumeric() || "'.,".contains(c);
    let words = text.split(|c: char| !known(c)).map(|word| word.trim_matches(['\'', '.', ',']));
    let decides = |word: &&str| {
        word.contains(|c: char| c.is_numeric())
            || word.ends_with("n't")
            || ["not", "no", "never", "without", "except", "cannot"].contains(word)
    };
    words.filter(decides).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use muster_contracts::llm::v1::{ChatTool, ContentPart, Parameters};

    use super::*;

    fn asks(content: &str) -> CompleteRequest {
        let message = |role: &str, content: &str| ChatMessage {
            role: role.into(),
            content: content.into(),
            ..Default::default()
        };
        let messages = vec![message("system", "Be brief."), message("user", content)];
        CompleteRequest { tenant: "acme".into(), messages, ..Default::default() }
    }

    fn context(request: &CompleteRequest) -> String {
        Question::of(request, "openai").unwrap().context("m")
    }

    #[test]
    fn only_the_question_may_differ() {
        let first = asks("What is in the harbour?");
        let same = context(&asks("What lies in the harbour?"));
        assert_eq!(context(&first), same);
        assert_ne!(Question::of(&first, "other").unwrap().context("m"), same);
        assert_ne!(Question::of(&first, "openai").unwrap().context("n"), same);
        let params = Some(Parameters { seed: Some(1), ..Default::default() });
        let mut long = first.clone();
        long.messages.insert(1, ChatMessage::default());
        for other in [
            CompleteRequest { tenant: "other".into(), ..first.clone() },
            CompleteRequest { params, ..first.clone() },
            long,
        ] {
            assert_ne!(context(&other), same);
        }
    }

    #[test]
    fn numbers_and_negations_must_be_the_same() {
        for (one, other, expected) in [
            ("Ships of 1914?", "Which ships are from 1914?", true),
            ("Ships of 1914?", "Ships of 1915?", false),
            ("From 3 to 5", "From 5 to 3", false),
            ("Is it open?", "Is it not open?", false),
            ("Isn't it open?", "Isn\u{2019}t it open now?", true),
            ("It costs 3.5.", "It costs 35.", false),
        ] {
            let same = context(&asks(one)) == context(&asks(other));
            assert_eq!(same, expected, "{one} {other}");
        }
    }

    #[test]
    fn tools_images_and_other_ends_are_answered_for_the_same_request_only() {
        let request = asks("hi");
        let tools = CompleteRequest { tools: vec![ChatTool::default()], ..request.clone() };
        let mut image = request.clone();
        image.messages[1].parts.push(ContentPart::default());
        let mut assistant = request.clone();
        assistant.messages[1].role = "assistant".into();
        let long = asks(&"x".repeat(MAX_QUESTION + 1));
        for request in [tools, image, assistant, long, asks("  "), CompleteRequest::default()] {
            assert_eq!(Question::of(&request, ""), None);
        }
    }

    #[test]
    fn a_wish_out_of_range_is_told() {
        let good = CachePolicy { ttl_seconds: 60, similarity: 0.9, embedding_model: String::new() };
        assert_eq!(check(&good), Ok(()));
        assert_eq!(check(&CachePolicy::default()), Ok(()));
        let long = CachePolicy { ttl_seconds: 3_601, ..good.clone() };
        assert!(check(&long).unwrap_err().contains("ttl_seconds is 3601"));
        for similarity in [0.3, 1.1, -1.0, f64::NAN] {
            let wish = CachePolicy { similarity, ..good.clone() };
            assert!(check(&wish).unwrap_err().contains("0.5 to 1"));
        }
    }
}
