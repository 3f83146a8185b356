//! Where a client may come from: networks in CIDR notation (RFC 4632), single addresses, and this machine.
//!
//! Invariant: an IPv4 address that a dual-stack socket gives as `::ffff:a.b.c.d` is the IPv4 address. Deliberately
//! absent: host names, because looking one up takes as long as somebody else's name server pleases.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Addresses that begin with the same bits; a single address shares all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_len: u8,
}

impl Network {
    /// Whether the address is in it.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u32::from(own) ^ u32::from(other);
                differing.leading_zeros() >= u32::from(self.prefix_len)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = u128::from(own) ^ u128::from(other);
                differing.leading_zeros() >= u32::from(self.prefix_len)
            }
            _ => false,
        }
    }

    /// The network of `address` with a prefix of that length, which is not longer than the address.
    fn around(address: IpAddr, prefix_len: u8) -> Self {
        let address = match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(prefix_len)).unwrap_or(0);
                IpAddr::V4((u32::from(address) & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(prefix_len)).unwrap_or(0);
                IpAddr::V6((u128::from(address) & mask).into())
            }
        };
        Self { address, prefix_len }
    }
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotANetwork {
    /// Nothing like one.
    #[error("no address or network")]
    NoAddress,
    /// An address, and a prefix longer than the bits that it has.
    #[error("the prefix is longer than {0} bits")]
    PrefixTooLong(u8),
    /// An address with bits behind the prefix: one of the two is a typing mistake.
    #[error("there are bits behind the prefix of {0}")]
    BitsBehindPrefix(Network),
}

impl FromStr for Network {
    type Err = NotANetwork;

    fn from_str(text: &str) -> Result<Self, NotANetwork> {
        let (address, prefix_len) = match text.split_once('/') {
            Some((address, prefix_len)) => (address, Some(prefix_len)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NotANetwork::NoAddress)?;
        let address = address.to_canonical();
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len = match prefix_len {
            None => longest,
            Some(digits) => digits.parse().map_err(|_| NotANetwork::NoAddress)?,
        };
        if prefix_len > longest {
            return Err(NotANetwork::PrefixTooLong(longest));
        }
        let network = Self::around(address, prefix_len);
        if network.address != address {
            return Err(NotANetwork::BitsBehindPrefix(network));
        }
        Ok(network)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_len)
    }
}

/// One item of a list of places that clients may come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// This machine: the loopback addresses and the Unix socket.
    Localhost,
    /// A network.
    Network(Network),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(network: &str, inside: &[&str], outside: &[&str]) {
        let network: Network = network.parse().unwrap();
        for address in inside {
            assert!(network.contains(address.parse().unwrap()), "{address} in {network}");
        }
        for address in outside {
            assert!(
                !network.contains(address.parse().unwrap()),
                "{address} not in {network}"
            );
        }
    }

    #[test]
    fn a_network_holds_what_begins_with_its_bits() {
        check(
            "10.1.0.0/16",
            &["10.1.0.0", "10.1.255.255", "::ffff:10.1.2.3"],
            &["10.2.0.0", "::1"],
        );
        check("192.168.7.4", &["192.168.7.4"], &["192.168.7.5"]);
        check("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::1"]);
        check(
            "fd00:1::/32",
            &["fd00:1::1", "fd00:1:ffff::"],
            &["fd00:2::", "10.0.0.1"],
        );
        check("::/0", &["::1", "fd00::1"], &["127.0.0.1"]);
        check("::1", &["::1"], &["::2"]);
        check("203.0.113.128/25", &["203.0.113.128"], &["203.0.113.127"]);
    }

    #[test]
    fn what_is_no_network_says_why() {
        let error = |text: &str| text.parse::<Network>().unwrap_err();
        for text in [
            "",
            "app.example",
            "10.0.0",
            "10.0.0.0/",
            "10.0.0.0/x",
            "10.0.0.0/-1",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(error(text), NotANetwork::NoAddress, "{text}");
        }
        assert_eq!(error("10.0.0.0/33"), NotANetwork::PrefixTooLong(32));
        assert_eq!(error("fd00::/129"), NotANetwork::PrefixTooLong(128));
        let NotANetwork::BitsBehindPrefix(meant) = error("10.1.2.3/8") else {
            panic!("the bits behind the prefix were taken");
        };
        assert_eq!(meant.to_string(), "10.0.0.0/8");
    }
}
