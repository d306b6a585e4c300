//! Agents in the place of models, in OpenAI's wire format.

use reqwest::Method;
use serde_json::{Value, json};

use crate::openai::{ask, asking, streamed, text};
use crate::platform::{Platform, told};

#[tokio::test]
async fn an_agent_is_asked_by_its_name() {
    let platform = Platform::start().await;
    let (status, answer) = ask(&platform, asking("agent:critic", "hello")).await;
    assert_eq!(status, 200, "{answer}");
    let content = answer["choices"][0]["message"]["content"].as_str().unwrap();
    let echoed: Value = serde_json::from_str(content).unwrap();
    assert_eq!(echoed["echo"], json!({ "agent": "critic", "input": "hello" }));
    let told = streamed(&platform, asking("agent:critic", "hello")).await;
    assert_eq!((text(&told).as_str(), told.last().unwrap().as_str()), (content, "[DONE]"));
    let mut tools = asking("agent:critic", "hello");
    tools["tools"] = json!([{ "type": "function", "function": { "name": "look" } }]);
    let (status, answer) = ask(&platform, tools).await;
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("tools")));
    let (status, _) = ask(&platform, asking("agent:No", "hello")).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn an_agent_that_is_not_there_starts_nothing() {
    let platform = Platform::start().await;
    for streams in [false, true] {
        let mut asked = asking("agent:nobody", "hello");
        asked["stream"] = json!(streams);
        for key in [None, Some("k1")] {
            let request = platform.request(Method::POST, "/v1/chat/completions").json(&asked);
            let request =
                key.into_iter().fold(request, |it, key| it.header("idempotency-key", key));
            let (status, answer) = told(request.send().await.unwrap()).await;
            assert_eq!((status, &answer["error"]["code"]), (404, &json!("model_not_found")));
            assert!(answer["error"]["message"].as_str().unwrap().contains("nobody"), "{answer}");
        }
    }
    let asked = json!({ "model": "agent:nobody", "input": "hello" });
    let (status, answer) = told(platform.post("/v1/responses", asked).await).await;
    assert_eq!(status, 404, "{answer}");
    // One that is there is the only one that was started.
    assert_eq!(ask(&platform, asking("agent:critic", "hello")).await.0, 200);
    let starts = platform.peers.starts();
    assert_eq!(starts.len(), 1, "{starts:?}");
}
