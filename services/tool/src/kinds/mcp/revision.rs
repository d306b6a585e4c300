//! The revisions of the protocol: which are spoken, and how one is agreed on.

use rmcp::model::ProtocolVersion;
use rmcp::service::{ClientInitializeError, ClientLifecycleMode};

use crate::error::Error;

/// Those that are spoken, the newest first.
const REVISIONS: [ProtocolVersion; 5] = [
    ProtocolVersion::V_2026_07_28,
    ProtocolVersion::V_2025_11_25,
    ProtocolVersion::V_2025_06_18,
    ProtocolVersion::V_2025_03_26,
    ProtocolVersion::V_2024_11_05,
];

/// The revision that a definition asks for.
pub(super) fn wanted(name: &str) -> Result<ProtocolVersion, Error> {
    REVISIONS.into_iter().find(|revision| revision.as_str() == name).ok_or_else(|| {
        Error::Invalid(format!(
            "`with.protocol` is {name:?}, but must be one of {}; without it the server says what it speaks",
            names()
        ))
    })
}

pub(super) fn is_spoken(name: &str) -> bool {
    REVISIONS.iter().any(|revision| revision.as_str() == name)
}

/// The error of a server that speaks no revision of ours.
pub(super) fn unknown(spoken: &str) -> Error {
    Error::unavailable(told(spoken))
}

/// The same of a server that has said what it speaks.
pub(super) fn foreign(spoken: &[ProtocolVersion]) -> String {
    told(&spoken.iter().map(ProtocolVersion::as_str).collect::<Vec<_>>().join(", "))
}

fn told(spoken: &str) -> String {
    format!("it speaks the revision {spoken:.200} of MCP, but must speak one of {}", names())
}

fn names() -> String {
    REVISIONS.iter().map(ProtocolVersion::as_str).collect::<Vec<_>>().join(", ")
}

/// How the server is asked. Since 2026-07-28 there is no greeting: the server is asked what it speaks, and one that does not know the question is greeted.
pub(super) fn lifecycle(wanted: Option<&ProtocolVersion>) -> ClientLifecycleMode {
    let preferred_versions = vec![ProtocolVersion::LATEST];
    match wanted {
        None => ClientLifecycleMode::Auto { preferred_versions, legacy_version: None },
        Some(wanted) if wanted.has_initialize() => ClientLifecycleMode::Initialize,
        Some(_) => ClientLifecycleMode::Discover { preferred_versions },
    }
}

/// The revision that a greeting names, where there is one.
pub(super) fn greeting(wanted: Option<&ProtocolVersion>) -> ProtocolVersion {
    let named = wanted.filter(|wanted| wanted.has_initialize()).cloned();
    named.unwrap_or(ProtocolVersion::LATEST_WITH_INITIALIZE)
}

/// The newest of our revisions that a server named which knows the question, but not the newest revision.
pub(super) fn older(error: &ClientInitializeError) -> Option<ProtocolVersion> {
    let ClientInitializeError::NoCompatibleProtocolVersion { server_supported, .. } = error else {
        return None;
    };
    REVISIONS
        .into_iter()
        .find(|revision| revision.has_initialize() && server_supported.contains(revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_revisions_are_those_that_the_library_knows_the_newest_first() {
        let mut known: Vec<&str> =
            ProtocolVersion::KNOWN_VERSIONS.iter().map(ProtocolVersion::as_str).collect();
        known.reverse();
        assert_eq!(REVISIONS.iter().map(ProtocolVersion::as_str).collect::<Vec<_>>(), known);
        assert_eq!(REVISIONS[0], ProtocolVersion::LATEST);
    }

    #[test]
    fn a_revision_that_is_none_is_refused_with_those_there_are() {
        let refused = wanted("2025-01-01").unwrap_err().to_string();
        assert!(refused.contains("\"2025-01-01\"") && refused.contains("2025-11-25"), "{refused}");
    }
}
