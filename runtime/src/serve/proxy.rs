//! Who is really there, where a trusted proxy says so: by the PROXY protocol in front of the
//! connection, or by `X-Forwarded-For`.

use amochats::{Error, ErrorKind, Result};
use hyper::HeaderMap;
use ipnet::IpNet;
use std::io;
use std::net::IpAddr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// What a header of version 2 begins with.
const V2: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest header of version 1, its line end included.
const V1_MAX: usize = 107;
/// The longest header of version 2 that is read: addresses and a few notes.
const V2_MAX: usize = 4096;

/// The proxies whose word counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trusted(Vec<IpNet>);

impl Trusted {
    /// Reads addresses and networks, such as `10.0.0.0/8` and `192.0.2.7`.
    pub(crate) fn new(proxies: &[String]) -> Result<Self> {
        let network = |text: &String| {
            text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map_err(|_| {
                let rule = "must be addresses or networks, as \"192.0.2.7\" or \"10.0.0.0/8\"";
                Error::new(ErrorKind::ConfigInvalid, format!("listener.trusted_proxies: {rule}"))
                    .with_field("listener.trusted_proxies")
            })
        };
        proxies.iter().map(network).collect::<Result<_>>().map(Self)
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whose request it is. A proxy appends the address that it sees, so that only the part behind
    /// the last untrusted address can be believed.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.contains(peer) {
            return peer;
        }
        let mut client = peer;
        let values = headers.get_all("x-forwarded-for").iter().rev();
        for hop in values.flat_map(|value| value.to_str().unwrap_or_default().rsplit(',')) {
            let Ok(address) = hop.trim().parse::<IpAddr>() else { break };
            client = address;
            if !self.contains(address) {
                break;
            }
        }
        client
    }
}

/// Reads the header of a connection, and not one byte more. `None` where the proxy speaks for itself
/// or does not know.
pub(crate) async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<IpAddr>> {
    let broken = |what: &'static str| io::Error::new(io::ErrorKind::InvalidData, what);
    let mut header = vec![0; V2.len()];
    stream.read_exact(&mut header).await?;
    if header == V2 {
        header.resize(16, 0);
        stream.read_exact(&mut header[V2.len()..]).await?;
        let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if length > V2_MAX {
            return Err(broken("the PROXY header is too long"));
        }
        header.resize(16 + length, 0);
        stream.read_exact(&mut header[16..]).await?;
        let header = ppp::v2::Header::try_from(&*header).map_err(|_| broken("the PROXY header is broken"))?;
        if header.command == ppp::v2::Command::Local {
            return Ok(None);
        }
        return Ok(match header.addresses {
            ppp::v2::Addresses::IPv4(addresses) => Some(addresses.source_address.into()),
            ppp::v2::Addresses::IPv6(addresses) => Some(addresses.source_address.into()),
            ppp::v2::Addresses::Unspecified | ppp::v2::Addresses::Unix(_) => None,
        });
    }
    if !header.starts_with(b"PROXY ") {
        return Err(broken("there is no PROXY header"));
    }
    while !header.ends_with(b"\n") {
        if header.len() >= V1_MAX {
            return Err(broken("the PROXY header is too long"));
        }
        header.push(stream.read_u8().await?);
    }
    let header = ppp::v1::Header::try_from(&*header).map_err(|_| broken("the PROXY header is broken"))?;
    Ok(match header.addresses {
        ppp::v1::Addresses::Tcp4(addresses) => Some(addresses.source_address.into()),
        ppp::v1::Addresses::Tcp6(addresses) => Some(addresses.source_address.into()),
        ppp::v1::Addresses::Unknown => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_trusted_hops_are_believed() {
        let trusted = Trusted::new(&["10.0.0.0/8".into(), "::1".into()]).expect("networks");
        let client = |peer: &str, forwarded: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append("x-forwarded-for", value.parse().expect("a value"));
            }
            trusted.client(peer.parse().expect("an address"), &headers).to_string()
        };
        assert_eq!(client("192.0.2.1", &["1.2.3.4"]), "192.0.2.1", "anybody can write a header");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["6.6.6.6, 1.2.3.4"]), "1.2.3.4", "the first one was made up");
        assert_eq!(client("10.0.0.1", &["1.2.3.4, 10.0.0.2"]), "1.2.3.4");
        assert_eq!(client("10.0.0.1", &["6.6.6.6", "1.2.3.4"]), "1.2.3.4");
        assert_eq!(client("::ffff:10.0.0.1", &["2001:db8::1"]), "2001:db8::1");
        assert_eq!(client("::1", &["1.2.3.4, unknown"]), "::1");
        assert!(Trusted::new(&["example.com".into()]).is_err());
    }
}
