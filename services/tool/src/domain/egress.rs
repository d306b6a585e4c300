//! Where requests may go: the hosts that the settings name, and no private address by accident.

// From `core`, which knows addresses and no network.
use core::net::IpAddr;

use super::address::{Network, is_own, is_public};

/// Ends of names that no public name has: whoever resolves them is the operator's own.
const OWN_ENDS: &[&str] =
    &[".localhost", ".local", ".internal", ".home.arpa", ".lan", ".intranet", ".svc", ".test"];

/// A host, or a host with its port, that requests may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    host: String,
    port: Option<u16>,
    /// Where the host is, if the settings say it.
    network: Option<Network>,
}

/// The hosts that requests may go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Egress {
    allowed: Vec<Allowed>,
}

/// What the address behind an allowed host may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reach {
    /// The settings name this very address, and its port.
    Named,
    /// Public addresses only: whoever has the name decides where it points.
    Public,
    /// Also private ones: the settings name the port, and the name can only be the operator's own. Never link-local ones or a cloud's metadata.
    Own,
    /// Those that the settings name.
    Within(Network),
}

impl Reach {
    /// Whether a connection may be made to this address.
    pub(crate) fn has(self, address: IpAddr) -> bool {
        match self {
            Self::Named => true,
            Self::Public => is_public(address),
            Self::Own => is_public(address) || is_own(address),
            Self::Within(network) => network.has(address),
        }
    }
}

impl Egress {
    /// Reads `api.example.com,localhost:9000,orders.example.com:8080=10.2.0.0/16`.
    pub(crate) fn parse(list: &str) -> Result<Self, String> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Ok(Self { allowed: entries.map(entry).collect::<Result<_, _>>()? })
    }

    /// What a request to this host and port may reach.
    ///
    /// A host without port in the settings stands for the ports 80 and 443.
    pub(crate) fn check(&self, host: &str, port: u16) -> Result<Reach, String> {
        let host = plain(host);
        let of_host = || self.allowed.iter().filter(|allowed| allowed.host == host);
        if let Some(named) = of_host().find(|allowed| allowed.port == Some(port)) {
            return Ok(match named.network {
                Some(network) => Reach::Within(network),
                None if host.parse::<IpAddr>().is_ok() => Reach::Named,
                None if is_own_name(&host) => Reach::Own,
                None => Reach::Public,
            });
        }
        if matches!(port, 80 | 443) && of_host().any(|allowed| allowed.port.is_none()) {
            return Ok(Reach::Public);
        }
        // As it is written in an address and in the setting: RFC 3986, section 3.2.2.
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Err(format!(
            "requests to {host}:{port} are not allowed: the operator has to name it in MUSTER_HTTP_ALLOW, e.g. MUSTER_HTTP_ALLOW=\"{host}:{port}\" ({})",
            if self.allowed.is_empty() {
                "now empty".to_owned()
            } else {
                format!("now {}", self.shown())
            }
        ))
    }

    /// Every reach that an entry can give, each once.
    pub(crate) fn reaches(&self) -> Vec<Reach> {
        let mut reaches = vec![Reach::Named, Reach::Public, Reach::Own];
        for network in self.allowed.iter().filter_map(|allowed| allowed.network) {
            if !reaches.contains(&Reach::Within(network)) {
                reaches.push(Reach::Within(network));
            }
        }
        reaches
    }

    fn shown(&self) -> String {
        let shown = |allowed: &Allowed| match allowed.port {
            Some(port) => format!("{}:{port}", allowed.host),
            None => allowed.host.clone(),
        };
        self.allowed.iter().map(shown).collect::<Vec<_>>().join(",")
    }
}

fn entry(text: &str) -> Result<Allowed, String> {
    let expected = format!(
        "MUSTER_HTTP_ALLOW has {text:?}, but an entry is a host or host:port, such as api.example.com or localhost:9000 (no https://, no path), or host:port=network, such as orders.example.com:8080=10.2.0.0/16"
    );
    let (place, network) = match text.split_once('=') {
        Some((place, network)) => {
            (place, Some(Network::parse(network).map_err(|what| unfit(text, network, &what))?))
        }
        None => (text, None),
    };
    let (host, port) = match place.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse::<u16>().map_err(|error| format!("{expected}: {error}"))?))
        }
        _ => (place, None),
    };
    let known =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    let is_whole = network.is_none() || port.is_some();
    if host.is_empty() || !host.chars().all(known) || !is_whole {
        return Err(expected);
    }
    let host = host.trim_start_matches('[').trim_end_matches([']', '.']);
    Ok(Allowed { host: plain(host), port, network })
}

/// Why an entry cannot have its network. One that reaches everything is said by no network at all.
fn unfit(entry: &str, network: &str, what: &str) -> String {
    format!(
        "MUSTER_HTTP_ALLOW has {entry:?}, but {network:?} {what}; behind `=` stands the network that the host is in, such as orders.example.com:8080=10.2.0.0/16, and without `=` a public name leads to public addresses"
    )
}

/// A host as it is compared: in small letters, an address in its shortest form.
fn plain(host: &str) -> String {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host.parse::<IpAddr>().map_or(host, |address| address.to_string())
}

/// Whether the name cannot be one of the public internet.
pub(crate) fn is_own_name(host: &str) -> bool {
    !host.contains('.') || OWN_ENDS.iter().any(|end| host.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_settings_name_is_allowed() {
        let egress = Egress::parse("api.example.com, localhost:9000,[::1]:80").unwrap();
        assert_eq!(egress.check("API.example.com.", 443), Ok(Reach::Public));
        assert_eq!(egress.check("localhost", 9000), Ok(Reach::Own));
        assert_eq!(egress.check("::1", 80), Ok(Reach::Named));
        for (host, port) in [("localhost", 9001), ("api.example.com", 8080), ("example.com", 443)] {
            let problem = egress.check(host, port).unwrap_err();
            assert!(problem.contains(&format!("MUSTER_HTTP_ALLOW=\"{host}:{port}\"")), "{problem}");
        }
        assert!(Egress::default().check("a", 80).unwrap_err().contains("now empty"));
        // What the error says would be right is.
        let problem = egress.check("::1", 9).unwrap_err();
        assert!(problem.contains("MUSTER_HTTP_ALLOW=\"[::1]:9\""), "{problem}");
        assert_eq!(Egress::parse("[::1]:9").unwrap().check("::1", 9), Ok(Reach::Named));
        for wrong in [
            "http://a",
            "a:b",
            "a b",
            "a:99999",
            "a:1=",
            "a:1=10.0.0.0/33",
            "a:1=0.0.0.0/0",
            "a:1=::/0",
            "a:1=10.2.0.0",
            "a:1=10.2.3.4/16",
            "a:1=b",
            "a=10.0.0.0/8",
        ] {
            let told = Egress::parse(&format!("localhost:9000,{wrong}")).unwrap_err();
            assert!(told.contains(&format!("MUSTER_HTTP_ALLOW has {wrong:?}, but ")), "{told}");
        }
        let told = Egress::parse("a:1=0.0.0.0/0").unwrap_err();
        assert!(told.contains("\"0.0.0.0/0\" is every address there is"), "{told}");
        assert!(told.contains("without `=` a public name leads to public addresses"), "{told}");
    }

    /// Each entry with one of its addresses that is reached and one that is not.
    #[test]
    fn an_entry_means_what_it_is_a_name_of() {
        for (entry, host, port, reached, refused) in [
            ("api.example.com", "api.example.com", 443, "1.1.1.1", "10.0.0.1"),
            // A port alone makes a public name no private one.
            ("api.example.com:8443", "api.example.com", 8443, "1.1.1.1", "10.0.0.1"),
            ("api.example.com:8443", "api.example.com", 8443, "1.1.1.1", "127.0.0.1"),
            ("localhost", "localhost", 80, "1.1.1.1", "127.0.0.1"),
            ("localhost:9000", "localhost", 9000, "127.0.0.1", "169.254.169.254"),
            ("orders:8080", "orders", 8080, "172.18.0.4", "0.0.0.0"),
            ("a.b.svc:80", "a.b.svc", 80, "10.96.0.4", "fe80::1"),
            ("a.svc.cluster.local:80", "a.svc.cluster.local", 80, "fd12::4", "fd00:ec2::254"),
            (
                "metadata.google.internal:80",
                "metadata.google.internal",
                80,
                "10.0.0.1",
                "169.254.169.254",
            ),
            ("a.example.com:80=10.2.0.0/16", "a.example.com", 80, "10.2.3.4", "10.3.0.1"),
            ("a.example.com:80=10.2.0.0/16", "a.example.com", 80, "10.2.3.4", "1.1.1.1"),
            ("m:80=169.254.169.254", "m", 80, "169.254.169.254", "169.254.169.253"),
        ] {
            let reach = Egress::parse(entry).unwrap().check(host, port).unwrap();
            assert!(reach.has(reached.parse().unwrap()), "{entry} {reached}");
            assert!(!reach.has(refused.parse().unwrap()), "{entry} {refused}");
        }
        // An address in other words is the same address.
        let egress = Egress::parse("[0:0:0:0:0:0:0:1]:9000").unwrap();
        assert_eq!(egress.check("::1", 9000), Ok(Reach::Named));
        assert!(egress.check("::ffff:127.0.0.1", 9000).is_err());
    }
}
