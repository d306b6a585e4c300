//! The REST client: what any client of the platform could do with curl.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use muster_runtime::Env;
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

const REQUEST: Duration = Duration::from_secs(100);
const READY: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(250);
const TOKEN: &str = "MUSTER_TOKEN";

/// A client of one gateway.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    /// How long a platform that is not ready is tried again.
    patience: Duration,
}

/// The parts of an RFC 9457 document that people read.
#[derive(Debug, Deserialize)]
struct Problem {
    detail: String,
    #[serde(default)]
    trace_id: String,
    #[serde(default)]
    details: Value,
}

impl Client {
    pub(crate) fn new(base: &str, patience: Duration) -> Result<Self> {
        let url: reqwest::Url = base.parse().with_context(|| {
            format!("the server is {base:?}, but it must be a URL such as http://127.0.0.1:8080")
        })?;
        if !matches!(url.scheme(), "http" | "https") {
            bail!("the server is {base:?}, but its scheme must be http or https");
        }
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .default_headers(authorization(&Env::of_process())?)
            .build()?;
        Ok(Self { http, base: base.trim_end_matches('/').to_owned(), patience })
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.json(self.request(Method::GET, path)).await
    }

    pub(crate) async fn put_yaml(&self, path: &str, text: String) -> Result<Value> {
        let request =
            self.request(Method::PUT, path).header(header::CONTENT_TYPE, "application/yaml");
        self.json(request.body(text)).await
    }

    /// The answer's body. A platform that is not ready yet is asked again, so the request must bear being repeated.
    pub(crate) async fn json(&self, request: RequestBuilder) -> Result<Value> {
        let response = self.send(request.timeout(REQUEST)).await?;
        let told = about(&response);
        let wrong = |_| anyhow!(self.is_another(&format!("{told}, and no JSON")));
        response.json().await.map_err(wrong)
    }

    /// What to say where something else than a gateway answers.
    pub(crate) fn is_another(&self, what: &str) -> String {
        format!(
            "what answers at {} is no Muster gateway: {what}. Name the gateway with --server or MUSTER_SERVER",
            self.base
        )
    }

    /// A good answer; see [`Client::json`].
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response> {
        let over = Instant::now() + self.patience;
        loop {
            let again =
                request.try_clone().ok_or_else(|| anyhow!("the request cannot be repeated"))?;
            let error = match again.send().await {
                Ok(response) if response.status().is_success() => return Ok(response),
                Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    self.refused(response).await
                }
                Ok(response) => return Err(self.refused(response).await),
                Err(error) => self.unreachable(error),
            };
            if Instant::now() > over {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The status of an answer, and its body or the error that it tells; see [`Client::json`]. Only a platform that cannot be reached is an error.
    pub(crate) async fn answer(&self, request: RequestBuilder) -> Result<(StatusCode, String)> {
        let over = Instant::now() + self.patience;
        loop {
            let again =
                request.try_clone().ok_or_else(|| anyhow!("the request cannot be repeated"))?;
            let error = match again.timeout(REQUEST).send().await {
                Ok(response) if response.status().is_success() => {
                    return Ok((response.status(), response.text().await?));
                }
                Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE => {
                    self.refused(response).await
                }
                Ok(response) => {
                    let status = response.status();
                    let ours = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| {
                        kind.to_str().is_ok_and(|kind| kind.starts_with("application/problem+json"))
                    });
                    let refused = self.refused(response).await;
                    return if ours { Ok((status, refused.to_string())) } else { Err(refused) };
                }
                Err(error) => self.unreachable(error),
            };
            if Instant::now() > over {
                return Err(error);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Why the platform cannot work now; nothing where it can.
    pub(crate) async fn why_not_ready(&self) -> Option<String> {
        let answer = self.request(Method::GET, "/readyz").timeout(READY).send().await;
        match answer {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => {
                let body: Value = response.json().await.unwrap_or_default();
                let reason = body.get("detail").and_then(Value::as_str);
                Some(reason.map_or_else(|| body.to_string(), str::to_owned))
            }
            Err(error) => Some(self.unreachable(error).to_string()),
        }
    }

    /// The error that an answer tells.
    async fn refused(&self, response: Response) -> anyhow::Error {
        let (status, path) = (response.status(), response.url().path().to_owned());
        let about = about(&response);
        let text = response.text().await.unwrap_or_default();
        match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => told(&path, status, &problem),
            Err(_other) => {
                let start: String = text.chars().take(300).collect();
                anyhow!(self.is_another(&format!("{path}: {about}: {start:?}")))
            }
        }
    }

    fn unreachable(&self, error: reqwest::Error) -> anyhow::Error {
        let mut cause: &dyn std::error::Error = &error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        if !error.is_connect() && !error.is_timeout() {
            return anyhow!(self.is_another(&format!("it does not speak HTTP ({cause})")));
        }
        anyhow!(
            "cannot reach Muster at {}: {cause}. Start it with `make up` or `muster up`, or name another with --server",
            self.base
        )
    }
}

/// Who asks, where a token says it. The settings name the token, no argument: a command line is seen by everybody on the machine.
fn authorization(env: &Env) -> Result<HeaderMap> {
    let Some(token) = env.secret(TOKEN)? else { return Ok(HeaderMap::new()) };
    let value = HeaderValue::from_str(&format!("Bearer {}", token.text.trim()));
    let mut value = value.map_err(|_invalid| {
        anyhow!("the token of {} cannot be one: it has characters that no header has", token.place)
    })?;
    value.set_sensitive(true);
    Ok(HeaderMap::from_iter([(header::AUTHORIZATION, value)]))
}

/// What kind of answer it is, where it is none of ours.
pub(crate) fn about(response: &Response) -> String {
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let kind = header(header::CONTENT_TYPE).unwrap_or("no content type");
    let server = header(header::SERVER).map(|name| format!(" by {name:?}")).unwrap_or_default();
    format!("{} with {kind}{server}", response.status())
}

/// The error of an answer that has a problem document.
fn told(path: &str, status: StatusCode, problem: &Problem) -> anyhow::Error {
    let mut message = format!("{path}: {status}: {}", problem.detail);
    for part in problem.details.as_array().into_iter().flatten() {
        if let (Some(pointer), Some(text)) = (
            part.get("pointer").and_then(Value::as_str),
            part.get("message").and_then(Value::as_str),
        ) && !problem.detail.contains(text)
        {
            message.push_str(&format!("\n  {pointer}: {text}"));
        }
    }
    if status == StatusCode::UNAUTHORIZED {
        message.push_str(&format!(
            " This command sends {TOKEN}, or what is in the file that {TOKEN}_FILE names."
        ));
    }
    if status.is_server_error() {
        message.push_str(&format!(" (trace {})", problem.trace_id));
    }
    anyhow!(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_sent_and_never_shown() {
        let env = |name: &str, value: &str| Env::from_iter([(name, value)]);
        let headers = authorization(&env(TOKEN, "the-secret")).unwrap();
        assert_eq!(headers[header::AUTHORIZATION], "Bearer the-secret");
        assert!(!format!("{headers:?}").contains("the-secret"));
        assert!(authorization(&Env::default()).unwrap().is_empty());
        let error = authorization(&env(TOKEN, "the\nsecret")).unwrap_err().to_string();
        assert!(error.contains(TOKEN) && !error.contains("secret"), "{error}");
        let error =
            authorization(&env("MUSTER_TOKEN_FILE", "/nowhere/token")).unwrap_err().to_string();
        assert!(error.contains("MUSTER_TOKEN_FILE") && error.contains("/nowhere/token"), "{error}");
    }
}
