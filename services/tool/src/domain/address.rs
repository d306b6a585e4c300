//! What addresses are: of the public internet, of somebody's own network, or nobody's to ask.

// From `core`, which knows addresses and no network.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A range of addresses, such as `10.2.0.0/16`, or one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network {
    base: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `10.2.0.0/16`, `fd00::/8` or a single address; nothing else.
    ///
    /// # Errors
    /// What is wrong with it, told after its text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let no_network = || "is no network such as 10.2.0.0/16, and no address".to_owned();
        let (address, mask) = match text.split_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        let base = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        let base: IpAddr = base.unwrap_or(address).parse().map_err(|_error| no_network())?;
        if base != base.to_canonical() {
            return Err(format!("has no address: say the IPv4 one, {}", base.to_canonical()));
        }
        let most = if base.is_ipv4() { 32 } else { 128 };
        let Some(mask) = mask else {
            // The last part of an IPv4 address, and the half of an IPv6 one that says which machine it is.
            let machine = if base.is_ipv4() { 8 } else { 64 };
            let is_address = Self { base, bits: most - machine }.first() != base;
            return if is_address {
                Ok(Self { base, bits: most })
            } else {
                Err(format!(
                    "is where a network begins: say how long its mask is, such as {base}/{}, or {base}/{most} for this very address",
                    most / 2
                ))
            };
        };
        let digits = mask.len() <= 3 && mask.bytes().all(|digit| digit.is_ascii_digit());
        let bits: Option<u8> = mask.parse().ok().filter(|bits| digits && *bits <= most);
        let bits = bits.ok_or_else(|| {
            format!("has the mask {mask:?}, but a mask is a number of bits, 1 to {most}")
        })?;
        if bits == 0 {
            return Err("is every address there is".to_owned());
        }
        let network = Self { base, bits };
        match network.first() {
            first if first == base => Ok(network),
            first => Err(format!(
                "is no network, since {base} is within one: say {first}/{bits}, or {base}/{most} for this very address"
            )),
        }
    }

    /// The first of its addresses.
    fn first(self) -> IpAddr {
        match self.base {
            IpAddr::V4(base) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits.min(32)));
                Ipv4Addr::from_bits(base.to_bits() & mask.unwrap_or_default()).into()
            }
            IpAddr::V6(base) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits.min(128)));
                Ipv6Addr::from_bits(base.to_bits() & mask.unwrap_or_default()).into()
            }
        }
    }

    /// Whether the address is in it. One that stands for an IPv4 address is that.
    pub(crate) fn has(self, address: IpAddr) -> bool {
        match (self.base, address.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let rest = 32 - u32::from(self.bits.min(32));
                base.to_bits().checked_shr(rest) == address.to_bits().checked_shr(rest)
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let rest = 128 - u32::from(self.bits.min(128));
                base.to_bits().checked_shr(rest) == address.to_bits().checked_shr(rest)
            }
            _ => false,
        }
    }
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

/// Whether the address is a private one of this machine or its network: not link-local, nobody's metadata, no broadcast.
pub(crate) fn is_own(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            (address.is_loopback() || address.is_private() || is_shared(address))
                && !METADATA_V4.contains(&address)
        }
        IpAddr::V6(address) => {
            (address.is_loopback() || address.is_unique_local()) && !METADATA_V6.contains(&address)
        }
    }
}

/// What clouds tell their machines, at addresses that are neither link-local nor reserved: Azure, Alibaba.
const METADATA_V4: [Ipv4Addr; 2] =
    [Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(100, 100, 100, 200)];
/// The same: Amazon, Google.
const METADATA_V6: [Ipv6Addr; 2] = [
    Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254),
    Ipv6Addr::new(0xfd20, 0x00ce, 0, 0, 0, 0, 0, 0x0254),
];

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let reserved = matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 168, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    );
    !reserved && !is_shared(address) && !METADATA_V4.contains(&address)
}

/// 100.64.0.0/10: behind a provider's, or an overlay's, translation.
fn is_shared(address: Ipv4Addr) -> bool {
    matches!(address.octets(), [100, 64..=127, ..])
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

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Each with whether it is public, or private of the own network.
    #[test]
    fn addresses_are_known_in_every_dress() {
        for (address, expected) in [
            ("1.1.1.1", (true, false)),
            ("93.184.216.34", (true, false)),
            ("172.32.0.1", (true, false)),
            ("2606:4700:4700::1111", (true, false)),
            ("64:ff9b::101:101", (true, false)),
            ("::ffff:1.1.1.1", (true, false)),
            ("127.0.0.1", (false, true)),
            ("10.1.2.3", (false, true)),
            ("172.20.0.1", (false, true)),
            ("192.168.1.1", (false, true)),
            ("100.64.0.1", (false, true)),
            ("::1", (false, true)),
            ("fd12::1", (false, true)),
            ("::ffff:10.0.0.1", (false, true)),
            // Metadata of clouds.
            ("169.254.169.254", (false, false)),
            ("168.63.129.16", (false, false)),
            ("100.100.100.200", (false, false)),
            ("192.0.0.192", (false, false)),
            ("fd00:ec2::254", (false, false)),
            ("fd20:ce::254", (false, false)),
            ("::ffff:169.254.169.254", (false, false)),
            // Nobody's, or everybody's.
            ("0.0.0.0", (false, false)),
            ("0.1.2.3", (false, false)),
            ("255.255.255.255", (false, false)),
            ("224.0.0.1", (false, false)),
            ("198.18.0.1", (false, false)),
            ("203.0.113.7", (false, false)),
            ("::", (false, false)),
            ("::127.0.0.1", (false, false)),
            ("fe80::1", (false, false)),
            ("fec0::1", (false, false)),
            ("ff02::1", (false, false)),
            ("2001:db8::1", (false, false)),
            // Translated: nobody names their own network so.
            ("64:ff9b::a9fe:a9fe", (false, false)),
            ("64:ff9b::a00:1", (false, false)),
            ("64:ff9b:1::a00:1", (false, false)),
            ("2002:7f00:1::", (false, false)),
            ("2001::7f00:1", (false, false)),
        ] {
            assert_eq!((is_public(at(address)), is_own(at(address))), expected, "{address}");
        }
    }

    #[test]
    fn a_network_has_the_addresses_of_its_first_bits() {
        let has = |network: &str, address: &str| Network::parse(network).unwrap().has(at(address));
        assert!(has("10.2.0.0/16", "10.2.9.9") && !has("10.2.0.0/16", "10.3.0.0"));
        assert!(has("10.2.0.0/16", "::ffff:10.2.9.9"));
        assert!(has("10.0.0.7", "10.0.0.7") && !has("10.0.0.7", "10.0.0.6"));
        assert!(has("fd00::/8", "fdff::1") && !has("fd00::/8", "fe00::1"));
        assert!(has("128.0.0.0/1", "200.0.0.1") && !has("128.0.0.0/1", "2606:4700::1"));
        assert!(has("fe80::/10", "fe80::1") && has("[::1]", "::1"));
        assert!(has("10.2.0.0/32", "10.2.0.0") && !has("10.2.0.0/32", "10.2.0.1"));
        assert!(has("fd12::100", "fd12::100") && !has("fd12::100", "fd12::101"));
        assert!(has("fd00::/128", "fd00::") && !has("fd00::/128", "fd00::1"));
    }

    #[test]
    fn a_network_that_is_none_is_refused_with_what_is_right() {
        for (wrong, told) in [
            ("", "is no network such as 10.2.0.0/16"),
            ("10.0.0", "is no network such as 10.2.0.0/16"),
            ("a/8", "is no network such as 10.2.0.0/16"),
            ("0.0.0.0/0", "is every address there is"),
            ("::/0", "is every address there is"),
            ("10.2.3.4/0", "is every address there is"),
            ("10.0.0.0/", "has the mask \"\", but a mask is a number of bits, 1 to 32"),
            ("10.0.0.0/33", "has the mask \"33\", but a mask is a number of bits, 1 to 32"),
            ("::/129", "has the mask \"129\", but a mask is a number of bits, 1 to 128"),
            ("10.0.0.0/-1", "has the mask \"-1\""),
            ("10.0.0.0/+8", "has the mask \"+8\""),
            ("10.0.0.0/255.0.0.0", "has the mask \"255.0.0.0\""),
            ("10.2.0.0", "say how long its mask is, such as 10.2.0.0/16, or 10.2.0.0/32"),
            ("0.0.0.0", "say how long its mask is"),
            ("fd00::", "say how long its mask is, such as fd00::/64, or fd00::/128"),
            ("10.2.3.4/16", "say 10.2.0.0/16, or 10.2.3.4/32 for this very address"),
            ("fd12::1/16", "say fd12::/16, or fd12::1/128 for this very address"),
            ("::ffff:10.0.0.0/104", "say the IPv4 one, 10.0.0.0"),
        ] {
            let error = Network::parse(wrong).unwrap_err();
            assert!(error.contains(told), "{wrong}: {error}");
        }
    }
}
