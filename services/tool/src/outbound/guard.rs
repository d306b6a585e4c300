//! A resolver that knows only addresses that may be reached, so that no name leads where its entry in the settings does not.

use std::net::SocketAddr;
use std::sync::Arc;

use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::domain::egress::{Reach, is_own_name};

/// Finds the addresses of a name.
pub(super) type Lookup =
    Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// A name that points to an address that may not be reached.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refused(String);

/// Resolves names to addresses within a reach. The connection is made to what was checked: the name is not resolved again.
pub(super) struct Guard {
    pub(super) reach: Reach,
    pub(super) lookup: Lookup,
}

impl Resolve for Guard {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, found) = (self.reach, (self.lookup)(name.as_str().to_owned()));
        Box::pin(async move {
            let (host, found) = (name.as_str(), found.await?);
            // One that may not be reached spoils all: a name with two faces is not to be trusted with either.
            if let Some(outside) = found.iter().find(|address| !reach.has(address.ip())) {
                let shown = format!("{host}, which is {}", outside.ip());
                return Err(Refused(refusal(reach, &shown, host, None)).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// That of the system.
pub(super) fn system() -> Lookup {
    Arc::new(|host| {
        Box::pin(async move {
            let found = tokio::net::lookup_host((host.as_str(), 0)).await?;
            Ok(found.collect())
        })
    })
}

/// Why an address is not reached, and what the operator can do.
pub(super) fn refusal(reach: Reach, shown: &str, host: &str, port: Option<u16>) -> String {
    let port = port.unwrap_or(443);
    let (why, todo) = match reach {
        Reach::Within(_) => {
            return format!(
                "requests to {shown} are refused because that is not in the network that MUSTER_HTTP_ALLOW says for it"
            );
        }
        Reach::Public if is_own_name(host) || host.parse::<core::net::IpAddr>().is_ok() => (
            "the address is not public",
            format!("host and port in MUSTER_HTTP_ALLOW, e.g. {host}:{port}"),
        ),
        Reach::Public => (
            "the address is not public",
            format!("the network, too, in MUSTER_HTTP_ALLOW, e.g. {host}:{port}=10.2.0.0/16"),
        ),
        Reach::Own | Reach::Named => (
            "the address is link-local, reserved or of a cloud's metadata",
            format!("the very address in MUSTER_HTTP_ALLOW, e.g. {host}:{port}=169.254.1.2"),
        ),
    };
    format!(
        "requests to {shown} are refused because {why}: where that is meant, the operator has to name {todo}"
    )
}
