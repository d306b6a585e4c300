//! Asks a model for vectors of texts.

use muster_contracts::llm::v1::{EmbedRequest, EmbedResponse, TokenUsage, Vector};

use crate::app::App;
use crate::domain::prompt::{MAX_MESSAGES, check_model};
use crate::domain::tokens;
use crate::domain::usage::Told;
use crate::error::Error;
use crate::limits::{Caller, Quote};
use crate::money::{Bill, Meter, Whose};
use crate::providers::{Configured, OFFLINE, Texts};
use crate::routing::{DEFAULT, Failure, Plan, Route};

/// The most texts of a request, and the longest vectors.
const MAX_INPUTS: usize = 2_048;
const MAX_DIMENSIONS: u32 = 65_536;

pub(crate) async fn embed(app: App, request: EmbedRequest) -> Result<EmbedResponse, Error> {
    check(&request)?;
    let caller = caller(&request);
    let texts = Texts { inputs: request.inputs.clone(), dimensions: request.dimensions };
    // Who is able may have its key in the store.
    app.directory.ready().await?;
    let provider = able(&app, &request.provider, &request.model);
    let plan = app.routing.plan(provider, &request.model, &request.idempotency_key).await?;
    let owners = app.gate.check(&caller).await?;
    // Charged with what the bill says when it is dropped, however that comes.
    let admitted = app.gate.admit(&caller, owners, || quote(&app, &plan, &texts)).await?;
    let one = Try { app: &app, texts: &texts, caller, bill: &admitted.bill };
    let answer = app.routing.ask(&plan, |route| attempt(one, route)).await?;
    Ok(EmbedResponse { cost_nanos: admitted.bill.cost(), ..answer })
}

/// One text, whose vector somebody wants who asks for something else: its key need not allow the model that makes it.
pub(crate) struct OneText {
    plan: Plan,
    texts: Texts,
}

impl OneText {
    /// # Errors
    /// Where nobody has the model.
    pub(crate) async fn new(app: &App, model: &str, text: &str, key: &str) -> Result<Self, Error> {
        let plan = app.routing.plan(able(app, DEFAULT, model), model, key).await?;
        Ok(Self { plan, texts: Texts { inputs: vec![text.to_owned()], dimensions: 0 } })
    }

    /// The most that it may cost.
    pub(crate) fn quote(&self, app: &App) -> Quote {
        quote(app, &self.plan, &self.texts)
    }

    /// Asks for the vector. What it costs goes to the bill of who was let in already.
    pub(crate) async fn vector(
        &self,
        app: &App,
        caller: Caller<'_>,
        bill: &Bill,
    ) -> Result<EmbedResponse, Error> {
        // In the account of its provider it has a reservation of its own, beside that of the reply.
        let key = format!("{}/near", caller.idempotency_key);
        let caller = Caller { idempotency_key: &key, is_recorded: false, ..caller };
        let one = Try { app, texts: &self.texts, caller, bill };
        app.routing.ask(&self.plan, |route| attempt(one, route)).await
    }
}

fn quote(app: &App, plan: &Plan, texts: &Texts) -> Quote {
    let found = plan
        .routes
        .iter()
        .filter_map(|route| app.routing.provider(route).ok().map(|found| names(found, route)));
    app.quotes.quote_for(estimate(&texts.inputs).input_tokens, 0, found)
}

/// What every try of a request shares.
#[derive(Clone, Copy)]
struct Try<'a> {
    app: &'a App,
    texts: &'a Texts,
    caller: Caller<'a>,
    bill: &'a Bill,
}

fn caller(request: &EmbedRequest) -> Caller<'_> {
    Caller {
        tenant: &request.tenant,
        key_id: &request.key_id,
        provider: &request.provider,
        model: &request.model,
        idempotency_key: &request.idempotency_key,
        ..Caller::default()
    }
}

/// The names of the provider and the model of a route.
fn names<'a>(found: &'a Configured, route: &'a Route) -> (&'a str, &'a str) {
    let model = if route.model.is_empty() { &found.info.embedding_model } else { &route.model };
    (&found.info.name, model)
}

/// Who is asked where nobody is named: the first that has a model for vectors; the last of them is the built-in one.
fn able<'a>(app: &'a App, provider: &'a str, model: &str) -> &'a str {
    if provider != DEFAULT || !model.is_empty() {
        return provider;
    }
    let mut able =
        app.routing.providers.ready().filter(|found| !found.info.embedding_model.is_empty());
    able.next().map_or(OFFLINE, |found| &found.info.name)
}

fn check(request: &EmbedRequest) -> Result<(), Error> {
    check_model(&request.model)?;
    let count = request.inputs.len();
    if count == 0 || count > MAX_INPUTS {
        return Err(Error::invalid(format!(
            "inputs has {count} texts, but must have 1 to {MAX_INPUTS}"
        )));
    }
    if let Some(at) = request.inputs.iter().position(String::is_empty) {
        return Err(Error::invalid(format!("inputs[{at}] is empty, but must be a text")));
    }
    let size: usize = request.inputs.iter().map(String::len).sum();
    if size > MAX_MESSAGES {
        return Err(Error::invalid(format!(
            "inputs have {size} bytes, but must have at most {MAX_MESSAGES}"
        )));
    }
    if request.dimensions > MAX_DIMENSIONS {
        return Err(Error::invalid(format!(
            "dimensions is {}, but must be at most {MAX_DIMENSIONS}",
            request.dimensions
        )));
    }
    Ok(())
}

async fn attempt(one: Try<'_>, route: &Route) -> Result<EmbedResponse, Failure> {
    let asked = ask(one, route).await;
    asked.map_err(|error| Failure { error, streamed: false })
}

async fn ask(one: Try<'_>, route: &Route) -> Result<EmbedResponse, Error> {
    let Try { app, texts, .. } = one;
    let _slot = app.slots.take().await?;
    let found = app.routing.provider(route)?;
    let (name, model) = names(found, route);
    let caller = Caller { provider: name, model, ..one.caller };
    let quote = || app.quotes.quote_for(estimate(&texts.inputs).input_tokens, 0, [(name, model)]);
    let admitted = app.gate.admit_provider(&caller, quote).await?;
    let bills = [one.bill.clone(), admitted.bill.clone()];
    let whose = Whose {
        request_id: caller.idempotency_key.to_owned(),
        tenant: caller.tenant.to_owned(),
        key_id: caller.key_id.to_owned(),
        execution_id: caller.execution_id.to_owned(),
        agent: caller.agent.to_owned(),
        ..Whose::default()
    };
    let (told, prices) = (&app.telemetry, &app.quotes.prices);
    let meter = Meter::begin(told, prices, whose, (name, model, None), bills);
    let answer = match found.provider().embed(&route.model, texts).await {
        Ok(answer) => answer,
        Err(error) => {
            meter.failed(&error);
            return Err(error);
        }
    };
    // Vectors have no output, and few say that they have none.
    let told = Told { output: answer.usage.output.or(Some(0)), ..answer.usage };
    let usage = told.or_counted(|| estimate(&texts.inputs));
    meter.answered(&answer.model, &usage);
    let vectors = answer.vectors.into_iter().map(|values| Vector { values }).collect();
    Ok(EmbedResponse {
        vectors,
        usage: Some(usage),
        provider: found.info.name.clone(),
        model: answer.model,
        ..EmbedResponse::default()
    })
}

fn estimate(inputs: &[String]) -> TokenUsage {
    let tokens: usize = inputs.iter().map(|text| tokens::count(text)).sum();
    let input_tokens = u32::try_from(tokens).unwrap_or(u32::MAX);
    TokenUsage { input_tokens, estimated: true, ..TokenUsage::default() }
}
