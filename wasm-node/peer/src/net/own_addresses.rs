//! The addresses under which a peer can be dialed itself, without a relay: a keeper has some, a tab has none. They come from
//! strangers, so few of them are kept, and none that leads where this peer must not be led. This module never dials.

use std::{net::IpAddr, time::Duration};

use heartchain_chain::time::{MonotonicMillis, millis};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use litemap::LiteMap;

use super::{
    address::{PageScheme, TransportKind, transport_of},
    backoff::{Backoff, PEER_REDIAL},
    scope::Scope,
};

/// Own addresses of one peer that are kept.
pub(crate) const MAX_OWN_ADDRESSES: usize = 4;
/// Peers whose own addresses are kept: keepers are few.
pub(crate) const MAX_ADDRESSED_PEERS: usize = 64;
/// Addresses of one record that are looked at: those of a tab's relays come before its own.
const MAX_READ_ADDRESSES: usize = 32;

/// What addresses a peer dials.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// What the page allows.
    pub(crate) scheme: PageScheme,
    /// Where this peer is itself: it is not led to what is closer.
    pub(crate) scope: Scope,
}

/// The own addresses of some peers.
#[derive(Debug, Default)]
pub(crate) struct OwnAddresses(LiteMap<PeerId, Entry>);

#[derive(Debug)]
struct Entry {
    addresses: Vec<Multiaddr>,
    expires: MonotonicMillis,
    /// When to replace a circuit to it, at the earliest.
    replace_at: MonotonicMillis,
    backoff: Backoff,
}

impl Reach {
    /// The addresses of a peer's own record that may be dialed, without their peer ID.
    pub(crate) fn own_addresses(self, peer: PeerId, record: &[Multiaddr]) -> Vec<Multiaddr> {
        let read = record.iter().take(MAX_READ_ADDRESSES);
        let own = read.filter_map(|address| self.own_address(peer, address));
        own.take(MAX_OWN_ADDRESSES).collect()
    }

    fn own_address(self, peer: PeerId, address: &Multiaddr) -> Option<Multiaddr> {
        let (transport, is_encrypted) = transport_of(address, self.scheme)?;
        if self.scheme == PageScheme::Secure && !is_encrypted {
            return None;
        }
        let mut bare = address.clone();
        if let Some(Protocol::P2p(named)) = address.iter().last() {
            if named != peer {
                return None;
            }
            bare.pop();
        }
        // A path could be that of another service on the host.
        let has_path = bare
            .iter()
            .any(|part| matches!(part, Protocol::Ws(path) | Protocol::Wss(path) if path != "/"));
        let is_allowed = match ip_of(&bare) {
            Some(ip) => Scope::of_ip(ip)? >= self.scope,
            // A name may lead anywhere; its certificate shows that it was meant.
            None => is_encrypted && transport == TransportKind::WebSocket,
        };
        (is_allowed && !has_path).then_some(bare)
    }
}

/// The IP address that an address begins with; `None` if it begins with a name.
fn ip_of(address: &Multiaddr) -> Option<IpAddr> {
    let host = address.iter().next()?;
    if let Protocol::Ip4(ip) = host {
        return Some(ip.into());
    }
    if let Protocol::Ip6(ip) = host {
        return Some(ip.into());
    }
    None
}

impl OwnAddresses {
    /// Sets the own addresses of a peer, which it has until `expires`. If there are too many peers, the one that expires
    /// first is forgotten.
    pub(crate) fn set(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        expires: MonotonicMillis,
    ) {
        if addresses.is_empty() {
            return;
        }
        if let Some(entry) = self.0.get_mut(&peer) {
            entry.addresses = addresses;
            entry.expires = entry.expires.max(expires);
            return;
        }
        let entry = Entry {
            addresses,
            expires,
            replace_at: MonotonicMillis::new(0),
            backoff: Backoff::new(PEER_REDIAL),
        };
        self.0.insert(peer, entry);
        if self.0.len() > MAX_ADDRESSED_PEERS
            && let Some(first) = self.0.iter().min_by_key(|(_, entry)| entry.expires)
        {
            let peer = *first.0;
            self.0.remove(&peer);
        }
    }

    /// The own addresses of a peer.
    pub(crate) fn of(&self, peer: &PeerId, now: MonotonicMillis) -> &[Multiaddr] {
        let entry = self.0.get(peer).filter(|entry| entry.expires > now);
        entry.map_or(&[], |entry| &entry.addresses)
    }

    /// Whether a circuit to this peer is to be replaced now. Then it is not again for a while.
    pub(crate) fn take_replacement(
        &mut self,
        peer: &PeerId,
        now: MonotonicMillis,
        random: u64,
    ) -> bool {
        let due = |entry: &&mut Entry| entry.expires > now && entry.replace_at <= now;
        let entry = self.0.get_mut(peer).filter(due);
        if let Some(entry) = entry {
            let wait: Duration = entry.backoff.failed(random);
            entry.replace_at = now.saturating_add(millis(wait));
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWK99VoVxNE7XzyBwXEzW7xhK7Gpv85r9F3V3fyKSUKPH5";
    const OTHER: &str = "12D3KooWNpDk9w6WrEEcdsEH1y47W71S36yFjw4sd3j7omzgCSMS";
    const CERTHASH: &str = "uEiAsGPzpiPGQzSlVHRXrUCT5EkTV7YFrV4VZ3hpEKTd_zg";

    fn at(seconds: u64) -> MonotonicMillis {
        MonotonicMillis::new(seconds * 1_000)
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a multiaddr")
    }

    fn kept(scheme: PageScheme, scope: Scope, text: &str) -> bool {
        let peer = PEER.parse().expect("a peer ID");
        let reach = Reach { scheme, scope };
        !reach.own_addresses(peer, &[address(text)]).is_empty()
    }

    #[test]
    fn only_addresses_in_reach_are_kept() {
        let lan = format!("/ip4/192.168.1.5/tcp/4001/ws/p2p/{PEER}");
        for (scope, is_kept) in [
            (Scope::Loopback, true),
            (Scope::Private, true),
            (Scope::Public, false),
        ] {
            assert_eq!(kept(PageScheme::Plain, scope, &lan), is_kept, "{scope:?}");
        }
        let here = "/ip4/127.0.0.1/tcp/4001/ws";
        assert!(kept(PageScheme::Plain, Scope::Loopback, here));
        assert!(!kept(PageScheme::Plain, Scope::Private, here));
        let webrtc = format!("/ip4/93.184.216.34/udp/1/webrtc-direct/certhash/{CERTHASH}");
        assert!(kept(PageScheme::Secure, Scope::Public, &webrtc));
        let tcp = "/ip4/93.184.216.34/tcp/4001";
        assert!(kept(PageScheme::NoPage, Scope::Public, tcp));
        assert!(!kept(PageScheme::Plain, Scope::Public, tcp));
        assert!(!kept(
            PageScheme::NoPage,
            Scope::Public,
            "/ip4/0.0.0.0/tcp/4001"
        ));
    }

    #[test]
    fn address_that_may_be_another_service_is_refused() {
        for text in [
            format!("/ip4/93.184.216.34/tcp/80/ws/p2p/{OTHER}"),
            format!("/ip4/93.184.216.34/tcp/80/ws/p2p/{OTHER}/p2p-circuit/p2p/{PEER}"),
            "/ip4/93.184.216.34/tcp/80/x-parity-ws/%2Fadmin".to_owned(),
            "/dns4/router.example/tcp/80/ws".to_owned(),
            format!("/dns4/router.example/udp/80/webrtc-direct/certhash/{CERTHASH}"),
        ] {
            assert!(!kept(PageScheme::Plain, Scope::Loopback, &text), "{text}");
        }
        let named = "/dns4/keeper.example/tcp/443/tls/ws";
        assert!(kept(PageScheme::Secure, Scope::Public, named));
    }

    #[test]
    fn own_addresses_are_limited() {
        let reach = Reach {
            scheme: PageScheme::Plain,
            scope: Scope::Public,
        };
        let numbered = |port: usize| address(&format!("/ip4/93.184.216.34/tcp/{port}/ws"));
        let many: Vec<Multiaddr> = (1..100).map(numbered).collect();
        let peer = PeerId::random();
        assert_eq!(reach.own_addresses(peer, &many).len(), MAX_OWN_ADDRESSES);
        let mut late = vec![address("/ip4/10.0.0.1/tcp/1/ws"); MAX_READ_ADDRESSES];
        late.push(numbered(1));
        assert!(reach.own_addresses(peer, &late).is_empty());
        let mut table = OwnAddresses::default();
        let peers: Vec<PeerId> = (0..=MAX_ADDRESSED_PEERS)
            .map(|_| PeerId::random())
            .collect();
        for (peer, expires) in peers.iter().zip(1..) {
            table.set(*peer, vec![numbered(1)], at(expires));
        }
        assert!(table.of(&peers[0], at(0)).is_empty(), "it expired first");
        assert!(!table.of(&peers[1], at(0)).is_empty());
        assert!(table.of(&peers[1], at(2)).is_empty(), "it has expired");
    }

    #[test]
    fn circuit_is_replaced_with_backoff() {
        let (mut table, peer) = (OwnAddresses::default(), PeerId::random());
        assert!(!table.take_replacement(&peer, at(0), 0));
        table.set(peer, vec![address("/ip4/10.0.0.1/tcp/1/ws")], at(3_600));
        assert!(table.take_replacement(&peer, at(0), 0));
        assert!(!table.take_replacement(&peer, at(1), 0));
        assert!(table.take_replacement(&peer, at(600), 0));
    }
}
