//! A resolver that knows public addresses only, so that no name leads into the own network.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::domain::egress::is_public;

/// A name that points to an address that is not public.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

/// Resolves names to public addresses. The connection is made to what was checked: the name is not resolved again.
pub(super) struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str();
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host, 0)).await?.collect();
            if let Some(private) = found.iter().find(|address| !is_public(address.ip())) {
                let shown = format!("{host}, which is {}", private.ip());
                return Err(Refused(refusal(&shown, &format!("{host}:443"))).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Why an address is not reached, and what the operator can do.
pub(super) fn refusal(shown: &str, entry: &str) -> String {
    format!(
        "requests to {shown} are refused because the address is not public: where that is meant, the operator has to name host and port in MUSTER_HTTP_ALLOW, e.g. {entry}"
    )
}
