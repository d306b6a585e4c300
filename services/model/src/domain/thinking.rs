//! How much a model may think: tokens that are paid for as those of its answer.

use super::prompt::{Effort, Prompt};

/// Less is refused, or not worth it.
const LEAST: u32 = 1_024;

/// What a model of this dialect may think beside its answer, where it is told a number: Claude before 4.6 and Gemini before 3. Others are told a level, and what they think counts as a part of `max_tokens`.
pub(crate) fn budget(dialect: &str, model: &str, effort: Option<Effort>) -> u32 {
    let parts: &[&str] = match dialect {
        "anthropic" => &["claude-3", "-4-0", "-4-1", "-4-2", "-4-5"],
        "gemini" => &["gemini-1", "gemini-2"],
        _ => &[],
    };
    match effort.filter(|_| parts.iter().any(|part| model.contains(part))) {
        None => 0,
        Some(Effort::Low) => 1_024,
        Some(Effort::Medium) => 8_192,
        Some(Effort::High) => 24_576,
    }
}

/// What is told such a model: the most tokens of thoughts and answer together, and of them for thoughts. `answer` is the most that the answer alone may have; more than the prompt's bound is not paid for.
pub(crate) fn split(prompt: &Prompt, answer: u32, budget: u32) -> (u32, Option<u32>) {
    let whole = answer.saturating_add(budget);
    let limit = prompt.bound.map_or(whole, |bound| bound.min(whole));
    // Half of what is paid for is left for the answer, or as much as it may have.
    let thought = budget.min((limit / 2).max(limit.saturating_sub(answer)));
    (limit, Some(thought).filter(|thought| *thought >= LEAST))
}

#[cfg(test)]
mod tests {
    use muster_contracts::llm::v1::{ChatMessage, CompleteRequest};

    use super::*;

    #[test]
    fn only_models_that_are_told_a_number_think_beside_their_answer() {
        let high = Some(Effort::High);
        assert_eq!(budget("anthropic", "claude-haiku-4-5", high), 24_576);
        assert_eq!(budget("anthropic", "claude-opus-5", high), 0);
        assert_eq!(budget("gemini", "gemini-2.5-pro", Some(Effort::Low)), 1_024);
        assert_eq!(budget("gemini", "gemini-3.1-pro", high), 0);
        assert_eq!(budget("openai", "claude-haiku-4-5", high), 0);
        assert_eq!(budget("anthropic", "claude-haiku-4-5", None), 0);
    }

    #[test]
    fn what_is_paid_for_is_shared_by_thoughts_and_answer() {
        let message = ChatMessage { role: "user".into(), ..Default::default() };
        let request = CompleteRequest { messages: vec![message], ..Default::default() };
        let prompt = |bound| Prompt { bound, ..Prompt::parse(&request).unwrap() };
        assert_eq!(split(&prompt(None), 100, 1_024), (1_124, Some(1_024)));
        assert_eq!(split(&prompt(Some(1_124)), 100, 1_024), (1_124, Some(1_024)));
        assert_eq!(split(&prompt(Some(4_096)), 8_192, 8_192), (4_096, Some(2_048)));
        assert_eq!(split(&prompt(Some(300)), 8_192, 8_192), (300, None));
        assert_eq!(split(&prompt(Some(9)), 100, 0), (9, None));
    }
}
