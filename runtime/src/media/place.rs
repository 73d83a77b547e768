//! From where attachments may be fetched. A message says where its attachment is, and whoever wrote
//! the message must not reach what only this machine reaches.

use super::config::invalid;
use amochats::Result;
use async_trait::async_trait;
use ipnet::IpNet;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::{fmt, io};

/// Hosts by name.
#[derive(Clone, Debug)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    pub(super) fn new(patterns: &[String]) -> Result<Self> {
        for pattern in patterns {
            let name = pattern.strip_prefix("*.").unwrap_or(pattern);
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b':' | b'[' | b']');
            if pattern != "*" && (name.is_empty() || !name.bytes().all(plain)) {
                let rule =
                    format!("{pattern:?} is no host; write it as \"files.example.org\" or \"*.example.org\"");
                return Err(invalid("media.fetch_hosts", rule));
            }
        }
        Ok(Self(patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).collect()))
    }

    /// `host` as an address has it: in lower case, IPv6 in brackets.
    pub(super) fn contain(&self, host: &str) -> bool {
        self.0.iter().any(|pattern| match pattern.strip_prefix('*') {
            Some("") => true,
            Some(below) => host.len() > below.len() && host.ends_with(below),
            None => host == pattern,
        })
    }
}

/// Addresses inside that are allowed all the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Networks(Arc<[IpNet]>);

impl Networks {
    pub(super) fn new(networks: &[String]) -> Result<Self> {
        let parse = |network: &String| {
            let one = network.parse::<IpAddr>().map(IpNet::from);
            network.parse::<IpNet>().or(one).map_err(|_| {
                let rule = format!("{network:?} is neither an address nor a network such as \"10.0.0.0/8\"");
                invalid("media.fetch_private", rule)
            })
        };
        networks.iter().map(parse).collect::<Result<Vec<_>>>().map(|all| Self(all.into()))
    }

    /// Whether there may be a connection to this address.
    pub(super) fn allow(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        is_outside(address) || self.0.iter().any(|network| network.contains(&address))
    }
}

/// Whether an address is one of the internet's, by the registries of special addresses of IANA.
fn is_outside(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => is_outside_v4(v4),
        IpAddr::V6(v6) => is_outside_v6(v6),
    }
}

fn is_outside_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = match a {
        // "This network", private, loopback; multicast, reserved, broadcast.
        0 | 10 | 127 | 224.. => true,
        // Shared by carriers.
        100 => b & 0xc0 == 64,
        169 => b == 254,
        172 => b & 0xf0 == 16,
        // Protocols, documentation, the old relays of 6to4, private.
        192 => matches!((b, c), (0, 0 | 2) | (88, 99) | (168, _)),
        // Benchmarks, documentation.
        198 => matches!((b, c), (18 | 19, _) | (51, 100)),
        203 => (b, c) == (0, 113),
        _ => false,
    };
    !special
}

fn is_outside_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    // Only 2000::/3 is given out. In it: Teredo and other protocols, documentation, and 6to4, which
    // leads to an IPv4 address.
    let special = match parts {
        [0x2001, second, ..] => second < 0x200 || second == 0xdb8,
        [0x2002, ..] | [0x3fff, 0..=0xfff, ..] => true,
        _ => false,
    };
    parts[0] & 0xe000 == 0x2000 && !special
}

/// Knows the addresses of names.
#[async_trait]
pub(super) trait Names: Send + Sync {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// As the system has them.
pub(super) struct SystemNames;

#[async_trait]
impl Names for SystemNames {
    async fn addresses(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        let found = tokio::net::lookup_host((name, 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}

/// Finds addresses by name, and keeps silent about those inside. A name is asked for once: the
/// connection goes to an address that was looked at here, whatever the name leads to a moment later.
pub(super) struct Outside {
    pub(super) networks: Networks,
    pub(super) names: Arc<dyn Names>,
}

impl Resolve for Outside {
    fn resolve(&self, name: Name) -> Resolving {
        let (networks, names) = (self.networks.clone(), self.names.clone());
        Box::pin(async move {
            let found = names.addresses(name.as_str()).await?;
            let allowed: Vec<IpAddr> = found.into_iter().filter(|found| networks.allow(*found)).collect();
            if allowed.is_empty() {
                return Err(Inside.into());
            }
            // The port is that of the address that was asked for.
            let addresses: Addrs = Box::new(allowed.into_iter().map(|ip| SocketAddr::new(ip, 0)));
            Ok(addresses)
        })
    }
}

/// All addresses of a name are inside.
#[derive(Debug)]
pub(super) struct Inside;

impl fmt::Display for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name leads to an address inside")
    }
}

impl std::error::Error for Inside {}

#[cfg(test)]
mod tests {
    use super::*;

    fn outside(address: &str) -> bool {
        Networks::default().allow(address.parse().expect("an address"))
    }

    #[test]
    fn only_the_internet_is_outside() {
        let inside = [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.1",
            "198.51.100.7",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::a00:1",
            "100::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
        ];
        for address in inside {
            assert!(!outside(address), "{address}");
        }
        for address in [
            "1.1.1.1",
            "100.63.0.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.169.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "2a00:1450::1",
        ] {
            assert!(outside(address), "{address}");
        }
    }

    #[test]
    fn a_network_inside_can_be_allowed() {
        let networks = Networks::new(&["127.0.0.2".into(), "10.0.0.0/8".into()]).expect("networks");
        let allow = |address: &str| networks.allow(address.parse().expect("an address"));
        assert!(allow("127.0.0.2") && allow("10.9.9.9") && allow("::ffff:10.9.9.9"));
        assert!(!allow("127.0.0.1") && !allow("192.168.0.1"));
    }

    #[test]
    fn hosts_fit_whole_or_below() {
        let hosts = Hosts::new(&["Files.example.org".into(), "*.example.net".into()]).expect("hosts");
        assert!(hosts.contain("files.example.org") && hosts.contain("a.b.example.net"));
        for other in
            ["example.net", "badexample.net", "x.files.example.org", "files.example.org.evil.test", ""]
        {
            assert!(!hosts.contain(other), "{other}");
        }
        assert!(Hosts::new(&["*".into()]).expect("any").contain("anything.test"));
        assert!(Hosts::new(&["https://a.test/".into()]).is_err());
    }
}
