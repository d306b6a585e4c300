//! OpenAI's wire format: chat completions, embeddings, models and keys.

use futures::StreamExt;
use muster_contracts::llm::v1::{
    ChatMessage, CompleteRequest, CompleteResponse, EmbedRequest, EmbedResponse, SessionAbandoned,
    Token, TokenUsage, ToolCall, Vector,
};
use muster_contracts::model::v1::{
    CheckVirtualKeyRequest, ListModelsRequest, ListVirtualKeysRequest, ModelDefinition, ModelList,
    ProviderInfo, VirtualKey, VirtualKeyList,
};
use muster_contracts::{Code, Fault, JsonObject};
use muster_testkit::eventually;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::Digest;

use crate::platform::{PATIENCE, Peers, Platform, told};

/// A model that does what its name says.
pub(crate) async fn complete(
    peers: Peers,
    request: CompleteRequest,
) -> Result<CompleteResponse, Fault> {
    let text = request.messages.last().map(|message| message.content.clone()).unwrap_or_default();
    speak(&peers, &request, &text).await?;
    let content = match request.model.as_str() {
        "loses" | "restarts" => "one two three ".to_owned(),
        "who" => format!("{}/{}", request.tenant, request.key_id),
        "key" => format!("{} {}", request.idempotency_key, request.unrecorded),
        "tools" => String::new(),
        "thinks" => "one two".to_owned(),
        "params" => serde_json::to_string(&request.params).unwrap(),
        _ => text,
    };
    let arguments = Some(JsonObject::wrap(json!({ "n": 1 })));
    let call = |id: &str| ToolCall {
        id: id.to_owned(),
        name: "look".to_owned(),
        arguments: arguments.clone(),
        ..ToolCall::default()
    };
    let calls = if request.model == "tools" { vec![call("c1"), call("c2")] } else { Vec::new() };
    let finish_reason = if calls.is_empty() { "stop" } else { "tool_calls" };
    let usage = TokenUsage { input_tokens: 3, output_tokens: 2, ..TokenUsage::default() };
    Ok(CompleteResponse {
        message: Some(ChatMessage {
            role: "assistant".to_owned(),
            content,
            tool_calls: calls,
            reasoning: if request.model == "thinks" { "hm hm".to_owned() } else { String::new() },
            reasoning_signature: if request.model == "thinks" {
                "signed".to_owned()
            } else {
                String::new()
            },
            ..ChatMessage::default()
        }),
        finish_reason: finish_reason.to_owned(),
        usage: Some(usage),
        provider: "played".to_owned(),
        model: format!("{}-2026", request.model),
        cost_nanos: 17,
        ..CompleteResponse::default()
    })
}

/// What it does before it answers: streams, fails, or never ends.
async fn speak(peers: &Peers, request: &CompleteRequest, text: &str) -> Result<(), Fault> {
    let token = |sequence: u32, delta: &str| Token {
        session: request.session.clone(),
        sequence,
        delta: delta.to_owned(),
        ..Token::default()
    };
    match request.model.as_str() {
        "missing" => return Err(Fault::new(Code::NotFound, "there is no model \"missing\"")),
        "busy" => {
            return Err(Fault::new(Code::Exhausted, "too many").with_retry_after_ms(7_000));
        }
        "spent" => return Err(Fault::new(Code::Exhausted, "the budget is spent")),
        "endless" => {
            peers.begin_endless();
            std::future::pending::<()>().await;
        }
        "halts" => {
            peers.bus().emit(&token(1, "one ")).await.unwrap();
            std::future::pending::<()>().await;
        }
        "breaks" => {
            peers.bus().emit(&token(1, "one ")).await.unwrap();
            return Err(Fault::new(Code::Unavailable, "it broke off"));
        }
        // The second half of what it thought is lost.
        "thinks" if !request.session.is_empty() => {
            let thought = Token { reasoning: "hm ".to_owned(), ..token(1, "") };
            peers.bus().emit(&thought).await.unwrap();
        }
        // A token is lost, and the reply has more than was streamed.
        "loses" => {
            peers.bus().emit(&token(1, "one ")).await.unwrap();
            peers.bus().emit(&token(3, "three ")).await.unwrap();
        }
        "restarts" => {
            peers.bus().emit(&token(1, "eins ")).await.unwrap();
            peers.bus().emit(&token(1, "one ")).await.unwrap();
        }
        model if !request.session.is_empty() && model != "tools" => {
            for (piece, sequence) in text.split_inclusive(' ').zip(1..) {
                peers.bus().emit(&token(sequence, piece)).await.unwrap();
            }
        }
        _ => {}
    }
    Ok(())
}

pub(crate) async fn embed(_: Peers, request: EmbedRequest) -> Result<EmbedResponse, Fault> {
    let vectors = request.inputs.iter().map(|text| Vector { values: vec![text.len() as f32, 0.5] });
    Ok(EmbedResponse {
        vectors: vectors.collect(),
        usage: Some(TokenUsage { input_tokens: 4, ..TokenUsage::default() }),
        model: request.model,
        ..EmbedResponse::default()
    })
}

pub(crate) async fn models(_: Peers, _: ListModelsRequest) -> Result<ModelList, Fault> {
    let alias = ModelDefinition { name: "fast".to_owned(), ..ModelDefinition::default() };
    let provider = ProviderInfo {
        name: "played".to_owned(),
        default_model: "small".to_owned(),
        models: vec!["small".to_owned(), "fast".to_owned(), "large".to_owned()],
        ..ProviderInfo::default()
    };
    Ok(ModelList { models: vec![alias], providers: vec![provider] })
}

/// `sk-good-good-good` is for every model, the others for one.
const KEYS: [(&str, &str, &[&str]); 3] = [
    ("k1", "sk-good-good-good", &[]),
    ("k2", "sk-fast-fast-fast", &["fast"]),
    ("k3", "sk-talk-talk-talk", &["agent:talk"]),
];

pub(crate) async fn keys(peers: Peers, _: ListVirtualKeysRequest) -> Result<VirtualKeyList, Fault> {
    let all = KEYS.map(|(key_id, _, models)| key(key_id, models));
    Ok(VirtualKeyList { keys: if peers.has_keys() { all.into() } else { Vec::new() } })
}

pub(crate) async fn check(
    peers: Peers,
    request: CheckVirtualKeyRequest,
) -> Result<VirtualKey, Fault> {
    let hash = |key: &str| {
        let bytes = sha2::Sha256::digest(key.as_bytes());
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let mut known = KEYS.iter().filter(|(key_id, ..)| !peers.is_revoked(key_id));
    let found = known.find(|(_, key, _)| hash(key) == request.hash);
    let (key_id, _, models) =
        found.ok_or_else(|| Fault::new(Code::Unauthenticated, "nobody has this key"))?;
    Ok(key(key_id, models))
}

fn key(key_id: &str, models: &[&str]) -> VirtualKey {
    VirtualKey {
        key_id: key_id.to_owned(),
        tenant: "acme".to_owned(),
        models: models.iter().map(|model| (*model).to_owned()).collect(),
        ..VirtualKey::default()
    }
}

pub(crate) fn asking(model: &str, text: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": text }] })
}

pub(crate) async fn ask(platform: &Platform, body: Value) -> (u16, Value) {
    told(platform.post("/v1/chat/completions", body).await).await
}

/// The `data` of every event.
async fn events(response: Response) -> Vec<String> {
    let text = response.text().await.unwrap();
    let events = text.split_terminator("\n\n").filter(|event| !event.starts_with(':'));
    events.map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
}

pub(crate) async fn streamed(platform: &Platform, mut body: Value) -> Vec<String> {
    body["stream"] = json!(true);
    let response = platform.post("/v1/chat/completions", body).await;
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    events(response).await
}

/// The text of a stream's pieces.
pub(crate) fn text(events: &[String]) -> String {
    let deltas = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let text = |piece: Value| piece["choices"][0]["delta"]["content"].as_str().map(str::to_owned);
    deltas.filter_map(text).collect()
}

#[tokio::test]
async fn a_reply_is_answered_whole() {
    let platform = Platform::start().await;
    let response = platform.post("/v1/chat/completions", asking("small", "hello")).await;
    assert_eq!(response.headers()["muster-provider"], "played");
    assert_eq!(response.headers()["muster-cost-nanos"], "17");
    let (status, reply) = told(response).await;
    assert_eq!((status, &reply["object"]), (200, &json!("chat.completion")));
    assert!(reply["id"].as_str().unwrap().starts_with("chatcmpl-"), "{reply}");
    assert_eq!(reply["model"], "small-2026");
    assert_eq!(
        reply["choices"],
        json!([{ "index": 0, "logprobs": null, "finish_reason": "stop",
            "message": { "role": "assistant", "content": "hello", "refusal": null } }])
    );
    let usage = &reply["usage"];
    assert_eq!((&usage["prompt_tokens"], &usage["total_tokens"]), (&json!(3), &json!(5)));
    let mut tools = asking("tools", "hello");
    let (_, reply) = ask(&platform, tools.clone()).await;
    assert_eq!(reply["choices"][0]["message"]["tool_calls"][1]["id"], "c2");
    tools["parallel_tool_calls"] = json!(false);
    let (_, reply) = ask(&platform, tools).await;
    assert_eq!(reply["choices"][0]["message"]["tool_calls"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_reply_is_streamed_as_it_comes() {
    let platform = Platform::start().await;
    let mut body = asking("small", "one two three");
    body["stream_options"] = json!({ "include_usage": true });
    let told = streamed(&platform, body).await;
    assert_eq!(told.last().unwrap(), "[DONE]");
    assert_eq!(text(&told), "one two three");
    let piece = |at: usize| serde_json::from_str::<Value>(&told[at]).unwrap();
    assert_eq!(piece(0)["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    assert_eq!(piece(told.len() - 3)["choices"][0]["finish_reason"], "stop");
    let usage = piece(told.len() - 2);
    assert_eq!((&usage["choices"], &usage["usage"]["total_tokens"]), (&json!([]), &json!(5)));
    let told = streamed(&platform, asking("tools", "x")).await;
    assert!(told.iter().all(|event| !event.contains("usage")), "{told:?}");
    let calls: Vec<Value> =
        told.iter().filter_map(|event| serde_json::from_str(event).ok()).collect();
    let indices: Vec<&Value> = calls
        .iter()
        .map(|piece| &piece["choices"][0]["delta"]["tool_calls"][0]["index"])
        .filter(|index| !index.is_null())
        .collect();
    assert_eq!(indices, [&json!(0), &json!(1)]);
}

#[tokio::test]
async fn what_a_model_thinks_is_told_before_its_text_and_can_be_sent_back() {
    let platform = Platform::start().await;
    let (_, reply) = ask(&platform, asking("thinks", "x")).await;
    let message = &reply["choices"][0]["message"];
    assert_eq!(
        (&message["reasoning_content"], &message["reasoning_signature"]),
        (&json!("hm hm"), &json!("signed"))
    );
    let told = streamed(&platform, asking("thinks", "x")).await;
    let deltas: Vec<Value> = told
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .map(|piece| piece["choices"][0]["delta"].clone())
        .collect();
    assert_eq!(deltas[1], json!({ "reasoning_content": "hm " }));
    assert_eq!(deltas[2], json!({ "reasoning_content": "hm" }));
    assert_eq!(deltas[3], json!({ "reasoning_signature": "signed" }));
    assert_eq!(deltas[4], json!({ "content": "one two" }));
}

#[tokio::test]
async fn a_response_is_the_same_reply_in_another_format() {
    let platform = Platform::start().await;
    let respond = async |body: Value| told(platform.post("/v1/responses", body).await).await;
    let (status, reply) = respond(json!({ "model": "thinks", "input": "x" })).await;
    assert_eq!(
        (status, &reply["object"], &reply["status"]),
        (200, &json!("response"), &json!("completed"))
    );
    assert_eq!(reply["output"][0]["encrypted_content"], "signed");
    assert_eq!(reply["output"][1]["content"][0]["text"], "one two");
    assert_eq!(reply["usage"]["total_tokens"], 5);
    let (status, answer) = respond(json!({ "model": "missing", "input": "x" })).await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("model_not_found")));
    let (status, answer) =
        respond(json!({ "model": "small", "input": "x", "max_output_tokens": 0 })).await;
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("max_output_tokens")));
    let response = platform
        .post("/v1/responses", json!({ "model": "thinks", "input": "x", "stream": true }))
        .await;
    let text = response.text().await.unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    let told: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
    let last = &told.last().unwrap()["response"];
    assert_eq!(last["output"][0]["summary"][0]["text"], "hm hm");
    assert_eq!(last["output"][0]["encrypted_content"], "signed");
    assert_eq!(last["output"][1]["content"][0]["text"], "one two");
}

#[tokio::test]
async fn what_a_stream_loses_comes_with_its_end_and_what_breaks_off_says_so() {
    let platform = Platform::start().await;
    assert_eq!(text(&streamed(&platform, asking("loses", "x")).await), "one two three ");
    let told = streamed(&platform, asking("breaks", "x")).await;
    assert_eq!(text(&told), "one ");
    let last: Value = serde_json::from_str(told.last().unwrap()).unwrap();
    assert_eq!(last["error"]["message"], "it broke off");
    assert_eq!(last["error"]["type"], "server_error");
    let told = streamed(&platform, asking("restarts", "x")).await;
    assert!(told.last().unwrap().contains("begun again"), "{told:?}");
}

#[tokio::test]
async fn errors_are_in_openais_format() {
    let platform = Platform::start().await;
    let check = async |body: Value, status: u16, expected: Value| {
        let (got, answer) = ask(&platform, body).await;
        let error = &answer["error"];
        let found =
            json!({ "type": error["type"], "param": error["param"], "code": error["code"] });
        assert_eq!((got, found), (status, expected), "{answer}");
        assert!(!error["message"].as_str().unwrap().is_empty());
    };
    let invalid = |param: &str, code: &str| json!({ "type": "invalid_request_error", "param": param, "code": code });
    check(asking("missing", "x"), 404, invalid("model", "model_not_found")).await;
    let mut streamed = asking("missing", "x");
    streamed["stream"] = json!(true);
    check(streamed, 404, invalid("model", "model_not_found")).await;
    check(json!({ "model": "m" }), 400, invalid("messages", "missing_required_parameter")).await;
    check(json!({ "max_token": 1 }), 400, invalid("max_token", "unknown_parameter")).await;
    let mut several = asking("m", "x");
    several["n"] = json!(2);
    check(several, 400, invalid("n", "invalid_value")).await;
    let busy = platform.post("/v1/chat/completions", asking("busy", "x")).await;
    assert_eq!(
        (busy.status().as_u16(), &busy.headers()["retry-after"]),
        (429, &"7".parse().unwrap())
    );
    assert_eq!(busy.headers()["x-request-id"].len(), 32);
    let fine = platform.post("/v1/chat/completions", asking("m", "x")).await;
    assert_eq!((fine.status().as_u16(), fine.headers()["x-request-id"].len()), (200, 32));
    let named = platform.request(Method::GET, "/v1/models").header("x-request-id", "mine-7");
    assert_eq!(named.send().await.unwrap().headers()["x-request-id"], "mine-7");
    let spent = platform.post("/v1/chat/completions", asking("spent", "x")).await;
    assert_eq!((spent.status().as_u16(), spent.headers().get("retry-after")), (429, None));
    assert_eq!(told(busy).await.1["error"]["code"], "rate_limit_exceeded");
    let (status, answer) = told(platform.get("/v1/chat/completions").await).await;
    assert_eq!((status, &answer["error"]["type"]), (405, &json!("invalid_request_error")));
    let request = platform.request(Method::POST, "/v1/chat/completions");
    let request = request.header("content-type", "application/json").body("{");
    let (status, answer) = told(request.send().await.unwrap()).await;
    assert_eq!(status, 400);
    assert!(answer["error"]["message"].as_str().unwrap().contains("parse"), "{answer}");
}

#[tokio::test]
async fn a_key_names_the_recorded_reply_and_without_one_nothing_is_recorded() {
    let platform = Platform::start().await;
    let ask = async |key: Option<&str>, text: &str| {
        let mut request = platform.request(Method::POST, "/v1/chat/completions");
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = told(request.json(&asking("key", text)).send().await.unwrap()).await.1;
        answer["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    let first = ask(Some("a"), "x").await;
    assert!(first.ends_with(" false"), "{first}");
    assert_eq!(ask(Some("a"), "x").await, first);
    assert_ne!(ask(Some("a"), "y").await, first);
    assert_ne!(ask(Some("b"), "x").await, first);
    let (one, other) = (ask(None, "x").await, ask(None, "x").await);
    assert!(one.ends_with(" true") && one != other, "{one} {other}");
}

#[tokio::test]
async fn a_client_that_hangs_up_ends_the_work() {
    let platform = Platform::start().await;
    let mut abandoned = Box::pin(platform.bus.listen::<SessionAbandoned>().await.unwrap());
    // A round trip: now the server knows who listens.
    platform.bus.dead_letters().list(1).await.unwrap();
    for (asked, stream) in (1..).zip([false, true]) {
        let mut body = asking("endless", "x");
        body["stream"] = json!(stream);
        let request = platform.request(Method::POST, "/v1/chat/completions").json(&body);
        let hanging = tokio::spawn(request.send());
        // What is hung up on before is not asked at all.
        eventually(PATIENCE, "the model is asked", || async { platform.peers.endless() == asked })
            .await;
        hanging.abort();
        let heard = tokio::time::timeout(PATIENCE, abandoned.next()).await.unwrap().unwrap();
        assert!(!heard.session.is_empty());
    }
}

#[tokio::test]
async fn vectors_and_models_are_told() {
    let platform = Platform::start().await;
    let embed = async |body: Value| told(platform.post("/v1/embeddings", body).await).await;
    let (status, answer) = embed(json!({ "model": "e", "input": ["abc", "d"] })).await;
    assert_eq!((status, &answer["data"][0]["embedding"]), (200, &json!([3.0, 0.5])));
    assert_eq!(
        (&answer["data"][1]["index"], &answer["usage"]["total_tokens"]),
        (&json!(1), &json!(4))
    );
    let (_, answer) =
        embed(json!({ "model": "e", "input": "abc", "encoding_format": "base64" })).await;
    assert_eq!(answer["data"][0]["embedding"], "AABAQAAAAD8=");
    let (status, answer) = embed(json!({ "model": "e", "input": [1, 2] })).await;
    assert_eq!((status, &answer["error"]["param"]), (400, &json!("input")));
    let one = async |id: &str| told(platform.get(&format!("/v1/models/{id}")).await).await;
    assert_eq!(one("small").await.1["owned_by"], "played");
    for path in ["played%2Fnew", "played/new"] {
        assert_eq!(one(path).await.1["id"], "played/new");
    }
    let (status, answer) = one("nothing").await;
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("model_not_found")));
    let (_, answer) = one("agent:critc").await;
    assert!(answer["error"]["message"].as_str().unwrap().ends_with("Is 'agent:critic' meant?"));
    let (_, answer) = told(platform.get("/v1/models").await).await;
    let ids: Vec<&str> = answer["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["fast", "small", "large", "agent:critic", "agent:writer"]);
}

#[tokio::test]
async fn where_keys_are_registered_nobody_comes_in_without_one() {
    let platform = Platform::start().await;
    platform.peers.register_keys();
    let ask = async |key: &str, model: &str| {
        let request =
            platform.request(Method::POST, "/v1/chat/completions").json(&asking(model, "x"));
        let request = if key.is_empty() { request } else { request.bearer_auth(key) };
        told(request.send().await.unwrap()).await
    };
    for key in ["", "sk-bad-bad-bad-bad"] {
        let (status, answer) = ask(key, "who").await;
        assert_eq!(
            (status, &answer["error"]["code"]),
            (401, &json!("invalid_api_key")),
            "{answer}"
        );
        assert!(!answer.to_string().contains("sk-bad"), "{answer}");
    }
    let (status, answer) = ask("sk-good-good-good", "who").await;
    assert_eq!((status, &answer["choices"][0]["message"]["content"]), (200, &json!("acme/k1")));
    let (status, answer) = ask("sk-fast-fast-fast", "agent:critic").await;
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("permission_denied")));
}

#[tokio::test]
async fn where_no_key_is_registered_any_will_do_but_one_that_looks_like_ours() {
    let platform = Platform::start().await;
    for (key, status) in [("sk-any-any-any-any", 200), ("sk-muster-removed-long-ago", 401)] {
        let request = platform
            .request(Method::POST, "/v1/chat/completions")
            .json(&asking("who", "x"))
            .bearer_auth(key);
        assert_eq!(request.send().await.unwrap().status().as_u16(), status, "{key}");
    }
}
