//! A little of swapi: what the specification's examples ask for.

use axum::Json;
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::{Shared, WebRequest, not_found};

const PEOPLE: [&str; 4] = ["Luke Skywalker", "C-3PO", "R2-D2", "Darth Vader"];

pub(super) fn answer(shared: &Shared, request: &WebRequest, segments: &[&str]) -> Response {
    let person = |index: usize, name: &str| {
        let base = &shared.base;
        let home = index + 1;
        json!({ "name": name, "homeworld": format!("{base}/api/planets/{home}"), "url": format!("{base}/api/people/{home}") })
    };
    let number = |text: &str| text.parse::<usize>().ok()?.checked_sub(1);
    match segments {
        ["people"] => {
            let wanted = request.parameter("search").unwrap_or_default().to_lowercase();
            let found: Vec<_> = PEOPLE
                .iter()
                .enumerate()
                .filter(|(_, name)| name.to_lowercase().contains(&wanted))
                .map(|(index, name)| person(index, name))
                .collect();
            Json(json!({ "count": found.len(), "results": found })).into_response()
        }
        ["people", id] => match number(id).and_then(|index| Some((index, PEOPLE.get(index)?))) {
            Some((index, name)) => Json(person(index, name)).into_response(),
            None => not_found(),
        },
        ["planets", "1"] => Json(json!({ "name": "Tatooine" })).into_response(),
        ["planets", id] => Json(json!({ "name": format!("Planet {id}") })).into_response(),
        _ => not_found(),
    }
}
