//! A fault of another service as the specification's standard error.

use muster_contracts::Code;
use muster_workflow::{Error, ErrorType};

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
}
