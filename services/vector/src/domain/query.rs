//! A checked search.

use muster_contracts::vector::v1::SearchRequest;
use serde_json::Value;

use super::document::object;
use super::{Problem, collection, no_nul};

const MAX_CHARACTERS: usize = 4096;
const MAX_TOP_K: u32 = 100;
const DEFAULT_TOP_K: u32 = 8;

/// What is searched for, and where.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    pub(crate) collection: String,
    pub(crate) text: String,
    pub(crate) top_k: usize,
    /// Only documents whose metadata holds this object.
    pub(crate) filter: Value,
    /// Whether the text uses a search engine's operators (`"a phrase"`, `-without`), which must not be loosened.
    pub(crate) exact: bool,
    pub(crate) execution_id: String,
}

impl Query {
    /// Checks every field.
    pub(crate) fn parse(request: &SearchRequest) -> Result<Self, Problem> {
        let length = request.query.chars().count();
        if length > MAX_CHARACTERS {
            return Err(Problem::new(format!(
                "`query` has {length} characters, but at most {MAX_CHARACTERS} are searched for: shorten it"
            )));
        }
        if request.query.trim().is_empty() {
            return Err(Problem::new(format!(
                "`query` is {:?}, but a search needs at least one word",
                super::excerpt(&request.query)
            )));
        }
        no_nul("query", &Value::String(request.query.clone()))?;
        if request.top_k > MAX_TOP_K {
            return Err(Problem::new(format!(
                "`top_k` is {}, but it is 1 to {MAX_TOP_K}, or 0 for {DEFAULT_TOP_K}",
                request.top_k
            )));
        }
        let filter = object(request.filter.as_deref());
        no_nul("filter", &filter)?;
        let top_k = if request.top_k == 0 { DEFAULT_TOP_K } else { request.top_k };
        Ok(Self {
            collection: collection(&request.collection)?,
            text: request.query.clone(),
            top_k: usize::try_from(top_k).unwrap_or(usize::MAX),
            filter,
            exact: uses_operators(&request.query),
            execution_id: request.execution_id.clone(),
        })
    }
}

fn uses_operators(text: &str) -> bool {
    let excludes = |word: &str| {
        word.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_alphanumeric()))
    };
    text.matches('"').count() >= 2 || text.split_whitespace().any(excludes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(query: &str, top_k: u32) -> SearchRequest {
        SearchRequest {
            collection: "notes".into(),
            query: query.into(),
            top_k,
            ..Default::default()
        }
    }

    #[test]
    fn limits_are_checked_and_named() {
        fn check(query: &str, top_k: u32, expected: &str) {
            let problem = Query::parse(&request(query, top_k)).unwrap_err().to_string();
            assert!(problem.contains(expected), "{problem}");
        }
        check(&"é".repeat(4097), 1, "4097 characters");
        check("a", 101, "`top_k` is 101");
        check("  ", 1, "at least one word");
        check("a\0", 1, "NUL");
        assert_eq!(Query::parse(&request(&"é".repeat(4096), 100)).unwrap().top_k, 100);
        assert_eq!(Query::parse(&request("a", 0)).unwrap().top_k, 8);
    }

    #[test]
    fn only_operators_make_a_query_exact() {
        let exact = |query| Query::parse(&request(query, 0)).unwrap().exact;
        assert!(!exact("what is a well-known broker - and why?"));
        assert!(!exact("a screen of 5\""));
        assert!(exact("\"durable consumer\" nats"));
        assert!(exact("nats -kafka"));
    }
}
