//! Asks a model for vectors of texts.

use anyhow::Context;
use muster_contracts::llm::v1::{EmbedRequest, EmbedResponse, TokenUsage, Vector};

use crate::app::App;
use crate::domain::prompt::{MAX_MESSAGES, check_model};
use crate::domain::tokens;
use crate::error::Error;
use crate::providers::Texts;
use crate::routing::{DEFAULT, Failure, Route};

/// The most texts of a request, and the longest vectors.
const MAX_INPUTS: usize = 2_048;
const MAX_DIMENSIONS: u32 = 65_536;

pub(crate) async fn embed(app: App, request: EmbedRequest) -> Result<EmbedResponse, Error> {
    check(&request)?;
    let provider = provider(&app, &request)?;
    let plan = app.routing.plan(provider, &request.model, &request.idempotency_key).await?;
    let texts = Texts { inputs: request.inputs, dimensions: request.dimensions };
    app.routing.ask(&plan, |route| attempt(&app, &texts, route)).await
}

/// Who is asked where nobody is named: the first that has a model for vectors.
fn provider<'a>(app: &'a App, request: &'a EmbedRequest) -> Result<&'a str, Error> {
    if request.provider != DEFAULT || !request.model.is_empty() {
        return Ok(&request.provider);
    }
    let mut able =
        app.routing.providers.real().filter(|found| !found.info.embedding_model.is_empty());
    able.next().map(|found| found.info.name.as_str()).ok_or_else(|| Error::UnknownProvider {
        name: DEFAULT.to_owned(),
        known: "no provider with a model for vectors is configured; set OPENAI_API_KEY, or `embedding_model` in the models file".to_owned(),
    })
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

async fn attempt(app: &App, texts: &Texts, route: &Route) -> Result<EmbedResponse, Failure> {
    let asked = one(app, texts, route).await;
    asked.map_err(|error| Failure { error, streamed: false })
}

async fn one(app: &App, texts: &Texts, route: &Route) -> Result<EmbedResponse, Error> {
    let _slot = app.slots.acquire().await.context("the slots for providers are closed")?;
    let found = app.routing.provider(route)?;
    let answer = found.provider().embed(&route.model, texts).await?;
    let usage = answer.usage.unwrap_or_else(|| estimate(&texts.inputs));
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
