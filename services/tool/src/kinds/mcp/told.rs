//! What went wrong with a server, in our words. The library's own name its types, and may repeat a whole message.

use std::io;

use rmcp::model::ErrorData;
use rmcp::service::{ClientInitializeError, ServiceError};
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;

use super::revision;
use crate::error::Error;

/// How much of a server's own words is told, in characters.
const SAID: usize = 500;

/// Why a server was not agreed with.
pub(super) fn greeting(error: &ClientInitializeError) -> Error {
    use ClientInitializeError as Failure;
    let text = match error {
        Failure::NoCompatibleProtocolVersion { server_supported, .. } => {
            return Error::unavailable(revision::foreign(server_supported));
        }
        // What was asked at last says more than what older servers do not know.
        Failure::LegacyFallbackFailed { fallback, .. } => return greeting(fallback),
        Failure::TransportError { error, .. } => match on_the_way(error) {
            Some(StreamableHttpError::Client(Error::Denied(text))) => {
                return Error::Denied(text.clone());
            }
            _ => of_transport(error),
        },
        Failure::JsonRpcError(error) => of_answer(error),
        Failure::ConnectionClosed(_) => "it ended the connection".to_owned(),
        Failure::ExpectedInitResponse(_)
        | Failure::ExpectedInitResult(_)
        | Failure::ConflictInitResponseId(..)
        | Failure::UncorrelatedErrorResponse { .. } => {
            "it answered something else than was asked".to_owned()
        }
        _ => "it was not waited for".to_owned(),
    };
    Error::unavailable(format!("it did not say hello: {text}"))
}

/// Why a question was not answered.
pub(super) fn question(error: &ServiceError) -> String {
    match error {
        ServiceError::McpError(error) => of_answer(error),
        ServiceError::TransportSend(error) => of_transport(error),
        ServiceError::TransportClosed => "it ended the connection".to_owned(),
        ServiceError::UnexpectedResponse => "it answered something else than was asked".to_owned(),
        ServiceError::Timeout { timeout } => {
            format!("it was silent for {} ms", timeout.as_millis())
        }
        ServiceError::Cancelled { reason: Some(reason) } => {
            format!("it was cancelled: {}", said(reason))
        }
        ServiceError::Cancelled { reason: None } => "it was cancelled".to_owned(),
        ServiceError::InputRequiredRoundsExceeded { max_rounds } => {
            format!("it asked for more input {max_rounds} times, and no more is given")
        }
        _ => "the connection to it broke".to_owned(),
    }
}

/// An error that a server answered.
pub(super) fn of_answer(error: &ErrorData) -> String {
    format!("it answered the error {}: {}", error.code.0, said(&error.message))
}

/// What failed on the way to a server over HTTP.
pub(super) fn on_the_way(error: &DynamicTransportError) -> Option<&StreamableHttpError<Error>> {
    error.error.downcast_ref()
}

fn of_transport(error: &DynamicTransportError) -> String {
    if let Some(error) = on_the_way(error) {
        return of_http(error);
    }
    match error.error.downcast_ref::<io::Error>().map(io::Error::kind) {
        Some(io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof) => {
            "it ended, or reads no more".to_owned()
        }
        _ => "the connection to it broke".to_owned(),
    }
}

fn of_http(error: &StreamableHttpError<Error>) -> String {
    use StreamableHttpError as Failure;
    match error {
        // These are ours.
        Failure::Client(error) => error.to_string(),
        Failure::Sse(_) | Failure::Io(_) => "the stream of its answer broke off".to_owned(),
        Failure::UnexpectedEndOfStream => "the stream of its answer has no end".to_owned(),
        Failure::UnexpectedServerResponse(_) | Failure::Deserialize(_) => {
            "it answered something else than was asked".to_owned()
        }
        Failure::UnexpectedContentType(found) => {
            let found = found.as_deref().map_or_else(|| "nothing".to_owned(), said);
            format!(
                "its answer is {found}, but must be application/json or text/event-stream: is the address right?"
            )
        }
        Failure::HttpStatus(status) => format!("it answered {}", status.status),
        Failure::ReinitializationFailed(error) => of_answer(error),
        Failure::AuthRequired(_) | Failure::InsufficientScope(_) => {
            "it does not let us in: `with.endpoint.authentication` says how".to_owned()
        }
        Failure::SessionExpired => "its session has expired".to_owned(),
        Failure::SessionRecoveryTimeout | Failure::ControlRequestTimeout => {
            "it did not answer in time".to_owned()
        }
        Failure::ServerDoesNotSupportSse => "it has no stream of events".to_owned(),
        _ => "the connection to it broke".to_owned(),
    }
}

/// A server's own words, bounded.
fn said(text: &str) -> String {
    match text.char_indices().nth(SAID) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::any::TypeId;
    use std::time::Duration;

    use rmcp::model::ErrorCode;

    use super::*;

    fn transport(error: impl std::error::Error + Send + Sync + 'static) -> DynamicTransportError {
        DynamicTransportError::from_parts(
            "rmcp::transport::worker::WorkerTransport<Http>",
            TypeId::of::<u8>(),
            Box::new(error),
        )
    }

    fn http(error: StreamableHttpError<Error>) -> ServiceError {
        ServiceError::TransportSend(transport(error))
    }

    /// What no error may show of how the program is made.
    const INTERNALS: [&str; 9] =
        ["rmcp", "::", "Transport", "Mcp error", "Some(", "JsonRpc", "{", "expect ", "Io error"];

    #[test]
    fn no_error_shows_what_the_library_calls_its_parts() {
        let data = ErrorData::new(ErrorCode(-32_603), "x".repeat(9_000), None);
        for (error, part) in [
            (ServiceError::McpError(data.clone()), "it answered the error -32603: xxx"),
            (ServiceError::TransportClosed, "it ended the connection"),
            (ServiceError::UnexpectedResponse, "something else than was asked"),
            (ServiceError::Timeout { timeout: Duration::from_secs(2) }, "silent for 2000 ms"),
            (ServiceError::Cancelled { reason: Some("y".repeat(9_000)) }, "it was cancelled: yyy"),
            (ServiceError::InputRequiredRoundsExceeded { max_rounds: 3 }, "3 times"),
            (ServiceError::SubscriptionLagged { capacity: 7 }, "broke"),
            (http(StreamableHttpError::Client(Error::unavailable("GET x"))), "GET x"),
            (
                http(StreamableHttpError::UnexpectedServerResponse(
                    "expect json, got JsonRpcMessage { id: Some(1) }".into(),
                )),
                "something else than was asked",
            ),
            (http(StreamableHttpError::Io(io::Error::other("x::y"))), "broke off"),
            (http(StreamableHttpError::UnexpectedEndOfStream), "no end"),
            (http(StreamableHttpError::UnexpectedContentType(Some("text/html".into()))), "html"),
            (http(StreamableHttpError::TransportChannelClosed), "broke"),
            (http(StreamableHttpError::ReinitializationFailed(data)), "-32603"),
            (
                ServiceError::TransportSend(transport(io::Error::from(io::ErrorKind::BrokenPipe))),
                "reads no more",
            ),
            (ServiceError::TransportSend(transport(io::Error::other("x::y"))), "broke"),
        ] {
            let told = question(&error);
            assert!(told.contains(part), "{told}");
            assert!(!INTERNALS.iter().any(|internal| told.contains(internal)), "{told}");
            assert!(told.chars().count() < 600, "{told}");
        }
    }

    #[test]
    fn a_greeting_that_failed_is_told_by_its_last_question() {
        let closed = || ClientInitializeError::ConnectionClosed("discover response".into());
        let refused = ErrorData::new(ErrorCode(-32_000), "not today", None);
        let both = ClientInitializeError::LegacyFallbackFailed {
            discover: Box::new(closed()),
            fallback: Box::new(ClientInitializeError::JsonRpcError(refused)),
        };
        let said = "it did not say hello: it answered the error -32000: not today";
        assert_eq!(greeting(&both).to_string(), said);
        assert_eq!(
            greeting(&closed()).to_string(),
            "it did not say hello: it ended the connection"
        );
        let nothing = greeting(&ClientInitializeError::ExpectedInitResult(None)).to_string();
        assert!(!nothing.contains("None"), "{nothing}");
        let denied = StreamableHttpError::Client(Error::Denied("not allowed".into()));
        let denied = ClientInitializeError::TransportError {
            error: transport(denied),
            context: "send initialize request".into(),
        };
        assert!(matches!(greeting(&denied), Error::Denied(text) if text == "not allowed"));
    }
}
