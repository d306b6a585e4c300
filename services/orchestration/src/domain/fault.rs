//! A fault of another service as the specification's standard error.

use muster_contracts::{Code, JsonObject};
use muster_workflow::{Error, ErrorType};
use serde_json::Value;

/// The error that a task ends with where a call failed with this code.
pub(crate) fn standard_error(code: Code, message: &str) -> Error {
    let kind = match code {
        Code::Invalid | Code::Conflict => ErrorType::Validation,
        Code::NotFound => ErrorType::Configuration,
        Code::Unauthenticated => ErrorType::Authentication,
        Code::Denied => ErrorType::Authorization,
        Code::Deadline => ErrorType::Timeout,
        Code::Exhausted | Code::Unavailable => ErrorType::Communication,
        Code::Internal => ErrorType::Runtime,
    };
    let mut error = Error::new(kind, message);
    // The standard types have one status each; the code says more.
    error.status = if code == Code::Deadline { error.status } else { code.http_status() };
    error
}

/// The error that a call says itself: the name of a standard type, a status and a detail.
pub(crate) fn raised(problem: &JsonObject) -> Option<Error> {
    let text = |field: &str| problem.get(field).and_then(Value::as_str);
    let mut error =
        Error::new(ErrorType::from_name(text("type")?)?, text("detail").unwrap_or_default());
    let status = problem.get("status").and_then(Value::as_u64);
    if let Some(status) = status.and_then(|status| u16::try_from(status).ok()) {
        error.status = status;
    }
    Some(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_keep_their_status_and_get_a_standard_type() {
        let error = standard_error(Code::Exhausted, "rate limit");
        assert_eq!((error.status, error.detail.as_str()), (429, "rate limit"));
        assert!(error.r#type.ends_with("/communication"));
        assert_eq!(standard_error(Code::Deadline, "late").status, 408);
    }

    #[test]
    fn what_a_call_says_itself_is_a_standard_error_too() {
        let problem = |kind: &str| {
            JsonObject::wrap(serde_json::json!({ "type": kind, "status": 404, "detail": "no pet" }))
        };
        let error = raised(&problem("communication")).unwrap();
        assert_eq!((error.status, error.detail.as_str()), (404, "no pet"));
        assert!(error.r#type.ends_with("/communication"));
        assert_eq!(raised(&problem("weather")), None);
    }
}
