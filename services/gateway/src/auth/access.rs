//! Which paths are for whom.

use axum::http::Method;

/// For whom a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Anybody: it tells nothing that is not in the source.
    Open,
    /// The holders of virtual keys, each for what is their tenant's own; and admins.
    Tenant,
    /// Admins only.
    Admin,
}

impl Access {
    /// The word in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Open => "anybody",
            Self::Tenant => "tenant",
            Self::Admin => "admin",
        }
    }
}

/// For whom a request with this method and path is.
///
/// A segment is compared as it was sent: one that is written with escapes is none of those listed.
#[must_use]
pub fn access(method: &Method, path: &str) -> Access {
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    match (method, segments.as_slice()) {
        ("GET", ["healthz" | "readyz" | "openapi.json"]) => Access::Open,
        ("POST", ["v1", "chat", "completions"] | ["v1", "embeddings" | "responses"])
        | ("GET", ["v1", "models"] | ["v1", "models", _, ..])
        | ("GET" | "POST", ["v1", "executions" | "threads"])
        | ("GET", ["v1", "executions", _] | ["v1", "executions", _, "events" | "usage"])
        | (
            "POST",
            ["v1", "executions", _, "cancel" | "suspend" | "resume" | "retry" | "signals"],
        )
        | ("GET" | "DELETE", ["v1", "threads", _])
        | ("POST", ["v1", "threads", _, "messages"])
        | ("GET" | "DELETE", ["v1", "agents", _, "memory"])
        | ("DELETE", ["v1", "agents", _, "memory", _])
        | ("GET", ["v1", "approvals"])
        | ("GET" | "POST", ["v1", "approvals", _]) => Access::Tenant,
        _ => Access::Admin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_listed_is_for_admins() {
        let check = |method: Method, path: &str, expected: Access| {
            assert_eq!(access(&method, path), expected, "{method} {path}");
        };
        check(Method::HEAD, "/healthz", Access::Open);
        check(Method::POST, "/healthz", Access::Admin);
        check(Method::GET, "/v1/executions/e1", Access::Tenant);
        check(Method::GET, "/v1/executions/import", Access::Tenant);
        check(Method::POST, "/v1/executions/import", Access::Admin);
        check(Method::GET, "/v1/executions/e1/export", Access::Admin);
        check(Method::GET, "/v1/executions/e1/events/", Access::Admin);
        check(Method::POST, "/v1//chat/completions", Access::Admin);
        check(Method::POST, "/v1/%63hat/completions", Access::Admin);
        check(Method::OPTIONS, "/v1/threads", Access::Admin);
        check(Method::GET, "/v1/agents/a", Access::Admin);
        check(Method::POST, "/v1/templates/t/render", Access::Admin);
        check(Method::DELETE, "/v1/agents/a/memory", Access::Tenant);
        check(Method::GET, "/v1/agents/a/memory/i", Access::Admin);
        check(Method::GET, "/", Access::Admin);
        check(Method::GET, "", Access::Admin);
    }
}
