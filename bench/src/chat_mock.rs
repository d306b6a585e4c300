//! A model server that answers at once, or streams at a pace; it does nothing else, so that what is measured is the way to it.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, Response};
use axum::routing::post;
use chrono::Utc;
use futures::StreamExt;

/// How many tokens a paced stream has, and how far they are apart.
pub(crate) const TOKENS: u64 = 150;
pub(crate) const BETWEEN: Duration = Duration::from_millis(20);

const WHOLE: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"instant","choices":[{"index":0,"message":{"role":"assistant","content":"The harbour has two boats and a crane."},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":9,"total_tokens":29}}"#;
const PIECES: &str = concat!(
    r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"instant","choices":[{"index":0,"delta":{"role":"assistant","content":"The harbour has two boats and a crane."},"finish_reason":null}]}"#,
    "\n\n",
    r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"instant","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#,
    "\n\n",
    r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"instant","choices":[],"usage":{"prompt_tokens":20,"completion_tokens":9,"total_tokens":29}}"#,
    "\n\ndata: [DONE]\n\n"
);

/// Serves until the process ends, and returns the address.
pub(crate) async fn serve() -> anyhow::Result<String> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/v1", listener.local_addr()?);
    let router = Router::new().route("/v1/chat/completions", post(answer));
    tokio::spawn(async move {
        let listener =
            axum::serve::ListenerExt::tap_io(listener, |stream| drop(stream.set_nodelay(true)));
        axum::serve(listener, router).await
    });
    Ok(url)
}

/// What is asked is told by words of the body: it need not be read.
async fn answer(body: Bytes) -> Response<Body> {
    let has = |word: &[u8]| body.windows(word.len()).any(|window| window == word);
    if has(b"\"paced\"") {
        return response("text/event-stream", Body::from_stream(paced()));
    }
    if has(b"\"stream\":true") {
        return response("text/event-stream", Body::from(PIECES));
    }
    response("application/json", Body::from(WHOLE))
}

fn response(content_type: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Each token is the time at which it is sent, in microseconds since 1970.
fn paced() -> impl futures::Stream<Item = Result<Bytes, Infallible>> {
    let clock = tokio::time::interval(BETWEEN);
    let tokens = futures::stream::unfold((clock, 0), |(mut clock, sent)| async move {
        clock.tick().await;
        let text = match sent {
            TOKENS => PACED_END.to_owned(),
            _ if sent > TOKENS => return None,
            _ => format!(
                r#"data: {{"id":"c","object":"chat.completion.chunk","created":1,"model":"paced","choices":[{{"index":0,"delta":{{"content":"{} "}},"finish_reason":null}}]}}{}"#,
                Utc::now().timestamp_micros(),
                "\n\n"
            ),
        };
        Some((Bytes::from(text), (clock, sent + 1)))
    });
    tokens.map(Ok)
}

const PACED_END: &str = concat!(
    r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"paced","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":20,"completion_tokens":150,"total_tokens":170}}"#,
    "\n\ndata: [DONE]\n\n"
);
