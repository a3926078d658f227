//! One or two addresses with a port, in their several forms (wire.md 3.3 and 4).
//!
//! Only numeric addresses live here: resolving a host name is I/O and belongs to the caller,
//! who gets the pieces from [`split_host_port`].

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;
use core::net::{IpAddr, SocketAddr};

use crate::wire::{DecodeError, Put, Reader};

/// Width of `ip:port` text on the wire.
pub const HOST_LEN: usize = 52;
/// Longest `ip1,ip2:port` text.
pub const MULTI_HOST_LEN_MAX: usize = 100;

/// The two size classes of an address field (wire.md 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IpWidth {
    /// 15 characters and a terminator.
    #[default]
    V4,
    /// 45 characters and a terminator.
    V6,
}

impl IpWidth {
    /// Width of a field with terminator: 16 or 46, the value of `response_ip_addr_size`.
    pub const fn with_terminator(self) -> usize {
        match self {
            IpWidth::V4 => 16,
            IpWidth::V6 => 46,
        }
    }

    /// Width of a field without terminator: 15 or 45, in answers 101 to 107.
    pub const fn text_only(self) -> usize {
        match self {
            IpWidth::V4 => 15,
            IpWidth::V6 => 45,
        }
    }

    /// The class a tracker announces with `response_ip_addr_size`.
    pub fn from_size(size: usize) -> Option<Self> {
        [Self::V4, Self::V6].into_iter().find(|width| width.with_terminator() == size)
    }
}

/// Reads an address field of `width` bytes; an empty one is none.
pub fn decode_ip(reader: &mut Reader<'_>, width: usize) -> Result<Option<IpAddr>, DecodeError> {
    let text = reader.text(width, "ip address")?;
    if text.is_empty() {
        return Ok(None);
    }
    parse_ip(text).map(Some).ok_or(DecodeError::BadText("ip address"))
}

/// Writes an address field of `width` bytes, zero filled; none is all zeros.
pub fn encode_ip(ip: Option<IpAddr>, width: usize, out: &mut Vec<u8>) {
    let text = ip.map(|ip| ip.to_string()).unwrap_or_default();
    out.put_text(&text, width);
}

/// An address as text. A scope (`fe80::1%eth0`) is cut off: it means something only to the
/// machine that wrote it.
pub fn parse_ip(text: &str) -> Option<IpAddr> {
    let plain = text.split_once('%').map_or(text, |(ip, _)| ip);
    plain.parse().ok()
}

/// What kind of network an address belongs to (wire.md 4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpKind {
    /// Text shorter than 8 characters, such as `1.2.3.4` or `::1`.
    Unknown,
    Private10,
    Private172,
    Private192,
    /// Everything else, all IPv6 included.
    Outer,
}

impl IpKind {
    /// The kind by the rules of the reference, which looks at the text.
    pub fn of(ip: IpAddr) -> Self {
        let IpAddr::V4(v4) = ip.to_canonical() else {
            return if ip.to_string().len() < 8 { Self::Unknown } else { Self::Outer };
        };
        match v4.octets() {
            _ if v4.to_string().len() < 8 => Self::Unknown,
            [10, ..] => Self::Private10,
            [192, 168, ..] => Self::Private192,
            [172, 16..=31, ..] => Self::Private172,
            _ => Self::Outer,
        }
    }
}

/// The addresses of one host: one, or an inner and another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Addresses {
    first: IpAddr,
    second: Option<IpAddr>,
}

impl Addresses {
    /// A host with one address.
    pub fn one(ip: IpAddr) -> Self {
        Self { first: ip, second: None }
    }

    /// A host with two addresses, which must be of different kinds. An outer address moves to
    /// the second place.
    pub fn two(a: IpAddr, b: IpAddr) -> Option<Self> {
        match (IpKind::of(a), IpKind::of(b)) {
            (kind_a, kind_b) if kind_a == kind_b => None,
            (IpKind::Outer, _) => Some(Self { first: b, second: Some(a) }),
            _ => Some(Self { first: a, second: Some(b) }),
        }
    }

    /// `ip` or `ip1,ip2`: the answer to get-my-IP.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once(',') {
            Some((a, b)) => Self::two(parse_ip(a)?, parse_ip(b)?),
            None => parse_ip(text).map(Self::one),
        }
    }

    /// The inner address, or the only one: what file names and records carry.
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// Both, the inner one first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        core::iter::once(self.first).chain(self.second)
    }

    pub fn contains(&self, ip: IpAddr) -> bool {
        self.iter().any(|own| own.to_canonical() == ip.to_canonical())
    }

    /// Which address to tell a peer: the one of the peer's own kind (wire.md 4.3).
    pub fn for_peer(&self, peer: IpAddr) -> IpAddr {
        match self.second {
            Some(second) if IpKind::of(second) == IpKind::of(peer) => second,
            _ => self.first,
        }
    }

    /// `ip:port`, `[v6]:port`, `ip1,ip2:port` or `[ip1,ip2]:port`.
    pub fn with_port(&self, port: u16) -> String {
        let brackets = self.iter().any(|ip| ip.is_ipv6());
        if brackets { format!("[{self}]:{port}") } else { format!("{self}:{port}") }
    }
}

impl fmt::Display for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.second {
            Some(second) => write!(f, "{},{second}", self.first),
            None => write!(f, "{}", self.first),
        }
    }
}

/// Splits `host:port`, `[v6]:port`, `a,b:port` and `[a,b]:port` into the text before the port
/// and the port. Without brackets the host ends at the first `:`, so an IPv6 address needs
/// them (wire.md 3.3). The port is read as leading digits; none if it is missing.
pub fn split_host_port(text: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']')?;
            (host, rest.strip_prefix(':'))
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let Some(port) = port else { return Some((host, None)) };
    let digits = port.find(|c: char| !c.is_ascii_digit()).unwrap_or(port.len());
    Some((host, Some(port.get(..digits)?.parse().ok()?)))
}

/// `ip:port` or `[v6]:port` as commands 66, 67, 70, 71 and 95 write it; the port is required.
pub fn parse_endpoint(text: &str) -> Option<SocketAddr> {
    let (host, port) = split_host_port(text)?;
    Some(SocketAddr::new(parse_ip(host)?, port?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn kinds_follow_the_text() {
        for (text, kind) in [
            ("10.0.0.11", IpKind::Private10),
            ("10.0.0.1", IpKind::Private10),
            ("1.2.3.4", IpKind::Unknown),
            ("::1", IpKind::Unknown),
            ("192.168.1.5", IpKind::Private192),
            ("172.16.0.1", IpKind::Private172),
            ("172.31.9.1", IpKind::Private172),
            ("172.32.0.1", IpKind::Outer),
            ("127.0.0.1", IpKind::Outer),
            ("2409:8a20:42d::1", IpKind::Outer),
        ] {
            assert_eq!(IpKind::of(ip(text)), kind, "{text}");
        }
    }

    #[test]
    fn two_addresses_are_ordered_and_chosen_by_the_peer() {
        let both = Addresses::parse("203.0.113.7,192.168.1.5").unwrap();
        assert_eq!(both.to_string(), "192.168.1.5,203.0.113.7");
        assert_eq!(both.for_peer(ip("198.51.100.1")), ip("203.0.113.7"));
        assert_eq!(both.for_peer(ip("192.168.1.77")), ip("192.168.1.5"));
        assert_eq!(both.for_peer(ip("10.0.0.11")), ip("192.168.1.5"));
        assert_eq!(Addresses::parse("10.0.0.11,10.0.0.12"), None);
        assert_eq!(Addresses::parse("10.0.0.11").unwrap().for_peer(ip("8.8.8.8")), ip("10.0.0.11"));
    }

    #[test]
    fn ports_are_split_off_as_the_reference_does() {
        for (text, want) in [
            ("10.0.0.1:22122", Some(("10.0.0.1", Some(22122)))),
            ("[fe80::1]:23000", Some(("fe80::1", Some(23000)))),
            ("fe80::1", None),
            ("10.0.0.1,8.8.8.8:1", Some(("10.0.0.1,8.8.8.8", Some(1)))),
            ("tracker.example:22122 ", Some(("tracker.example", Some(22122)))),
            ("10.0.0.1", Some(("10.0.0.1", None))),
            ("10.0.0.1:", None),
            ("10.0.0.1:65536", None),
            ("[fe80::1", None),
        ] {
            assert_eq!(split_host_port(text), want, "{text}");
        }
        assert_eq!(parse_endpoint("[::1]:80"), Some("[::1]:80".parse().unwrap()));
        assert_eq!(parse_endpoint("10.0.0.1"), None);
    }

    #[test]
    fn two_addresses_print_with_brackets_only_around_ipv6() {
        let v4 = Addresses::parse("10.0.0.11,8.8.8.80").unwrap();
        assert_eq!(v4.with_port(22122), "10.0.0.11,8.8.8.80:22122");
        let mixed = Addresses::parse("10.0.0.11,2001:db8::11").unwrap();
        assert_eq!(mixed.with_port(1), "[10.0.0.11,2001:db8::11]:1");
    }

    #[test]
    fn address_fields_are_zero_filled() {
        let mut out = Vec::new();
        encode_ip(Some(ip("10.77.0.11")), IpWidth::V4.text_only(), &mut out);
        encode_ip(None, IpWidth::V4.with_terminator(), &mut out);
        assert_eq!(&out[..15], b"10.77.0.11\0\0\0\0\0");
        let mut reader = Reader::new(&out);
        assert_eq!(decode_ip(&mut reader, 15), Ok(Some(ip("10.77.0.11"))));
        assert_eq!(decode_ip(&mut reader, 16), Ok(None));
        assert_eq!(parse_ip("fe80::1%eth0"), Some(ip("fe80::1")));
        assert_eq!(
            decode_ip(&mut Reader::new(b"10.0.0.256"), 10),
            Err(DecodeError::BadText("ip address"))
        );
    }
}
