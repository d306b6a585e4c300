//! What was answered before: to the same request, or to a question that is nearly the same.

use std::time::Duration;

use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse};
use tokio::time::timeout;
use tracing::debug;

use crate::app::App;
use crate::cache::{Place, Spot};
use crate::domain::caching::{Policy, Question};
use crate::handlers::embed;
use crate::limits::Caller;
use crate::routing::Plan;

/// How long the vector of a question is waited for: behind it the request is answered as if nothing were cached.
const WITHIN: Duration = Duration::from_secs(5);

/// What a look into the cache found.
pub(super) enum Looked {
    Found(Box<CompleteResponse>),
    /// Nothing; the reply is to be kept where that is told.
    Missing(Option<Keeping>),
}

/// Where a reply is to be kept.
pub(super) struct Keeping {
    policy: Policy,
    place: Place,
    spot: Option<Spot>,
    /// What the look did cost.
    pub(super) cost_nanos: u64,
}

impl Keeping {
    pub(super) fn keep(self, app: &App, reply: &CompleteResponse) {
        app.cache.keep(self.place, self.spot, &self.policy, reply);
    }
}

pub(super) async fn look(
    app: &App,
    request: &CompleteRequest,
    plan: &Plan,
    caller: Caller<'_>,
) -> Looked {
    let Some(policy) = app.cache.policy(request, plan.cache.as_ref()) else {
        return Looked::Missing(None);
    };
    let asked = targets(plan);
    let place = Place::of(request, &asked);
    if let Some(reply) = app.cache.find(&place, request).await {
        return Looked::Found(Box::new(reply));
    }
    let question = Question::of(request, &asked).filter(|_| policy.similarity > 0.0);
    let (spot, cost_nanos) = match question {
        Some(question) => spot(app, &question, policy, caller).await,
        None => (None, 0),
    };
    if let Some(spot) = &spot
        && let Some(reply) = app.cache.find_near(spot, policy.similarity, request).await
    {
        return Looked::Found(Box::new(CompleteResponse { cost_nanos, ..reply }));
    }
    app.cache.missed(&place);
    Looked::Missing(Some(Keeping { policy: policy.clone(), place, spot, cost_nanos }))
}

/// Where a question is among others, and what it did cost to know that. Without a vector only the same request is found.
async fn spot(
    app: &App,
    question: &Question<'_>,
    policy: &Policy,
    caller: Caller<'_>,
) -> (Option<Spot>, u64) {
    // Its own reservation, beside that of the reply.
    let key = format!("{}/near", caller.idempotency_key);
    let caller = Caller { idempotency_key: &key, is_recorded: false, ..caller };
    let asked = embed::vectors(app, &policy.embedding_model, question.text, caller);
    match timeout(WITHIN, Box::pin(asked)).await {
        Ok(Ok(answer)) => {
            let made_by = format!("{}/{}", answer.provider, answer.model);
            let vector = answer.vectors.first();
            let spot =
                vector.and_then(|found| Spot::new(question.context(&made_by), &found.values));
            (spot, answer.cost_nanos)
        }
        Ok(Err(error)) => {
            debug!(%error, "question has no vector: only the same request is looked for");
            (None, 0)
        }
        Err(_elapsed) => {
            debug!("question has no vector in time: only the same request is looked for");
            (None, 0)
        }
    }
}

/// Who may be asked, in no order: replies of other models are others.
fn targets(plan: &Plan) -> String {
    let mut targets: Vec<String> = plan.routes.iter().map(ToString::to_string).collect();
    targets.sort();
    targets.join(" ")
}
