//! Where a client comes from, as far as the network tells.
//!
//! Deliberately absent: names of other machines. A look-up would take as long as somebody else's name server pleases, and the servers'
//! own `skip-name-resolve` is what operators set.

use grove_config::{Network, Source};
use std::net::IpAddr;

/// The other end of a client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// On the network; an IPv4 address is never in IPv6's form.
    Address(IpAddr),
    /// On the network, as a load balancer says: never on this machine, whatever the address.
    Announced(IpAddr),
    /// On this machine, through the Unix socket.
    Socket,
}

impl Peer {
    /// A client on the network. An IPv4 address that a dual-stack socket gives in IPv6's form is the IPv4 address.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(address.to_canonical())
    }

    /// A client behind this load balancer.
    pub fn announced(address: IpAddr) -> Self {
        Self::Announced(address.to_canonical())
    }

    /// The same end, if all that is known of it comes from a load balancer.
    pub fn behind_itself(self) -> Self {
        match self {
            Self::Address(address) => Self::Announced(address),
            other => other,
        }
    }

    /// As the servers name a client in messages: this machine has a name, other addresses are not looked up.
    pub fn host(&self) -> String {
        match self {
            Self::Address(address) if !address.is_loopback() => address.to_string(),
            Self::Announced(address) => address.to_string(),
            _ => "localhost".to_owned(),
        }
    }

    /// Whether it is on the network and in one of these.
    pub fn is_in(&self, networks: &[Network]) -> bool {
        match self {
            Self::Address(address) | Self::Announced(address) => {
                networks.iter().any(|network| network.contains(*address))
            }
            Self::Socket => false,
        }
    }

    /// Whether one of the sources covers it; no sources at all cover everything.
    pub fn is_from(&self, sources: &[Source]) -> bool {
        let covers = |source: &Source| match (source, self) {
            (Source::Localhost, Self::Socket) => true,
            (Source::Localhost, Self::Address(address)) => address.is_loopback(),
            (Source::Localhost, Self::Announced(_)) => false,
            (Source::Network(network), Self::Address(address) | Self::Announced(address)) => network.contains(*address),
            (Source::Network(_), Self::Socket) => false,
        };
        sources.is_empty() || sources.iter().any(covers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_and_others_have_addresses() {
        for (address, host) in [
            ("127.0.0.1", "localhost"),
            ("::1", "localhost"),
            ("::ffff:127.0.0.1", "localhost"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8::1", "2001:db8::1"),
        ] {
            assert_eq!(Peer::at(address.parse().unwrap()).host(), host);
        }
        assert_eq!(Peer::Socket.host(), "localhost");
    }

    #[test]
    fn nobody_behind_a_load_balancer_is_on_this_machine() {
        let peer = Peer::announced("127.0.0.1".parse().unwrap());
        assert!(!peer.is_from(&[Source::Localhost]));
        assert!(
            !Peer::at("127.0.0.1".parse().unwrap())
                .behind_itself()
                .is_from(&[Source::Localhost])
        );
        assert_eq!(peer.host(), "127.0.0.1");
    }

    #[test]
    fn sources_cover_networks_and_this_machine() {
        let network = Source::Network("10.0.0.0/8".parse().unwrap());
        let peer = |address: &str| Peer::at(address.parse().unwrap());
        for (address, sources, is_covered) in [
            ("192.0.2.7", &[][..], true),
            ("192.0.2.7", &[network], false),
            ("10.9.8.7", &[network], true),
            ("::ffff:10.9.8.7", &[Source::Localhost, network], true),
            ("127.0.0.1", &[network], false),
            ("127.8.8.8", &[network, Source::Localhost], true),
        ] {
            assert_eq!(peer(address).is_from(sources), is_covered, "{address} {sources:?}");
        }
        let everywhere = ["0.0.0.0/0", "::/0"].map(|text| Source::Network(text.parse().unwrap()));
        assert!(!Peer::Socket.is_from(&everywhere), "a socket has no address");
        assert!(Peer::Socket.is_from(&[network, Source::Localhost]) && Peer::Socket.is_from(&[]));
    }
}
