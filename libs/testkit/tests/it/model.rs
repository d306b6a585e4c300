use axum::http::StatusCode;
use muster_testkit::{Answer, ScriptedModel};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// One request over a plain socket: the status line with headers, and the body as it came (chunk sizes and all).
async fn post(model: &ScriptedModel, path: &str, body: &Value) -> (String, String) {
    let host = model.base_url().trim_start_matches("http://").trim_end_matches("/v1");
    let body = body.to_string();
    let head = format!(
        "POST /v1/{path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer key\r\n\
         content-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        body.len()
    );
    let mut socket = TcpStream::connect(host).await.unwrap();
    socket.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    drop(socket.read_to_end(&mut answer).await);
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    (head.to_owned(), body.to_owned())
}

async fn chat(model: &ScriptedModel, stream: bool) -> (String, String) {
    let options = json!({ "include_usage": true });
    let messages = json!([{ "role": "user", "content": "hello" }]);
    post(
        model,
        "chat/completions",
        &json!({ "model": "m", "stream": stream, "stream_options": options, "messages": messages }),
    )
    .await
}

/// The `data:` lines of a stream.
fn events(body: &str) -> Vec<Value> {
    body.lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .filter_map(|data| serde_json::from_str(data).ok())
        .collect()
}

#[tokio::test]
async fn a_text_is_streamed_word_by_word_with_usage_at_the_end() {
    let model = ScriptedModel::start().await;
    model.push(Answer::text("one two three").usage(11, 7));
    let (head, body) = chat(&model, true).await;
    assert!(head.contains("200 OK") && head.contains("text/event-stream"), "{head}");
    let text: String = events(&body)
        .iter()
        .filter_map(|event| event.pointer("/choices/0/delta/content")?.as_str())
        .collect();
    assert_eq!(text, "one two three");
    assert_eq!(events(&body).last().unwrap().pointer("/usage/total_tokens"), Some(&json!(18)));
    assert!(body.contains("data: [DONE]"));
    assert_eq!(model.remaining(), 0);
    let request = &model.requests()[0];
    assert_eq!(request.headers["authorization"], "Bearer key");
    assert_eq!(request.body["model"], "m");
}

#[tokio::test]
async fn the_pieces_of_a_tool_call_make_its_arguments() {
    let model = ScriptedModel::start().await;
    let arguments = json!({ "query": "nätworks", "limit": 3 });
    model.push(Answer::tool_call("search", arguments.clone()));
    let (_, body) = chat(&model, true).await;
    let pieces: String = events(&body)
        .iter()
        .filter_map(|event| {
            event.pointer("/choices/0/delta/tool_calls/0/function/arguments")?.as_str()
        })
        .collect();
    assert_eq!(serde_json::from_str::<Value>(&pieces).unwrap(), arguments);
    assert!(body.contains(r#""finish_reason":"tool_calls""#));
}

#[tokio::test]
async fn a_whole_answer_and_failures_have_their_forms() {
    let model = ScriptedModel::start().await;
    model.push(Answer::text("all at once"));
    model.push(Answer::too_many_requests(2));
    model.push(Answer::failure(StatusCode::INTERNAL_SERVER_ERROR, "it broke"));
    let (_, body) = chat(&model, false).await;
    assert!(body.contains("all at once"), "{body}");
    let (head, _) = chat(&model, true).await;
    assert!(head.contains("429") && head.contains("retry-after: 2"), "{head}");
    let (head, body) = chat(&model, true).await;
    assert!(head.contains("500") && body.contains("it broke"), "{head} {body}");
    let (head, body) = chat(&model, true).await;
    assert!(head.contains("500") && body.contains("no further answer"), "{head} {body}");
}

#[tokio::test]
async fn a_cut_stream_has_no_end() {
    let model = ScriptedModel::start().await;
    model.push(Answer::text("one two three").cut_after(2));
    let (_, body) = chat(&model, true).await;
    assert_eq!(events(&body).len(), 2);
    assert!(!body.contains("[DONE]") && !body.ends_with("0\r\n\r\n"), "{body}");
}

#[tokio::test]
async fn a_responder_answers_what_no_script_covers() {
    let model = ScriptedModel::start().await;
    model.respond_with(|request| {
        Answer::text(format!("you said {}", request.body["messages"][0]["content"]))
    });
    let (_, body) = chat(&model, false).await;
    assert!(body.contains("you said \\\"hello\\\""), "{body}");
}

#[tokio::test]
async fn texts_with_common_words_have_similar_vectors() {
    let model = ScriptedModel::start().await;
    let (_, body) = post(
        &model,
        "embeddings",
        &json!({ "model": "e", "input": ["red fish", "red bird", "blue sky"] }),
    )
    .await;
    let body: Value = serde_json::from_str(&body).unwrap();
    let vector = |at: usize| -> Vec<f64> {
        body["data"][at]["embedding"].as_array().unwrap().iter().filter_map(Value::as_f64).collect()
    };
    let cosine =
        |a: usize, b: usize| -> f64 { vector(a).iter().zip(vector(b)).map(|(x, y)| x * y).sum() };
    assert!(cosine(0, 1) > cosine(0, 2), "{} {}", cosine(0, 1), cosine(0, 2));
    assert!((cosine(0, 0) - 1.0).abs() < 1e-9);
}
