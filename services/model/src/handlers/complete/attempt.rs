//! One try of one target: limited, metered, streamed.

use std::borrow::Cow;

use futures::future::join;
use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse};
use tokio::sync::mpsc;
use tracing::info;

use super::caller;
use super::tokens::Tokens;
use crate::app::App;
use crate::domain::prompt::Prompt;
use crate::domain::thinking;
use crate::error::Error;
use crate::limits::{Admission, Caller, Charged};
use crate::money::{Asked, Meter, Target, Whose};
use crate::providers::{Configured, Output};
use crate::routing::{Failure, Route};

/// Pieces that wait for the bus before the provider has to wait.
const PIECES: usize = 256;

/// What every try of a request shares.
#[derive(Clone, Copy)]
pub(super) struct Try<'a> {
    pub(super) app: &'a App,
    pub(super) request: &'a CompleteRequest,
    pub(super) prompt: &'a Prompt,
    pub(super) asked: &'a Asked<'a>,
    /// What the reply and all its tries may cost, and what they have.
    pub(super) admitted: &'a Admission,
    pub(super) charged: &'a Charged,
}

impl Try<'_> {
    /// Asks one target once. Its tokens begin at sequence 1.
    pub(super) async fn make(self, route: &Route) -> Result<CompleteResponse, Failure> {
        let mut tokens = Tokens::new(self.app, self.request);
        let asked = self.ask(route, &mut tokens).await;
        asked.map_err(|error| Failure { error, streamed: tokens.has_begun() })
    }

    async fn ask(self, route: &Route, tokens: &mut Tokens<'_>) -> Result<CompleteResponse, Error> {
        let Self { app, prompt, asked, .. } = self;
        let _slot = app.slots.take().await?;
        let found = app.routing.provider(route)?;
        let target = target(found, route, prompt);
        let Target { provider: name, model, .. } = target;
        let caller = Caller { provider: name, model, ..caller(self.request, self.charged) };
        let quote = || app.quotes.quote(asked, prompt.max_tokens, [target]);
        let room = app.gate.room(&caller, self.admitted, quote).await?;
        let admitted = app.gate.admit_provider(&caller, quote).await?;
        let granted = [room, admitted.left()].into_iter().flatten().min();
        let prompt = &*self.within(granted, target);
        let bills = [self.admitted.bill.clone(), admitted.bill.clone()];
        let (told, prices) = (&app.telemetry, &app.quotes.prices);
        let mut meter =
            Meter::begin(told, prices, whose(self.request), (name, model, Some(asked)), bills);
        let received = meter.received(prompt.bound);
        let (sender, receiver) = mpsc::channel(PIECES);
        let output = Output::new(sender, received);
        let asking = found.provider().complete(&route.model, prompt, output);
        let (reply, ()) = join(asking, tokens.forward(receiver)).await;
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => {
                meter.failed(&error);
                return Err(error);
            }
        };
        let usage = reply.usage(&prompt.messages, &prompt.tools);
        meter.answered(&reply.model, &usage);
        tokens.last(&reply.finish_reason, &usage).await;
        info!(
            provider = name,
            model = reply.model,
            input_tokens = usage.input_tokens,
            output_tokens = usage.output_tokens,
            estimated = usage.estimated,
            finish_reason = reply.finish_reason,
            "reply received"
        );
        Ok(CompleteResponse {
            message: Some(reply.message),
            finish_reason: reply.finish_reason,
            usage: Some(usage),
            provider: name.to_owned(),
            model: reply.model,
            ..CompleteResponse::default()
        })
    }
}

impl<'a> Try<'a> {
    /// The prompt, with a bound for a reply that must not cost more than was reserved for it.
    fn within(self, granted: Option<u64>, target: Target<'_>) -> Cow<'a, Prompt> {
        let Self { app, prompt, asked, .. } = self;
        let Some(granted) = granted else { return Cow::Borrowed(prompt) };
        let bound = app.quotes.longest(asked, prompt.max_tokens, target, granted);
        Cow::Owned(Prompt { bound: Some(bound), ..prompt.clone() })
    }
}

/// Whom a route asks.
pub(super) fn target<'a>(found: &'a Configured, route: &'a Route, prompt: &Prompt) -> Target<'a> {
    let info = &found.info;
    let model = if route.model.is_empty() { &info.default_model } else { &route.model };
    let thought = thinking::budget(&info.dialect, model, prompt.effort);
    Target { provider: &info.name, model, thought }
}

fn whose(request: &CompleteRequest) -> Whose {
    Whose {
        request_id: request.idempotency_key.clone(),
        execution_id: request.execution_id.clone(),
        task: request.task.clone(),
        agent: request.agent.clone(),
        tenant: request.tenant.clone(),
        key_id: request.key_id.clone(),
    }
}
