//! Replies that were given before: the same request of the same tenant has the same reply, for a while, and where that is wished a question that is nearly the same.
//!
//! They lie in the key-value bucket `CACHE`, which all replicas share: one look-up for each request that may be cached, and what is cleared is cleared for all.

mod near;

use chrono::Utc;
use muster_bus::{Bucket, Bus, Kv, Versioned};
use muster_contracts::cache::v1::{CacheHit, CacheInvalidated, CacheMiss};
use muster_contracts::gateway::v1::TokensSaved;
use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse};
use muster_contracts::{Fault, now};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tracing::debug;

use self::near::Near;
pub(crate) use self::near::Spot;
use crate::domain::caching::Policy;
use crate::money::{Telemetry, Told};

/// The largest reply that is kept, in bytes.
const MAX_REPLY: usize = 256 << 10;
/// What the keys of replies begin with.
const SPACE: &str = "reply.";

/// Replies that were given before. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cache {
    replies: Kv<Kept>,
    /// For whom no name for models says it.
    policy: Policy,
    near: Near,
    telemetry: Telemetry,
}

/// A reply in the bucket.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    until_ms: i64,
    reply: CompleteResponse,
}

/// Where the reply to a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place(String);

impl Cache {
    pub(crate) fn new(bus: &Bus, policy: Policy, telemetry: Telemetry) -> Self {
        Self { replies: bus.kv(Bucket::Cache), policy, near: Near::new(bus), telemetry }
    }

    /// Keeps up with the questions that other replicas were asked. Never ends.
    pub(crate) async fn listen(self) {
        self.near.listen().await;
    }

    /// How a request is cached whose name for models says this; nothing where it must not be.
    pub(crate) fn policy<'a>(
        &'a self,
        request: &CompleteRequest,
        named: Option<&'a Policy>,
    ) -> Option<&'a Policy> {
        let policy = named.unwrap_or(&self.policy);
        (!policy.ttl.is_zero() && !request.no_cache).then_some(policy)
    }

    /// The reply that was given before to the same request.
    pub(crate) async fn find(
        &self,
        place: &Place,
        request: &CompleteRequest,
    ) -> Option<CompleteResponse> {
        self.get(place, request, 1.0).await
    }

    /// The reply that was given before to the nearest question, where it is near enough.
    pub(crate) async fn find_near(
        &self,
        spot: &Spot,
        least: f64,
        request: &CompleteRequest,
    ) -> Option<CompleteResponse> {
        let (place, similarity) = self.near.nearest(spot, least)?;
        self.get(&place, request, similarity).await
    }

    /// Tells that there was none.
    pub(crate) fn missed(&self, place: &Place) {
        self.telemetry.tell(Told::CacheMiss(CacheMiss {
            key: place.0.clone(),
            backend: "key-value".to_owned(),
            timestamp: now(Utc::now()),
        }));
    }

    /// A bucket that cannot be read is one without the reply.
    async fn get(
        &self,
        place: &Place,
        request: &CompleteRequest,
        similarity: f64,
    ) -> Option<CompleteResponse> {
        let now_ms = Utc::now().timestamp_millis();
        let found = self.replies.get(&format!("{SPACE}{}", place.0)).await;
        let found = found.unwrap_or_else(|error| {
            debug!(%error, "cached reply cannot be read");
            None
        });
        match found {
            Some(Versioned { value, .. }) if value.until_ms > now_ms => {
                self.telemetry.tell(Told::CacheHit(CacheHit {
                    key: place.0.clone(),
                    ttl_remaining: (value.until_ms - now_ms) as f64 / 1_000.0,
                    backend: "key-value".to_owned(),
                    timestamp: now(Utc::now()),
                    similarity,
                }));
                self.saved(request, &value);
                Some(CompleteResponse { cached: true, cost_nanos: 0, similarity, ..value.reply })
            }
            _ => None,
        }
    }

    fn saved(&self, request: &CompleteRequest, kept: &Kept) {
        let usage = kept.reply.usage.unwrap_or_default();
        self.telemetry.tell(Told::Saved(TokensSaved {
            by: "cache".to_owned(),
            tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            execution_id: request.execution_id.clone(),
            timestamp: now(Utc::now()),
            agent: request.agent.clone(),
            task: request.task.clone(),
            tenant: request.tenant.clone(),
            model: kept.reply.model.clone(),
            ..TokensSaved::default()
        }));
    }

    /// Keeps a reply, beside whatever else is done. A full bucket keeps nothing more until something in it is too old.
    pub(crate) fn keep(
        &self,
        place: Place,
        spot: Option<Spot>,
        policy: &Policy,
        reply: &CompleteResponse,
    ) {
        // A reply that was cut off is not what another one wants.
        let is_whole = matches!(reply.finish_reason.as_str(), "stop" | "tool_calls");
        let message = reply.message.as_ref();
        let size = message.map_or(0, |message| message.content.len() + message.reasoning.len());
        if !is_whole || size > MAX_REPLY {
            return;
        }
        let ttl = i64::try_from(policy.ttl.as_millis()).unwrap_or(i64::MAX);
        let until_ms = Utc::now().timestamp_millis().saturating_add(ttl);
        let (cache, kept) = (self.clone(), Kept { until_ms, reply: reply.clone() });
        tokio::spawn(async move {
            let put = cache.replies.put(&format!("{SPACE}{}", place.0), &kept).await;
            let put = match (put, spot) {
                // Behind the reply: who finds the question finds its reply.
                (Ok(_), Some(spot)) => cache.near.put(&place, spot, until_ms).await,
                (put, _) => put.map(drop),
            };
            if let Err(error) = put {
                debug!(%error, "reply could not be cached");
            }
        });
    }

    /// Forgets the replies whose keys fit a pattern, in which `*` fits any part.
    ///
    /// # Errors
    /// UNAVAILABLE where the bucket cannot be read or written.
    pub(crate) async fn clear(&self, pattern: &str, reason: &str) -> Result<usize, Fault> {
        let mut cleared = 0;
        for key in self.replies.keys(SPACE).await? {
            if fits(pattern, key.strip_prefix(SPACE).unwrap_or(&key)) {
                self.replies.delete(&key).await?;
                cleared += 1;
            }
        }
        self.near.clear(|place| fits(pattern, place)).await?;
        self.telemetry.tell(Told::CacheCleared(CacheInvalidated {
            pattern: pattern.to_owned(),
            reason: reason.to_owned(),
            timestamp: now(Utc::now()),
        }));
        Ok(cleared)
    }
}

impl Place {
    /// `<tenant>.<provider>.<model>.<hash>`, as the request names them.
    /// `asked` says who is asked: other models have other replies.
    pub(crate) fn of(request: &CompleteRequest, asked: &str) -> Self {
        // The fields of a message are written in the same order each time, and so are the keys of its JSON objects.
        let what = serde_json::json!([
            request.tenant,
            asked,
            request.messages,
            request.tools,
            request.params,
            request.offline,
        ]);
        let hash = Sha256::digest(what.to_string().as_bytes());
        let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
        let [tenant, provider, model] =
            [&request.tenant, &request.provider, &request.model].map(|name| part(name));
        Self(format!("{tenant}.{provider}.{model}.{hash}"))
    }
}

/// A name within a key.
fn part(name: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    let part: String = name.chars().take(100).map(|c| if fits(c) { c } else { '_' }).collect();
    if part.is_empty() { "-".to_owned() } else { part }
}

/// Whether a text fits a pattern in which `*` fits any part of it, also none.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(mut text) = text.strip_prefix(start) else { return false };
    let mut parts = rest.split('*').peekable();
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return text.ends_with(part);
        }
        match text.split_once(part) {
            Some((_, behind)) => text = behind,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use muster_contracts::llm::v1::{ChatMessage, Parameters};

    use super::*;

    #[test]
    fn a_star_fits_any_part() {
        for (pattern, text, expected) in [
            ("*", "a.b.c", true),
            ("acme.*", "acme.openai.m.1", true),
            ("acme.*", "acm.openai.m.1", false),
            ("*.gpt-4o.*", "-.openai.gpt-4o.ff", true),
            ("*.gpt-4o.*", "-.openai.gpt-4o-mini.ff", false),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("ab*ba", "aba", false),
            ("a", "a", true),
            ("a", "ab", false),
            ("**", "", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn another_request_or_tenant_has_another_place() {
        let message = |content: &str| ChatMessage { content: content.into(), ..Default::default() };
        let request = CompleteRequest {
            provider: "default".into(),
            model: "llama3:8b".into(),
            messages: vec![message("hi")],
            ..Default::default()
        };
        let place = Place::of(&request, "ollama/llama3:8b");
        assert!(place.0.starts_with("-.default.llama3_8b."), "{place:?}");
        // Who asks and under which key does not matter.
        let same = CompleteRequest {
            idempotency_key: "k".into(),
            session: "s".into(),
            key_id: "v".into(),
            ..request.clone()
        };
        assert_eq!(Place::of(&same, "ollama/llama3:8b"), place);
        let params = Some(Parameters { max_tokens: 7, ..Default::default() });
        for other in [
            CompleteRequest { tenant: "acme".into(), ..request.clone() },
            CompleteRequest { messages: vec![message("ho")], ..request.clone() },
            CompleteRequest { params, ..request.clone() },
        ] {
            assert_ne!(Place::of(&other, "ollama/llama3:8b"), place);
        }
        assert_ne!(Place::of(&request, "other/llama3:8b"), place);
    }
}
