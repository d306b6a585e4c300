//! What was answered before: to the same request, or to a question that is nearly the same.

use std::time::Duration;

use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse};
use tokio::time::timeout;
use tracing::debug;

use crate::app::App;
use crate::cache::{Place, Spot};
use crate::domain::caching::{Policy, Question};
use crate::handlers::embed::OneText;
use crate::limits::{Admission, Caller, Quote};
use crate::routing::Plan;

/// How long the vector of a question is waited for: behind it the request is answered as if nothing were cached.
const WITHIN: Duration = Duration::from_secs(5);

/// What a look into the cache found.
pub(super) enum Looked<'a> {
    Found(Box<CompleteResponse>),
    /// Nothing; the reply is to be kept where that is told.
    Missing(Option<Box<Keeping<'a>>>),
}

/// Where a reply is to be kept.
pub(super) struct Keeping<'a> {
    policy: Policy,
    place: Place,
    /// What the vector is made of that tells where the question is among others.
    near: Option<(Question<'a>, OneText)>,
    spot: Option<Spot>,
}

impl Keeping<'_> {
    /// What the vector of the question may cost; nothing where none is made.
    pub(super) fn quote(&self, app: &App) -> Option<Quote> {
        self.near.as_ref().map(|(_, text)| text.quote(app))
    }

    /// The reply that was given before to a question that is nearly the same. The vector is paid from what the request has reserved: nobody pays for that of one that is refused.
    pub(super) async fn near(
        &mut self,
        app: &App,
        request: &CompleteRequest,
        caller: Caller<'_>,
        admitted: &Admission,
    ) -> Option<CompleteResponse> {
        if let Some((question, text)) = &self.near
            && app.gate.takes(&text.quote(app), admitted)
        {
            self.spot = spot(app, (question, text), caller, admitted).await;
        }
        if let Some(spot) = &self.spot
            && let Some(reply) = app.cache.find_near(spot, self.policy.similarity, request).await
        {
            return Some(reply);
        }
        app.cache.missed(&self.place);
        None
    }

    pub(super) fn keep(self, app: &App, reply: &CompleteResponse) {
        app.cache.keep(self.place, self.spot, &self.policy, reply);
    }
}

/// Looks for the reply to the same request.
pub(super) async fn look<'a>(app: &App, request: &'a CompleteRequest, plan: &Plan) -> Looked<'a> {
    let Some(policy) = app.cache.policy(request, plan.cache.as_ref()) else {
        return Looked::Missing(None);
    };
    let asked = targets(plan);
    let place = Place::of(request, &asked);
    if let Some(reply) = app.cache.find(&place, request).await {
        return Looked::Found(Box::new(reply));
    }
    let question = Question::of(request, &asked).filter(|_| policy.similarity > 0.0);
    let near = match question {
        Some(question) => text(app, question, policy, &request.idempotency_key).await,
        None => None,
    };
    Looked::Missing(Some(Box::new(Keeping { policy: policy.clone(), place, near, spot: None })))
}

async fn text<'a>(
    app: &App,
    question: Question<'a>,
    policy: &Policy,
    key: &str,
) -> Option<(Question<'a>, OneText)> {
    match OneText::new(app, &policy.embedding_model, question.text, key).await {
        Ok(text) => Some((question, text)),
        Err(error) => {
            debug!(%error, "nobody makes vectors: only the same request is looked for");
            None
        }
    }
}

/// Where a question is among others. Without a vector only the same request is found.
async fn spot(
    app: &App,
    (question, text): (&Question<'_>, &OneText),
    caller: Caller<'_>,
    admitted: &Admission,
) -> Option<Spot> {
    match timeout(WITHIN, Box::pin(text.vector(app, caller, &admitted.bill))).await {
        Ok(Ok(answer)) => {
            let made_by = format!("{}/{}", answer.provider, answer.model);
            let vector = answer.vectors.first()?;
            Spot::new(question.context(&made_by), &vector.values)
        }
        Ok(Err(error)) => {
            debug!(%error, "question has no vector: only the same request is looked for");
            None
        }
        Err(_elapsed) => {
            debug!("question has no vector in time: only the same request is looked for");
            None
        }
    }
}

/// Who may be asked, in no order: replies of other models are others.
fn targets(plan: &Plan) -> String {
    let mut targets: Vec<String> = plan.routes.iter().map(ToString::to_string).collect();
    targets.sort();
    targets.join(" ")
}
