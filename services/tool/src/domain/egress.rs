//! Where requests may go: the hosts that the settings name, and no private address by accident.

// From `core`, which knows addresses and no network.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host, or a host with its port, that requests may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Allowed {
    host: String,
    port: Option<u16>,
}

/// The hosts that requests may go to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Egress {
    allowed: Vec<Allowed>,
}

/// What the address behind an allowed host may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Any: the settings name host and port.
    Any,
    /// Public addresses only: the settings name the host and may not know where it points.
    Public,
}

impl Egress {
    /// Reads `api.example.com,localhost:9000`.
    pub(crate) fn parse(list: &str) -> Result<Self, String> {
        let entries = list.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Ok(Self { allowed: entries.map(entry).collect::<Result<_, _>>()? })
    }

    /// What a request to this host and port may reach.
    ///
    /// A host without port in the settings stands for the ports 80 and 443.
    pub(crate) fn check(&self, host: &str, port: u16) -> Result<Reach, String> {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let of_host = || self.allowed.iter().filter(|allowed| allowed.host == host);
        if of_host().any(|allowed| allowed.port == Some(port)) {
            return Ok(Reach::Any);
        }
        if matches!(port, 80 | 443) && of_host().any(|allowed| allowed.port.is_none()) {
            return Ok(Reach::Public);
        }
        Err(format!(
            "requests to {host}:{port} are not allowed: the operator has to name it in MUSTER_HTTP_ALLOW, e.g. MUSTER_HTTP_ALLOW=\"{host}:{port}\" ({})",
            if self.allowed.is_empty() {
                "now empty".to_owned()
            } else {
                format!("now {}", self.shown())
            }
        ))
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
        "MUSTER_HTTP_ALLOW has {text:?}, but an entry is a host or host:port, such as api.example.com or localhost:9000"
    );
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, Some(port.parse::<u16>().map_err(|error| format!("{expected}: {error}"))?))
        }
        _ => (text, None),
    };
    let known =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '[' | ']' | ':');
    if host.is_empty() || !host.chars().all(known) {
        return Err(expected);
    }
    let host = host.trim_start_matches('[').trim_end_matches([']', '.']);
    Ok(Allowed { host: host.to_ascii_lowercase(), port })
}

/// Whether the address belongs to the public internet: not to this machine, its network, its cloud's metadata or a reserved range.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            Some(inner) => is_public_v4(inner),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let reserved = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !reserved
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [first, second, ..] = address.segments();
    // Global unicast is 2000::/3; within it 2001::/23 is for protocols, 2001:db8::/32 and 3fff::/20 for documentation.
    (0x2000..=0x3fff).contains(&first)
        && !(first == 0x2001 && (second < 0x0200 || second == 0x0db8))
        && !(first == 0x3fff && second < 0x1000)
}

/// The IPv4 address in a mapped, translated (NAT64) or 6to4 address.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = address.segments();
    let joined = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0x64, 0xff9b, 0, 0, 0, 0) => Some(joined(high, low)),
        (0x2002, ..) => Some(joined(b, c)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_settings_name_is_allowed() {
        let egress = Egress::parse("api.example.com, localhost:9000,[::1]:80").unwrap();
        assert_eq!(egress.check("API.example.com.", 443), Ok(Reach::Public));
        assert_eq!(egress.check("localhost", 9000), Ok(Reach::Any));
        assert_eq!(egress.check("::1", 80), Ok(Reach::Any));
        for (host, port) in [("localhost", 9001), ("api.example.com", 8080), ("example.com", 443)] {
            let problem = egress.check(host, port).unwrap_err();
            assert!(problem.contains(&format!("MUSTER_HTTP_ALLOW=\"{host}:{port}\"")), "{problem}");
        }
        assert!(Egress::default().check("a", 80).unwrap_err().contains("now empty"));
        for wrong in ["http://a", "a:b", "a b", "a:99999"] {
            assert!(Egress::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn private_addresses_are_known_in_every_dress() {
        for address in [
            "127.0.0.1",
            "10.1.2.3",
            "172.20.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.100.100.200",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "::1",
            "::",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2001:db8::1",
            "ff02::1",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in
            ["1.1.1.1", "93.184.216.34", "172.32.0.1", "2606:4700:4700::1111", "64:ff9b::101:101"]
        {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
