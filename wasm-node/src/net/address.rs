//! A relay's address: which of the many forms of a multiaddr a browser tab can dial, and in which order.
//! Never dials.

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use super::multiaddr::{self, ReadError};

/// Which addresses the page's own scheme allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PageScheme {
    /// `http:`, or no page at all.
    Plain,
    /// `https:`, from which browsers refuse `ws:` as mixed content.
    Secure,
}

/// How an address is dialled. The order is the order of preference: a WebSocket is up sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    /// `/ws`, `/tls/ws` or `/wss`.
    WebSocket,
    /// `/webrtc-direct/certhash/...`.
    WebRtcDirect,
}

/// An address of a relay that this tab can dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RelayAddress {
    pub(crate) address: Multiaddr,
    pub(crate) way: Way,
    pub(crate) peer: Option<PeerId>,
}

/// A peer that was named, and the relay that it is reached through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NamedPeer {
    pub(crate) relay: RelayAddress,
    pub(crate) peer: PeerId,
}

/// Why an address cannot be a relay's, or lead to a peer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum AddressError {
    /// It does not parse.
    #[error(
        "the relay address {given:?} is not a multiaddr ({reason}); one looks like /ip4/127.0.0.1/tcp/8081/ws/p2p/12D3Koo..."
    )]
    Unreadable {
        /// As it was given, cut to a readable length.
        given: String,
        /// What the parser says, cut likewise.
        reason: String,
    },
    /// Browsers cannot dial it.
    #[error(
        "the relay address {given:?} is none that a browser can dial: it must contain /ws, /tls/ws or /webrtc-direct/certhash/..."
    )]
    Undialable {
        /// As it was given, cut to a readable length.
        given: String,
    },
    /// Browsers do not dial it from this page.
    #[error(
        "the relay address {given:?} is not encrypted, and a page that was loaded by https may not dial it: use /tls/ws or /webrtc-direct"
    )]
    Unencrypted {
        /// As it was given, cut to a readable length.
        given: String,
    },
    /// It does not say by which relay whom to call.
    #[error(
        "the peer address {given:?} does not say by which relay whom to call; one looks like /ip4/127.0.0.1/tcp/8081/ws/p2p/12D3Koo.../p2p-circuit/p2p/12D3Koo..."
    )]
    NoCircuit {
        /// As it was given, cut to a readable length.
        given: String,
    },
}

/// Characters of a foreign text that are repeated in an error.
const SHOWN: usize = 120;

impl RelayAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// Says in words why no tab could dial it.
    pub(crate) fn parse(text: &str, scheme: PageScheme) -> Result<Self, AddressError> {
        let given = || text.chars().take(SHOWN).collect::<String>();
        let address = multiaddr::read(text.trim()).map_err(|error| match error {
            ReadError::Unknown(_) => AddressError::Undialable { given: given() },
            ReadError::NoSlash | ReadError::NoValue(_) | ReadError::BadValue { .. } => {
                AddressError::Unreadable {
                    given: given(),
                    // It may repeat what was given, too.
                    reason: error.to_string().chars().take(SHOWN).collect(),
                }
            }
        })?;
        let (way, encrypted) =
            way_of(&address).ok_or_else(|| AddressError::Undialable { given: given() })?;
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
        Ok(Self { address, way, peer })
    }
}

impl NamedPeer {
    /// Reads `<relay>/p2p-circuit/p2p/X`, or the same with `/webrtc` as js-libp2p tells it.
    ///
    /// # Errors
    /// Says in words why nobody could be called by it.
    pub(crate) fn parse(text: &str, scheme: PageScheme) -> Result<Self, AddressError> {
        let no_circuit = || AddressError::NoCircuit {
            given: text.chars().take(SHOWN).collect(),
        };
        // The address is cut as text, so that what is wrong with the relay's part is told by who knows.
        let (relay, peer) = text
            .trim()
            .split_once("/p2p-circuit/")
            .ok_or_else(no_circuit)?;
        let peer = peer
            .strip_prefix("webrtc/")
            .unwrap_or(peer)
            .strip_prefix("p2p/")
            .and_then(|name| name.parse().ok())
            .ok_or_else(no_circuit)?;
        let relay = RelayAddress::parse(relay, scheme)?;
        if relay.peer.is_none() {
            return Err(no_circuit());
        }
        Ok(Self { relay, peer })
    }
}

/// How the address is dialled, and whether a secure page may.
fn way_of(address: &Multiaddr) -> Option<(Way, bool)> {
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
    let found = match (parts.next()?, parts.next()?) {
        (Protocol::Tcp(_), Protocol::Ws(_)) => (Way::WebSocket, false),
        (Protocol::Tcp(_), Protocol::Wss(_)) => (Way::WebSocket, true),
        (Protocol::Tcp(_), Protocol::Tls) if matches!(parts.next()?, Protocol::Ws(_)) => {
            (Way::WebSocket, true)
        }
        (Protocol::Udp(_), Protocol::WebRTCDirect)
            if matches!(parts.next()?, Protocol::Certhash(_)) =>
        {
            (Way::WebRtcDirect, true)
        }
        _ => return None,
    };
    // A relay is dialled straight: nothing but its name may follow.
    let rest: Vec<_> = parts.collect();
    match rest.as_slice() {
        [] | [Protocol::P2p(_)] => Some(found),
        _ => None,
    }
}

// The fuzzed targets include this file natively, where there is no `wasm_bindgen_test`.
#[cfg(all(test, target_arch = "wasm32"))]
mod tests {
    use super::*;
    use wasm_bindgen_test::wasm_bindgen_test as test;

    const PEER: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
    const CERTHASH: &str = "uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg";

    fn parse(text: &str) -> Result<RelayAddress, AddressError> {
        RelayAddress::parse(text, PageScheme::Plain)
    }

    #[test]
    fn what_a_browser_can_dial_is_taken() {
        for (text, way) in [
            (
                format!("/ip4/127.0.0.1/tcp/8081/ws/p2p/{PEER}"),
                Way::WebSocket,
            ),
            (
                format!(" /dns4/relay.example/tcp/443/tls/ws/p2p/{PEER} "),
                Way::WebSocket,
            ),
            ("/ip6/::1/tcp/8081/ws".to_owned(), Way::WebSocket),
            (
                format!("/ip4/127.0.0.1/udp/8082/webrtc-direct/certhash/{CERTHASH}/p2p/{PEER}"),
                Way::WebRtcDirect,
            ),
        ] {
            let address = parse(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(address.way, way, "{text}");
            assert_eq!(address.peer.is_some(), text.contains(PEER), "{text}");
        }
    }

    #[test]
    fn what_is_no_multiaddr_is_told_in_words() {
        for text in [
            "",
            "hello",
            "http://127.0.0.1:8080",
            "/ip4/300.0.0.1/tcp/1/ws",
            "/ip4/127.0.0.1/tcp/65536/ws",
            "/ip4/127.0.0.1/tcp",
            "/ip4/127.0.0.1/udp/1/webrtc-direct/certhash/zabc",
            "/p2p/nobody",
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
    fn what_no_browser_dials_is_refused() {
        for text in [
            "/ip4/127.0.0.1/tcp/8081".to_owned(),
            "/ip4/127.0.0.1/udp/8081/quic-v1".to_owned(),
            "/ip4/127.0.0.1/tcp/8081/ws/".to_owned(),
            "/ip4/127.0.0.1/udp/8082/webrtc-direct".to_owned(),
            format!("/p2p/{PEER}"),
            format!("/ip4/127.0.0.1/tcp/8081/ws/p2p/{PEER}/p2p-circuit"),
        ] {
            assert!(
                matches!(parse(&text), Err(AddressError::Undialable { .. })),
                "{text}"
            );
        }
    }

    #[test]
    fn a_named_peer_comes_with_its_relay() {
        const RELAY: &str = "12D3KooWNpDk9w6WrEEcdsEH1y47W71S36yFjw4sd3j7omzgCSMS";
        let relay = format!("/ip4/127.0.0.1/tcp/8081/ws/p2p/{RELAY}");
        for text in [
            format!("{relay}/p2p-circuit/p2p/{PEER}"),
            format!(" {relay}/p2p-circuit/webrtc/p2p/{PEER} "),
        ] {
            let named = NamedPeer::parse(&text, PageScheme::Plain).expect("a circuit");
            assert_eq!(named.peer.to_string(), PEER, "{text}");
            assert_eq!(named.relay, parse(&relay).expect("a relay"), "{text}");
        }
    }

    #[test]
    fn a_peer_without_a_way_to_it_is_refused_in_words() {
        let relay = "/ip4/127.0.0.1/tcp/8081/ws";
        for text in [
            String::new(),
            format!("/p2p/{PEER}"),
            format!("{relay}/p2p/{PEER}"),
            format!("{relay}/p2p-circuit/p2p/{PEER}"),
            format!("{relay}/p2p/{PEER}/p2p-circuit"),
            format!("{relay}/p2p/{PEER}/p2p-circuit/p2p/nobody"),
            format!("{relay}/p2p/{PEER}/p2p-circuit/p2p/{PEER}/p2p-circuit/p2p/{PEER}"),
        ] {
            let error = NamedPeer::parse(&text, PageScheme::Plain).expect_err(&text);
            assert!(matches!(error, AddressError::NoCircuit { .. }), "{error}");
        }
        let mixed = format!("{relay}/p2p/{PEER}/p2p-circuit/p2p/{PEER}");
        let error = NamedPeer::parse(&mixed, PageScheme::Secure).expect_err("mixed content");
        assert!(matches!(error, AddressError::Unencrypted { .. }), "{error}");
    }

    #[test]
    fn a_secure_page_dials_only_what_is_encrypted() {
        let secure = |text: &str| RelayAddress::parse(text, PageScheme::Secure);
        assert!(matches!(
            secure("/ip4/127.0.0.1/tcp/8081/ws"),
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
