//! The gateway alone, on a real nats-server; the other services are played by a few routes.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a failed helper is a failed test"
)]

mod auth;
mod collections;
mod control;
mod dead_letters;
mod definitions;
mod events;
mod executions;
mod keys;
mod live;
mod openai;
mod openai_agents;
mod outages;
mod platform;
mod refusals;
mod tools;

/// The contract with clients. A change here is a change for every client: accept it only when that is meant.
#[test]
fn the_openapi_document_is_the_one_that_clients_know() {
    let document = muster_gateway::openapi();
    assert_eq!(serde_json::to_value(&document).unwrap()["openapi"], "3.1.0");
    insta::assert_json_snapshot!(document, {".info.version" => "[version]"});
}
