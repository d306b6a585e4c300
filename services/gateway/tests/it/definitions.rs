//! Agents, workflows and tools.

use serde_json::json;

use crate::platform::{Platform, problem, told};

const AGENT: &str =
    "description: Finds faults.\ninstructions: Be strict.\ntools: [search]\nlimits: {turns: 4}\n";

#[tokio::test]
async fn an_agent_is_registered_from_yaml_and_from_json() {
    let platform = Platform::start().await;
    let (status, agent) =
        told(platform.put("/v1/agents/critic", "application/yaml", AGENT).await).await;
    assert_eq!((status, &agent["name"], &agent["digest"]), (200, &json!("critic"), &json!("d1")));
    // What is not said is the default, and shown as that.
    assert_eq!(
        agent["limits"],
        json!({ "turns": 4, "tokens": 200_000, "seconds": 600, "cost_usd": 0.0 })
    );
    // What was read can be written again.
    let again = platform.put("/v1/agents/critic", "application/json", &agent.to_string()).await;
    assert_eq!(told(again).await, (200, agent));
    assert_eq!(told(platform.get("/v1/agents").await).await.1["agents"][1]["name"], "writer");
    assert_eq!(told(platform.get("/v1/agents/writer").await).await.1["name"], "writer");
    assert_eq!(told(platform.get("/v1/tools").await).await.1["tools"][0]["name"], "search");
}

#[tokio::test]
async fn a_wrong_agent_is_refused_by_what_is_wrong() {
    let platform = Platform::start().await;
    let check = async |path: &str, body: &str, words: &[&str]| {
        problem(platform.put(path, "application/yaml", body).await, 400, words).await;
    };
    check("/v1/agents/critic", "name: writer\ninstructions: x", &["\"writer\"", "\"critic\""])
        .await;
    check("/v1/agents/Critic", AGENT, &["\"Critic\"", "a-z"]).await;
    check(
        "/v1/agents/critic",
        "instructions: x\nmodell: {}",
        &["unknown field `modell`", "`model`"],
    )
    .await;
    check("/v1/agents/critic", "instructions: x\n  bad: [", &["YAML", "line 2, column"]).await;
    check("/v1/agents/critic", "description: x", &["missing field `instructions`"]).await;
    check("/v1/agents/critic", "instructions: x\nlimits: {turns: -1}", &["limits.turns", "-1"])
        .await;
    check(
        "/v1/agents/critic",
        "instructions: x\ntools: [teleport]",
        &["there is no tool \"teleport\""],
    )
    .await;
}

#[tokio::test]
async fn a_workflow_is_created_once_and_a_wrong_one_says_where() {
    let platform = Platform::start().await;
    let put = async |body: &str| platform.put("/v1/workflows", "application/yaml", body).await;
    let response = put("new: document").await;
    assert_eq!(response.headers()["location"], "/v1/workflows/quick");
    assert_eq!(response.status(), 201);
    assert_eq!(put("old: document").await.status(), 200);
    let refused =
        problem(put("do: [{a: {teleport: {}}}]").await, 400, &["/do/0/a", "teleport"]).await;
    assert_eq!(refused["details"][0]["pointer"], "/do/0/a");
    problem(put("  \n").await, 400, &["empty"]).await;
    let told_of = told(put("newer: document").await).await.1;
    assert_eq!(told_of["check"]["executions"][0]["execution_id"], "e1");
    let strictly = async |how: &str| {
        platform.put(&format!("/v1/workflows?check={how}"), "application/yaml", "new: x").await
    };
    let refused = problem(strictly("strict").await, 409, &["e1 would have gone"]).await;
    assert_eq!(refused["details"]["check"]["executions"][0]["execution_id"], "e1");
    problem(strictly("true").await, 400, &["`check` is \"true\"", "`strict`"]).await;
    assert_eq!(
        told(platform.get("/v1/workflows/slow?version=1.0.0").await).await.1["digest"],
        "slow-digest"
    );
    problem(
        platform.get("/v1/workflows/nothing").await,
        404,
        &["there is no workflow \"nothing\""],
    )
    .await;
    problem(platform.get("/v1/workflows/slow?verzion=1").await, 400, &["verzion"]).await;
}
