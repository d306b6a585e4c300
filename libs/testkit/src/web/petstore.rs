//! The pet store, with its descriptions in Swagger 2, OpenAPI 3.0 and OpenAPI 3.1.

use std::collections::BTreeMap;

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::{Shared, WebRequest};

const SWAGGER: &str = include_str!("petstore/swagger.json");
const OPENAPI: &str = include_str!("petstore/openapi.json");
const OPENAPI_31: &str = include_str!("petstore/openapi31.yaml");

pub(super) fn pets() -> BTreeMap<i64, Value> {
    let names = ["Rex", "Milou", "Idefix", "Laika", "Snoopy"];
    let statuses = ["available", "available", "pending", "sold", "available"];
    let pets = names.iter().zip(statuses).zip(1..).map(|((name, status), id)| {
        let category = json!({ "id": 1, "name": "Dogs" });
        let tags = json!([{ "id": 1, "name": "good" }]);
        (id, json!({ "id": id, "category": category, "name": name, "photoUrls": [], "tags": tags, "status": status }))
    });
    pets.collect()
}

/// The same under `/v2`, `/v3` and `/v31`.
pub(super) fn answer(shared: &Shared, request: &WebRequest, segments: &[&str]) -> Response {
    let described = |kind: &'static str, text: &str| {
        let host = shared.base.trim_start_matches("http://");
        ([(CONTENT_TYPE, kind)], text.replace("petstore.example", host)).into_response()
    };
    match (request.method.as_str(), segments) {
        ("GET", ["swagger.json"]) => described("application/json", SWAGGER),
        ("GET", ["openapi.json"]) => described("application/json", OPENAPI),
        ("GET", ["openapi.yaml"]) => described("application/yaml", OPENAPI_31),
        ("GET", ["pet", "findByStatus"]) => by_status(shared, request),
        ("GET", ["store", "inventory"]) => inventory(shared, request),
        ("POST" | "PUT", ["pet"]) => put(shared, request.json()),
        ("GET", ["pet", id]) => {
            let pet = id.parse().ok().and_then(|id: i64| shared.memory().pets.get(&id).cloned());
            pet.map_or_else(missing, |pet| Json(pet).into_response())
        }
        ("POST", ["pet", id]) => change(shared, request, id),
        ("DELETE", ["pet", id]) => {
            let pet = id.parse().ok().and_then(|id: i64| shared.memory().pets.remove(&id));
            pet.map_or_else(missing, |_| said(id))
        }
        _ => missing(),
    }
}

fn missing() -> Response {
    let body = json!({ "code": 1, "type": "error", "message": "Pet not found" });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

fn said(message: &str) -> Response {
    Json(json!({ "code": 200, "type": "unknown", "message": message })).into_response()
}

fn status(pet: &Value) -> &str {
    pet.get("status").and_then(Value::as_str).unwrap_or_default()
}

/// `status=a&status=b`, or `status=a,b`.
fn by_status(shared: &Shared, request: &WebRequest) -> Response {
    let wanted = request.query.iter().filter(|(name, _)| name == "status");
    let wanted: Vec<&str> = wanted.flat_map(|(_, value)| value.split(',')).collect();
    let memory = shared.memory();
    let found: Vec<&Value> =
        memory.pets.values().filter(|pet| wanted.contains(&status(pet))).collect();
    Json(json!(found)).into_response()
}

fn inventory(shared: &Shared, request: &WebRequest) -> Response {
    let mut counts = BTreeMap::<String, u32>::new();
    for pet in shared.memory().pets.values() {
        *counts.entry(status(pet).to_owned()).or_default() += 1;
    }
    let headers = [("x-api-key-was", request.header("api_key").to_owned())];
    (headers, Json(counts)).into_response()
}

fn put(shared: &Shared, mut pet: Value) -> Response {
    let Some(fields) = pet.as_object_mut() else {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    };
    let mut memory = shared.memory();
    let next = memory.pets.keys().last().copied().unwrap_or_default() + 1;
    let id = fields.get("id").and_then(Value::as_i64).unwrap_or(next);
    fields.insert("id".to_owned(), json!(id));
    memory.pets.insert(id, pet.clone());
    Json(pet).into_response()
}

/// `name` and `status` as form.
fn change(shared: &Shared, request: &WebRequest, id: &str) -> Response {
    let mut memory = shared.memory();
    let pet = id.parse().ok().and_then(|id: i64| memory.pets.get_mut(&id));
    let Some(fields) = pet.and_then(Value::as_object_mut) else { return missing() };
    for (name, value) in request.form() {
        fields.insert(name, json!(value));
    }
    said(id)
}
