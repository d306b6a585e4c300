//! Asks a model for one reply, once for each idempotency key.

mod attempt;
mod cached;
mod tokens;

use muster_bus::Repeat;
use muster_contracts::llm::v1::{CompleteRequest, CompleteResponse};
use muster_contracts::subject;

use self::attempt::Try;
use self::cached::Looked;
use self::tokens::Tokens;
use crate::app::App;
use crate::domain::prompt::Prompt;
use crate::error::Error;
use crate::limits::{Caller, Charged};
use crate::money::Asked;
use crate::routing::Plan;

pub(crate) async fn complete(
    app: App,
    request: CompleteRequest,
) -> Result<CompleteResponse, Error> {
    let prompt = Prompt::parse(&request)?;
    if !request.session.is_empty() {
        // What cannot be streamed must be known before it is paid.
        subject::token("session", &request.session)
            .map_err(|error| Error::invalid(error.to_string()))?;
    }
    // A provider may have its key in the store: a process that begins must not say that it has none.
    app.directory.ready().await?;
    let plan =
        app.routing.plan(&request.provider, &request.model, &request.idempotency_key).await?;
    let call = app.calls.begin(&request.execution_id, &request.task);
    let session = app.sessions.begin(&request);
    // On the heap: a call of a provider is much state, and it is kept inside of what records it.
    let ask = || async {
        let charged = Charged::default();
        let asked = tokio::select! {
            biased;
            // Whoever drops the call drops the connection to the provider: what is not read is not made.
            () = call.cancelled() => Err(Error::Cancelled(request.task.clone())),
            () = session.abandoned() => Err(Error::Abandoned),
            asked = Box::pin(ask(&app, &request, &prompt, &plan, &charged)) => asked,
        };
        if asked.is_err() {
            // Who asks again must find what this try has cost.
            app.gate.settled(&charged).await;
        }
        asked.map_err(|error| error.fault())
    };
    if request.unrecorded {
        // Two writes and two reads of the record less: nobody will ever ask for it.
        return Ok(ask().await?);
    }
    let (response, replayed) = app.replies.run(&request.idempotency_key, Repeat::Safe, ask).await?;
    Ok(CompleteResponse { replayed, ..response })
}

/// Who asks, what was answered before, what it may cost, who answers, what it did cost.
async fn ask(
    app: &App,
    request: &CompleteRequest,
    prompt: &Prompt,
    plan: &Plan,
    charged: &Charged,
) -> Result<CompleteResponse, Error> {
    let caller = caller(request, charged);
    let owners = app.gate.check(&caller).await?;
    let mut keeping = match cached::look(app, request, plan).await {
        Looked::Found(reply) => return given(app, request, *reply).await,
        Looked::Missing(keeping) => keeping,
    };
    let asked = Asked::new(prompt);
    if app.gate.counts(&owners) {
        asked.count_large().await;
    }
    let vector = keeping.as_ref().and_then(|keeping| keeping.quote(app));
    let quote = || {
        let found = plan.routes.iter().filter_map(|route| {
            app.routing.provider(route).ok().map(|found| attempt::target(found, route, prompt))
        });
        app.quotes.quote(&asked, prompt.max_tokens, found).and(vector.as_ref())
    };
    // Charged with what the bill says when it is dropped, however that comes.
    let admitted = app.gate.admit(&caller, owners, quote).await?;
    if let Some(keeping) = &mut keeping
        && let Some(reply) = keeping.near(app, request, caller, &admitted).await
    {
        let reply = CompleteResponse { cost_nanos: admitted.bill.cost(), ..reply };
        return given(app, request, reply).await;
    }
    let one = Try { app, request, prompt, asked: &asked, admitted: &admitted, charged };
    let reply = app.routing.ask(plan, |route| one.make(route)).await?;
    let reply = CompleteResponse { cost_nanos: admitted.bill.cost(), ..reply };
    if let Some(keeping) = keeping {
        keeping.keep(app, &reply);
    }
    Ok(reply)
}

/// A reply that was given before.
async fn given(
    app: &App,
    request: &CompleteRequest,
    reply: CompleteResponse,
) -> Result<CompleteResponse, Error> {
    Tokens::new(app, request).whole(&reply).await;
    Ok(reply)
}

/// The request, as far as it matters who may ask.
fn caller<'a>(request: &'a CompleteRequest, charged: &'a Charged) -> Caller<'a> {
    Caller {
        tenant: &request.tenant,
        key_id: &request.key_id,
        agent: &request.agent,
        execution_id: &request.execution_id,
        budget: request.budget_nanos,
        budget_run: &request.budget_run,
        provider: &request.provider,
        model: &request.model,
        idempotency_key: &request.idempotency_key,
        is_recorded: !request.unrecorded,
        charged: Some(charged),
    }
}
