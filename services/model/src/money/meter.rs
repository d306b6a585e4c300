//! One call of a provider: told when it begins and when it ends, however that is, and charged.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use chrono::Utc;
use muster_contracts::gateway::v1::{LlmRequest, LlmResponse, RateLimitExceeded};
use muster_contracts::llm::v1::TokenUsage;
use muster_contracts::{HasCode, now};

use super::telemetry::{Telemetry, Told};
use super::{Asked, Prices, dollars};
use crate::error::Error;
use crate::providers::Received;

/// For whom a provider is asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Whose {
    pub(crate) request_id: String,
    pub(crate) execution_id: String,
    pub(crate) task: String,
    pub(crate) agent: String,
    pub(crate) tenant: String,
    pub(crate) key_id: String,
}

/// A call of a provider that runs. It has ended when this is dropped.
pub(crate) struct Meter<'a> {
    telemetry: Telemetry,
    prices: Prices,
    whose: Whose,
    provider: String,
    model: String,
    begun: Instant,
    /// Nothing where no reply is asked for.
    asked: Option<&'a Asked<'a>>,
    /// What has come of the reply.
    received: Received,
    /// The most tokens that the reply may have.
    most: u32,
    /// Where the cost goes.
    bills: [Bill; 2],
    ended: bool,
}

/// What the calls for one request have cost, and how many tokens they used. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Bill(Arc<Mutex<(u64, u64)>>);

impl Bill {
    fn add(&self, cost: u64, tokens: u64) {
        let mut sums = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *sums = (sums.0.saturating_add(cost), sums.1.saturating_add(tokens));
    }

    /// Cost in billionths of a dollar, and tokens.
    pub(crate) fn sums(&self) -> (u64, u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn cost(&self) -> u64 {
        self.sums().0
    }
}

impl<'a> Meter<'a> {
    /// A call begins.
    pub(crate) fn begin(
        telemetry: &Telemetry,
        prices: &Prices,
        whose: Whose,
        (provider, model, asked): (&str, &str, Option<&'a Asked<'a>>),
        bills: [Bill; 2],
    ) -> Self {
        telemetry.tell(Told::Asked(LlmRequest {
            request_id: whose.request_id.clone(),
            provider: provider.to_owned(),
            model: model.to_owned(),
            execution_id: whose.execution_id.clone(),
            timestamp: now(Utc::now()),
            task: whose.task.clone(),
            agent: whose.agent.clone(),
            tenant: whose.tenant.clone(),
            key_id: whose.key_id.clone(),
        }));
        Self {
            telemetry: telemetry.clone(),
            prices: prices.clone(),
            whose,
            provider: provider.to_owned(),
            model: model.to_owned(),
            begun: Instant::now(),
            asked,
            received: Received::default(),
            most: u32::MAX,
            bills,
            ended: false,
        }
    }

    /// Where what comes of the reply goes. It may have so many tokens; `None`: as many as it likes.
    pub(crate) fn received(&mut self, most: Option<u32>) -> Received {
        self.most = most.unwrap_or(u32::MAX);
        self.received.clone()
    }

    /// The provider answered with this model.
    pub(crate) fn answered(mut self, model: &str, usage: &TokenUsage) {
        if !model.is_empty() {
            // The provider's name for it may be a version that has a price of its own.
            let known = self.prices.of(&self.provider, model).is_some();
            if known || self.model.is_empty() {
                model.clone_into(&mut self.model);
            }
        }
        self.end("ok", usage);
    }

    /// The provider failed.
    pub(crate) fn failed(mut self, error: &Error) {
        if let Error::Exhausted { retry_after_ms, .. } = error {
            self.telemetry.tell(Told::LimitReached(RateLimitExceeded {
                provider: self.provider.clone(),
                model: self.model.clone(),
                retry_after: *retry_after_ms as f64 / 1_000.0,
                timestamp: now(Utc::now()),
                ..RateLimitExceeded::default()
            }));
        }
        let usage = self.cut_off();
        self.end(error.code().name(), &usage);
    }

    /// What is known of a reply that did not come to its end: nothing, where nothing of it came.
    fn cut_off(&self) -> TokenUsage {
        self.received.with(|reply| {
            let asked = || self.asked.map_or(0, |asked| asked.tokens(&self.model));
            reply.cut_off(asked, self.most)
        })
    }

    fn end(&mut self, status: &str, usage: &TokenUsage) {
        self.ended = true;
        let tokens = usage.input_tokens.saturating_add(usage.output_tokens);
        let price = match tokens {
            0 => None,
            _ => self.prices.known(&self.provider, &self.model),
        };
        let cost = price.map_or(0, |price| price.cost(usage));
        for bill in &self.bills {
            bill.add(cost, u64::from(tokens));
        }
        let whose = std::mem::take(&mut self.whose);
        self.telemetry.tell(Told::Answered(LlmResponse {
            request_id: whose.request_id,
            provider: std::mem::take(&mut self.provider),
            model: std::mem::take(&mut self.model),
            tokens_used: tokens,
            latency: self.begun.elapsed().as_secs_f64() * 1_000.0,
            cost: dollars(cost),
            execution_id: whose.execution_id,
            timestamp: now(Utc::now()),
            status: status.to_owned(),
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            cached_input_tokens: usage.cached_input_tokens,
            reasoning_tokens: usage.reasoning_tokens,
            cost_nanos: cost,
            estimated: usage.estimated,
            task: whose.task,
            agent: whose.agent,
            tenant: whose.tenant,
            key_id: whose.key_id,
        }));
    }
}

impl Drop for Meter<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let usage = self.cut_off();
            self.end("cancelled", &usage);
        }
    }
}
