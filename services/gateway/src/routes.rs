//! Every path that the gateway answers.

use axum::{
    Json, Router,
    extract::{Request, State},
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response as Answer},
    routing::get,
};
use utoipa::{
    OpenApi,
    openapi::{
        ContentBuilder, InfoBuilder, OpenApi as Document, Ref, RefOr, Response, ResponseBuilder,
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    app::App,
    auth,
    controllers::{
        agents, allowances, approvals, collections, dead_letters, deliverables, events, executions,
        health, keys, memory, model_aliases, openai, provider_keys, streams, templates, threads,
        tools, workflows,
    },
    error::Error,
    problem::{self, Problem},
    trace,
};

#[derive(OpenApi)]
#[openapi(components(schemas(Problem)))]
struct Api;

/// The table of contents, and the document that is made from it.
fn paths() -> (Router<App>, Document) {
    let (router, mut document) = OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(agents::put::put, agents::get::get, agents::delete::delete))
        .routes(routes!(agents::list::list))
        .routes(routes!(agents::versions::versions))
        .routes(routes!(memory::list::list, memory::forget::all))
        .routes(routes!(memory::forget::one))
        .routes(routes!(threads::create::create, threads::list::list))
        .routes(routes!(threads::get::get, threads::delete::delete))
        .routes(routes!(threads::send::send))
        .routes(routes!(workflows::put::put, workflows::list::list))
        .routes(routes!(workflows::get::get, workflows::delete::delete))
        .routes(routes!(workflows::check::check))
        .routes(routes!(tools::list::list))
        .routes(routes!(tools::put::put, tools::get::get, tools::call::call, tools::delete::delete))
        .routes(routes!(executions::start::start, executions::list::list))
        .routes(routes!(executions::get::get))
        .routes(routes!(executions::control::cancel))
        .routes(routes!(executions::control::suspend))
        .routes(routes!(executions::control::resume))
        .routes(routes!(executions::control::retry))
        .routes(routes!(executions::time_travel::replay))
        .routes(routes!(executions::time_travel::fork))
        .routes(routes!(executions::time_travel::diff))
        .routes(routes!(executions::time_travel::export))
        .routes(routes!(executions::time_travel::import))
        .routes(routes!(executions::events::events))
        .routes(routes!(executions::signal::signal))
        .routes(routes!(events::publish::publish))
        .routes(routes!(executions::usage::usage))
        .merge(stored())
        .merge(teams())
        .merge(prompts())
        .routes(routes!(collections::ingest::ingest))
        .routes(routes!(collections::get::get))
        .routes(routes!(collections::search::search))
        .routes(routes!(dead_letters::list::list, dead_letters::purge::many))
        .routes(routes!(dead_letters::replay::many))
        .routes(routes!(dead_letters::get::get, dead_letters::purge::one))
        .routes(routes!(dead_letters::replay::one))
        .routes(routes!(keys::create::create, keys::list::list))
        .routes(routes!(keys::get::get, keys::delete::delete))
        .routes(routes!(provider_keys::put::put, provider_keys::list::list))
        .routes(routes!(provider_keys::delete::delete))
        .routes(routes!(provider_keys::rewrap::rewrap))
        .routes(routes!(allowances::put::put, allowances::get::get, allowances::delete::delete))
        .routes(routes!(allowances::list::list))
        .merge(models())
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .split_for_parts();
    complete(&mut document);
    document.info = InfoBuilder::new()
        .title("Muster")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Multi-agent workflows as durable events. Errors are application/problem+json (RFC 9457)."))
        .build();
    (router, document)
}

/// Models as OpenAI's clients ask for them, and names for models.
fn models() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(openai::chat::complete))
        .routes(routes!(openai::responses::respond))
        .routes(routes!(openai::embeddings::embed))
        .routes(routes!(openai::models::list))
        .routes(routes!(openai::models::get))
        .route("/v1/models/{provider}/{*model}", get(openai::models::get_plain))
        .routes(routes!(
            model_aliases::put::put,
            model_aliases::get::get,
            model_aliases::delete::delete
        ))
        .routes(routes!(model_aliases::list::list))
}

/// Prompt templates.
fn prompts() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(templates::put::put, templates::get::get, templates::delete::delete))
        .routes(routes!(templates::list::list))
        .routes(routes!(templates::versions::versions))
        .routes(routes!(templates::render::render))
}

/// What agents tell each other and are told, and who decides about their calls.
fn teams() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(approvals::list))
        .routes(routes!(approvals::get, approvals::decide))
        .routes(routes!(agents::status::status))
        .routes(routes!(agents::inbox::send))
        .routes(routes!(agents::inbox::broadcast))
        .routes(routes!(agents::tasks::assign))
        .routes(routes!(agents::tasks::get))
}

/// What agents produced, and the streams that keep it.
fn stored() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(deliverables::list::list, deliverables::publish::publish))
        .routes(routes!(deliverables::get::get))
        .routes(routes!(deliverables::get::of_team))
        .routes(routes!(streams::list::list))
        .routes(routes!(streams::get::get))
        .routes(routes!(streams::agent::agent))
}

/// Says of every response what its status means, and of every error that it is a problem document.
fn complete(document: &mut Document) {
    let items = document.paths.paths.values_mut();
    let operations = items
        .flat_map(|item| [&mut item.get, &mut item.put, &mut item.post, &mut item.delete])
        .flatten();
    let any_problem = any_problem();
    let responses = operations.flat_map(|operation| {
        let responses = &mut operation.responses.responses;
        responses.entry("default".to_owned()).or_insert_with(|| any_problem.clone().into());
        responses
    });
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        let Ok(status) = StatusCode::from_bytes(status.as_bytes()) else { continue };
        if response.description.is_empty() {
            status.canonical_reason().unwrap_or_default().clone_into(&mut response.description);
        }
        if status.as_u16() >= 400
            && let Some(content) = response.content.shift_remove("application/json")
        {
            response.content.insert("application/problem+json".to_owned(), content);
        }
    }
}

/// Every path may also refuse what is common to all: a body of another type, a size, a lack of time.
fn any_problem() -> Response {
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    ResponseBuilder::new()
        .description("Any other error")
        .content("application/problem+json", content)
        .build()
}

/// The OpenAPI 3.1 document.
#[must_use]
pub fn openapi() -> Document {
    paths().1
}

/// The whole HTTP service.
pub(crate) fn router(app: App) -> Router {
    let (router, document) = paths();
    let inner = router
        .route("/openapi.json", get(|| async move { Json(document) }))
        .with_state(app.clone());
    // Around the whole router, not around each route: only there a 405 knows which methods are allowed.
    Router::new().fallback_service(inner).layer(middleware::from_fn_with_state(app, edge))
}

/// What is around every request. One layer: each costs a copy of what is inside it, and a future on the heap.
async fn edge(State(app): State<App>, request: Request, next: Next) -> Answer {
    let known = |request| unharmed(auth::authenticate(app, request, next));
    trace::within(request, |request| problem::render(request, known)).await
}

/// What panics is answered like every internal error.
async fn unharmed(work: impl Future<Output = Answer>) -> Answer {
    let answer = muster_bus::caught("gateway", "REST", async { Ok(work.await) }).await;
    answer.unwrap_or_else(|fault| Error::from(fault).into_response())
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_internal_error_of_one_request() {
        let answer = unharmed(async { panic!("the handler is wrong") }).await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = to_bytes(answer.into_body(), 1_000).await.unwrap();
        let text = String::from_utf8_lossy(&body);
        assert!(!text.contains("the handler is wrong"), "what is internal stays inside: {text}");
    }
}
