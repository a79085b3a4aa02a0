//! Addresses of relays and of peers behind relays: which multiaddrs a browser tab can dial, and in which order of
//! preference. This module parses; it never dials.

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use super::{
    multiaddr::{self, ParseError},
    scope::{Scope, ip_of},
};

/// The scheme of the page, which decides what addresses the browser allows it to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageScheme {
    /// `http:`, or a worker or test without a page.
    Plain,
    /// `https:`, where browsers block `ws:` as mixed content.
    Secure,
    /// There is no page: a native peer also dials plain TCP.
    NoPage,
}

/// The transport an address is dialed with, in order of preference: a WebSocket connects sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransportKind {
    /// `/ws`, `/tls/ws` or `/wss`.
    WebSocket,
    /// `/webrtc-direct/certhash/...`.
    WebRtcDirect,
    /// `/tcp/N`, which no browser dials.
    Tcp,
}

/// An address of a relay that this tab can dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayAddress {
    /// The multiaddr that is dialed.
    pub address: Multiaddr,
    /// The transport that dials it.
    pub transport: TransportKind,
    /// The peer ID at its end, if it names one.
    pub peer: Option<PeerId>,
}

/// A peer that the user asked to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedPeer {
    /// At the end of a circuit through a relay.
    Circuit(CircuitAddress),
    /// At its own address, as keepers have one.
    Own {
        /// The ID that it must prove to have.
        peer: PeerId,
        /// The multiaddr that is dialed.
        address: Multiaddr,
    },
}

/// A peer behind a relay, and the relay whose circuit leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CircuitAddress {
    /// The relay at which the circuit begins.
    pub relay: RelayAddress,
    /// The peer behind it.
    pub peer: PeerId,
}

/// Why a text is not the address of a relay, or of a peer behind a relay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The text is not a multiaddr.
    #[error(
        "the relay address {given:?} is not a multiaddr ({reason}); one looks like /ip4/127.0.0.1/tcp/8080/ws/p2p/12D3Koo..."
    )]
    Unreadable {
        /// The text, cut to a readable length.
        given: String,
        /// The parser's error, cut to the same length.
        reason: String,
    },
    /// No browser transport dials such an address.
    #[error(
        "the relay address {given:?} is not one that a browser can dial: it must contain /ws, /tls/ws or /webrtc-direct/certhash/..."
    )]
    Undialable {
        /// The text, cut to a readable length.
        given: String,
    },
    /// The address is not encrypted, and browsers block it on an `https:` page.
    #[error(
        "the relay address {given:?} is not encrypted, and a page loaded over https may not dial it: use /tls/ws or /webrtc-direct"
    )]
    Unencrypted {
        /// The text, cut to a readable length.
        given: String,
    },
    /// The address does not name a peer, with its own address or with the relay to it.
    #[error(
        "the peer address {given:?} leads to no peer; one looks like /ip4/127.0.0.1/tcp/4001/ws/p2p/12D3Koo..., or through a relay like /ip4/127.0.0.1/tcp/8080/ws/p2p/12D3Koo.../p2p-circuit/p2p/12D3Koo..."
    )]
    NoPeer {
        /// The text, cut to a readable length.
        given: String,
    },
}

/// Characters of an invalid text that an error repeats at most.
const MAX_SHOWN_CHARS: usize = 120;

impl RelayAddress {
    /// How far the address reaches; if that is not known, it is public, because then this peer dials least.
    #[must_use]
    pub fn scope(&self) -> Scope {
        let scope = match ip_of(&self.address) {
            Some(ip) => Scope::of_ip(ip),
            None => {
                let address = self.address.to_string();
                Scope::of_host(address.split('/').nth(2).unwrap_or_default())
            }
        };
        scope.unwrap_or(Scope::Public)
    }

    /// Parses the address of a relay.
    ///
    /// # Errors
    /// If a tab on a page of this scheme cannot dial the address.
    pub fn parse(text: &str, scheme: PageScheme) -> Result<Self, AddressError> {
        let given = || text.chars().take(MAX_SHOWN_CHARS).collect::<String>();
        let address = multiaddr::parse(text.trim()).map_err(|error| match error {
            ParseError::Unknown(_) => AddressError::Undialable { given: given() },
            ParseError::NoSlash | ParseError::NoValue(_) | ParseError::BadValue { .. } => {
                AddressError::Unreadable {
                    given: given(),
                    // The reason may repeat the whole text, too.
                    reason: error.to_string().chars().take(MAX_SHOWN_CHARS).collect(),
                }
            }
        })?;
        let (transport, encrypted) = transport_of(&address, scheme)
            .ok_or_else(|| AddressError::Undialable { given: given() })?;
        if scheme == PageScheme::Secure && !encrypted {
            return Err(AddressError::Unencrypted { given: given() });
        }
        let peer = address.iter().find_map(|part| {
            if let Protocol::P2p(peer) = part {
                Some(peer)
            } else {
                None
            }
        });
        Ok(Self {
            address,
            transport,
            peer,
        })
    }
}

impl NamedPeer {
    /// Parses the address of a peer: its own, which ends in `/p2p/X`, or a circuit as [`CircuitAddress::parse`] does.
    ///
    /// # Errors
    /// If the address names no peer, or none that this peer can dial.
    pub fn parse(text: &str, scheme: PageScheme) -> Result<Self, AddressError> {
        if text.contains("/p2p-circuit") {
            return CircuitAddress::parse(text, scheme).map(Self::Circuit);
        }
        let no_peer = || AddressError::NoPeer {
            given: text.chars().take(MAX_SHOWN_CHARS).collect(),
        };
        let parsed = RelayAddress::parse(text, scheme).map_err(|error| match error {
            AddressError::Unencrypted { .. } => error,
            AddressError::Unreadable { .. }
            | AddressError::Undialable { .. }
            | AddressError::NoPeer { .. } => no_peer(),
        })?;
        Ok(Self::Own {
            peer: parsed.peer.ok_or_else(no_peer)?,
            address: parsed.address,
        })
    }

    /// The relay that leads to the peer, if there is one.
    #[must_use]
    pub const fn relay(&self) -> Option<&RelayAddress> {
        match self {
            Self::Circuit(circuit) => Some(&circuit.relay),
            Self::Own { .. } => None,
        }
    }
}

impl CircuitAddress {
    /// Parses `<relay>/p2p-circuit/p2p/X`, or `<relay>/p2p-circuit/webrtc/p2p/X` as js-libp2p writes it.
    ///
    /// # Errors
    /// If the address names no relay that a tab can dial, or no peer.
    pub fn parse(text: &str, scheme: PageScheme) -> Result<Self, AddressError> {
        let no_peer = || AddressError::NoPeer {
            given: text.chars().take(MAX_SHOWN_CHARS).collect(),
        };
        // Split as text, so that `RelayAddress` reports what is wrong with the relay's part.
        let (relay, peer) = text
            .trim()
            .split_once("/p2p-circuit/")
            .ok_or_else(no_peer)?;
        let peer = peer
            .strip_prefix("webrtc/")
            .unwrap_or(peer)
            .strip_prefix("p2p/")
            .and_then(|name| name.parse().ok())
            .ok_or_else(no_peer)?;
        let relay = RelayAddress::parse(relay, scheme)?;
        if relay.peer.is_none() {
            return Err(no_peer());
        }
        Ok(Self { relay, peer })
    }
}

/// The transport of the address, and whether it is encrypted. libp2p encrypts all connections; this is what browsers ask
/// for.
pub(super) fn transport_of(
    address: &Multiaddr,
    scheme: PageScheme,
) -> Option<(TransportKind, bool)> {
    let mut parts = address.iter();
    let host = parts.next()?;
    if !matches!(
        host,
        Protocol::Ip4(_)
            | Protocol::Ip6(_)
            | Protocol::Dns(_)
            | Protocol::Dns4(_)
            | Protocol::Dns6(_)
    ) {
        return None;
    }
    let found = match (parts.next()?, parts.next()) {
        (Protocol::Tcp(_), Some(Protocol::Ws(_))) => (TransportKind::WebSocket, false),
        (Protocol::Tcp(_), Some(Protocol::Wss(_))) => (TransportKind::WebSocket, true),
        (Protocol::Tcp(_), Some(Protocol::Tls)) if matches!(parts.next()?, Protocol::Ws(_)) => {
            (TransportKind::WebSocket, true)
        }
        (Protocol::Udp(_), Some(Protocol::WebRTCDirect))
            if matches!(parts.next()?, Protocol::Certhash(_)) =>
        {
            (TransportKind::WebRtcDirect, true)
        }
        (Protocol::Tcp(_), None | Some(Protocol::P2p(_))) if scheme == PageScheme::NoPage => {
            (TransportKind::Tcp, false)
        }
        _ => return None,
    };
    // A relay is dialed directly: nothing but its peer ID may follow.
    let rest: Vec<_> = parts.collect();
    match rest.as_slice() {
        [] | [Protocol::P2p(_)] => Some(found),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    const PEER: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
    const CERTHASH: &str = "uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg";

    fn parse(text: &str) -> Result<RelayAddress, AddressError> {
        RelayAddress::parse(text, PageScheme::Plain)
    }

    #[test]
    fn dialable_addresses_parse() {
        for (text, transport) in [
            (
                format!("/ip4/127.0.0.1/tcp/8080/ws/p2p/{PEER}"),
                TransportKind::WebSocket,
            ),
            (
                format!(" /dns4/relay.example/tcp/443/tls/ws/p2p/{PEER} "),
                TransportKind::WebSocket,
            ),
            ("/ip6/::1/tcp/8080/ws".to_owned(), TransportKind::WebSocket),
            (
                format!("/dns/relay.example/tcp/443/tls/x-parity-ws/%2Fhearts%2F/p2p/{PEER}"),
                TransportKind::WebSocket,
            ),
            (
                format!("/ip4/127.0.0.1/udp/8082/webrtc-direct/certhash/{CERTHASH}/p2p/{PEER}"),
                TransportKind::WebRtcDirect,
            ),
        ] {
            let address = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(address.transport, transport, "{text}");
            assert_eq!(address.peer.is_some(), text.contains(PEER), "{text}");
        }
    }

    #[test]
    fn malformed_address_gives_a_short_error() {
        for text in [
            "",
            "hello",
            "http://127.0.0.1:8080",
            "/ip4/300.0.0.1/tcp/1/ws",
            "/ip4/127.0.0.1/tcp/65536/ws",
            "/ip4/127.0.0.1/tcp",
            "/ip4/127.0.0.1/udp/1/webrtc-direct/certhash/zabc",
            "/p2p/unknown",
            "/ip4/127.0.0.1/tcp/1/x-parity-ws",
            "/ip4/127.0.0.1/tcp/1/x-parity-ws/hearts",
            "/ip4/127.0.0.1/tcp/1/x-parity-ws/%40evil.example%2F",
            "/ip4/127.0.0.1/tcp/1/x-parity-ws/%2Fa%3Fb",
            "/ip4/127.0.0.1/tcp/1/x-parity-ws/%2F%0A",
            "/ip4/127.0.0.1/tcp/1/x-parity-ws/%2F%F",
        ] {
            let error = parse(text).expect_err(text);
            assert!(
                matches!(
                    error,
                    AddressError::Unreadable { .. } | AddressError::Undialable { .. }
                ),
                "{error}"
            );
            assert!(
                error.to_string().starts_with("the relay address "),
                "{error}"
            );
        }
        for long in ["x".repeat(10_000), format!("/{}", "x".repeat(10_000))] {
            assert!(parse(&long).expect_err("no multiaddr").to_string().len() < 500);
        }
    }

    #[test]
    fn undialable_address_is_refused() {
        for text in [
            "/ip4/127.0.0.1/tcp/8081".to_owned(),
            "/ip4/127.0.0.1/udp/8081/quic-v1".to_owned(),
            "/ip4/127.0.0.1/tcp/8080/ws/".to_owned(),
            "/ip4/127.0.0.1/udp/8082/webrtc-direct".to_owned(),
            format!("/p2p/{PEER}"),
            format!("/ip4/127.0.0.1/tcp/8080/ws/p2p/{PEER}/p2p-circuit"),
        ] {
            assert!(
                matches!(parse(&text), Err(AddressError::Undialable { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn circuit_address_names_peer_and_relay() {
        const RELAY: &str = "12D3KooWNpDk9w6WrEEcdsEH1y47W71S36yFjw4sd3j7omzgCSMS";
        let relay = format!("/ip4/127.0.0.1/tcp/8080/ws/p2p/{RELAY}");
        for text in [
            format!("{relay}/p2p-circuit/p2p/{PEER}"),
            format!(" {relay}/p2p-circuit/webrtc/p2p/{PEER} "),
        ] {
            let named = CircuitAddress::parse(&text, PageScheme::Plain).expect("a circuit");
            assert_eq!(named.peer.to_string(), PEER, "{text}");
            assert_eq!(named.relay, parse(&relay).expect("a relay"), "{text}");
        }
    }

    #[test]
    fn address_without_relay_or_peer_is_refused() {
        let relay = "/ip4/127.0.0.1/tcp/8080/ws";
        for text in [
            String::new(),
            format!("/p2p/{PEER}"),
            format!("{relay}/p2p/{PEER}"),
            format!("{relay}/p2p-circuit/p2p/{PEER}"),
            format!("{relay}/p2p/{PEER}/p2p-circuit"),
            format!("{relay}/p2p/{PEER}/p2p-circuit/p2p/unknown"),
            format!("{relay}/p2p/{PEER}/p2p-circuit/p2p/{PEER}/p2p-circuit/p2p/{PEER}"),
        ] {
            let error = CircuitAddress::parse(&text, PageScheme::Plain).expect_err(&text);
            assert!(matches!(error, AddressError::NoPeer { .. }), "{error}");
        }
        let mixed = format!("{relay}/p2p/{PEER}/p2p-circuit/p2p/{PEER}");
        let error = CircuitAddress::parse(&mixed, PageScheme::Secure).expect_err("mixed content");
        assert!(matches!(error, AddressError::Unencrypted { .. }), "{error}");
    }

    #[test]
    fn peer_is_named_by_its_own_address() {
        let own = format!("/ip4/127.0.0.1/tcp/4001/ws/p2p/{PEER}");
        let named = NamedPeer::parse(&own, PageScheme::Plain).expect("a peer");
        assert_eq!(named.relay(), None);
        let NamedPeer::Own { peer, address } = named else {
            panic!("not a circuit");
        };
        assert_eq!(
            (peer.to_string(), address.to_string()),
            (PEER.to_owned(), own.clone())
        );
        let through = format!("{own}/p2p-circuit/p2p/{PEER}");
        let named = NamedPeer::parse(&through, PageScheme::Plain).expect("a peer");
        assert!(named.relay().is_some());
        for text in ["", "x", "/ip4/127.0.0.1/tcp/4001/ws", "/p2p-circuit"] {
            let error = NamedPeer::parse(text, PageScheme::Plain).expect_err(text);
            assert!(matches!(error, AddressError::NoPeer { .. }), "{error}");
        }
        let error = NamedPeer::parse(&own, PageScheme::Secure).expect_err("mixed content");
        assert!(matches!(error, AddressError::Unencrypted { .. }), "{error}");
    }

    #[test]
    fn only_native_peers_dial_plain_tcp() {
        let tcp = format!("/ip4/127.0.0.1/tcp/4001/p2p/{PEER}");
        assert!(NamedPeer::parse(&tcp, PageScheme::Plain).is_err());
        assert!(NamedPeer::parse(&tcp, PageScheme::NoPage).is_ok());
    }

    #[test]
    fn secure_page_dials_only_encrypted_addresses() {
        let secure = |text: &str| RelayAddress::parse(text, PageScheme::Secure);
        assert!(matches!(
            secure("/ip4/127.0.0.1/tcp/8080/ws"),
            Err(AddressError::Unencrypted { .. })
        ));
        assert!(secure("/dns4/relay.example/tcp/443/tls/ws").is_ok());
        assert!(
            secure(&format!(
                "/ip4/10.0.0.1/udp/1/webrtc-direct/certhash/{CERTHASH}"
            ))
            .is_ok()
        );
    }
}
