//! Errors as OpenAI writes them.

use muster_contracts::Code;
use serde::Serialize;
use serde_json::{Value, json};

use crate::problem::Problem;

/// What is wrong with a parameter of an OpenAI request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) message: String,
    /// The parameter, with its place in lists.
    pub(crate) param: Option<String>,
    /// OpenAI's word for the kind of mistake.
    pub(crate) code: Option<&'static str>,
}

impl Refusal {
    /// A value that cannot be used.
    pub(crate) fn value(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { message: message.into(), param: Some(param.into()), code: Some("invalid_value") }
    }

    /// What a problem document has of it.
    pub(crate) fn details(&self) -> Value {
        json!({ "param": self.param, "openai_code": self.code })
    }

    /// A parameter that is known and cannot be honoured.
    pub(crate) fn unsupported(param: impl Into<String>, why: &str) -> Self {
        let param = param.into();
        let message = format!("Unsupported parameter: '{param}' {why}");
        Self { message, param: Some(param), code: Some("unsupported_parameter") }
    }
}

/// The body of an error.
#[derive(Debug, Serialize)]
pub(crate) struct Failure<'a> {
    error: Inner<'a>,
}

#[derive(Debug, Serialize)]
struct Inner<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: Option<&'a str>,
}

impl<'a> Failure<'a> {
    /// The same as the problem says, in OpenAI's words.
    pub(crate) fn of(problem: &'a Problem) -> Self {
        let (kind, code) = words(problem.status, &problem.code);
        let detail = |name: &str| problem.details.get(name).and_then(Value::as_str);
        Self {
            error: Inner {
                message: &problem.detail,
                kind,
                param: detail("param"),
                code: detail("openai_code").or(code),
            },
        }
    }
}

/// The `type` and, where the error says no better one, the `code`.
fn words(status: u16, code: &str) -> (&'static str, Option<&'static str>) {
    match (status, Code::from_name(code)) {
        (401, _) => ("invalid_request_error", Some("invalid_api_key")),
        (403, _) => ("permission_error", Some("permission_denied")),
        (404, _) => ("invalid_request_error", Some("not_found")),
        (429, _) => ("rate_limit_error", Some("rate_limit_exceeded")),
        (_, Some(Code::Unavailable)) => ("server_error", Some("service_unavailable")),
        (_, Some(Code::Deadline)) => ("server_error", Some("timeout")),
        (500.., _) => ("server_error", None),
        _ => ("invalid_request_error", None),
    }
}
