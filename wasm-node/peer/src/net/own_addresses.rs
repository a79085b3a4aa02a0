//! The addresses under which a peer can be dialed itself, without a relay: a keeper has some, a tab has none. They come from
//! strangers, so few of them are kept, and none that leads where this peer must not be led. This module never dials.

use std::{collections::VecDeque, time::Duration};

use heartchain_chain::time::{MonotonicMillis, millis};
use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use litemap::LiteMap;

use super::{
    address::{PageScheme, TransportKind, transport_of},
    backoff::{Backoff, PEER_REDIAL},
    scope::{Scope, ip_of},
};

/// Own addresses of one peer that are kept.
pub(crate) const MAX_OWN_ADDRESSES: usize = 4;
/// Peers whose own addresses are kept: keepers are few.
pub(crate) const MAX_ADDRESSED_PEERS: usize = 64;
/// Dials of registered addresses in a minute: who registers many peers cannot make others flood an address.
pub(crate) const MAX_DIALS_PER_MINUTE: usize = 16;
/// A minute of the clock, in ms.
const MINUTE: u64 = 60_000;
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

/// The own addresses of some peers, and how often they are dialed.
#[derive(Debug, Default)]
pub(crate) struct OwnAddresses {
    /// What peers registered.
    registered: LiteMap<PeerId, Entry>,
    /// What the user named: it stays.
    named: LiteMap<PeerId, Vec<Multiaddr>>,
    /// When registered addresses were dialed in the last minute.
    dialed: VecDeque<MonotonicMillis>,
}

#[derive(Debug)]
struct Entry {
    addresses: Vec<Multiaddr>,
    expires: MonotonicMillis,
    /// When to dial them again, after they failed or a circuit was to be replaced.
    not_before: MonotonicMillis,
    backoff: Backoff,
}

impl Reach {
    /// The addresses of a peer's own record that may be dialed, without their peer ID: of each transport one, then others.
    pub(crate) fn own_addresses(self, peer: PeerId, record: &[Multiaddr]) -> Vec<Multiaddr> {
        let read = record.iter().take(MAX_READ_ADDRESSES);
        let own = read.filter_map(|address| self.own_address(peer, address));
        let mut seen: Vec<TransportKind> = Vec::new();
        let (mut first, mut more) = (Vec::new(), Vec::new());
        for (transport, address) in own {
            if seen.contains(&transport) {
                more.push(address);
            } else {
                seen.push(transport);
                first.push(address);
            }
        }
        first
            .into_iter()
            .chain(more)
            .take(MAX_OWN_ADDRESSES)
            .collect()
    }

    fn own_address(self, peer: PeerId, address: &Multiaddr) -> Option<(TransportKind, Multiaddr)> {
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
            None => self.allows_name(&bare, transport, is_encrypted),
        };
        (is_allowed && !has_path).then_some((transport, bare))
    }

    /// Whether a name may be dialed, which may lead anywhere. A browser checks the certificate before it sends anything, and
    /// asks before it connects to private networks; a native peer would connect to any port of them.
    fn allows_name(
        self,
        address: &Multiaddr,
        transport: TransportKind,
        is_encrypted: bool,
    ) -> bool {
        let name = address.to_string();
        let name = name.split('/').nth(2).unwrap_or_default();
        self.scheme != PageScheme::NoPage
            && is_encrypted
            && transport == TransportKind::WebSocket
            && Scope::of_host(name).is_some_and(|scope| scope >= self.scope)
    }
}

impl OwnAddresses {
    /// The user named an address of a peer.
    pub(crate) fn name(&mut self, peer: PeerId, address: Multiaddr) {
        self.named.entry(peer).or_default().push(address);
    }

    /// Whether the user named an address of this peer.
    pub(crate) fn is_named(&self, peer: &PeerId) -> bool {
        self.named.contains_key(peer)
    }

    /// Sets what a peer registered, which holds until `expires`. If there are too many peers, a random one is forgotten: an
    /// honest one registers again within a minute.
    pub(crate) fn register(
        &mut self,
        peer: PeerId,
        addresses: Vec<Multiaddr>,
        expires: MonotonicMillis,
        random: u64,
    ) {
        if addresses.is_empty() {
            return;
        }
        if let Some(entry) = self.registered.get_mut(&peer) {
            entry.addresses = addresses;
            entry.expires = entry.expires.max(expires);
            return;
        }
        if self.registered.len() >= MAX_ADDRESSED_PEERS {
            let length = u64::try_from(self.registered.len()).unwrap_or(u64::MAX);
            let chosen = usize::try_from(random % length).unwrap_or_default();
            let victim = self.registered.keys().nth(chosen).copied();
            if let Some(victim) = victim {
                self.registered.remove(&victim);
            }
        }
        let entry = Entry {
            addresses,
            expires,
            not_before: MonotonicMillis::new(0),
            backoff: Backoff::new(PEER_REDIAL),
        };
        self.registered.insert(peer, entry);
    }

    /// The addresses to dial now: what the user named, and what the peer registered, unless that has failed lately or too
    /// many were dialed in the last minute. Counts as a dial.
    pub(crate) fn take(&mut self, peer: &PeerId, now: MonotonicMillis) -> Vec<Multiaddr> {
        let named = self.named.get(peer).cloned().unwrap_or_default();
        let mut addresses = named;
        for address in self.take_registered(peer, now) {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        addresses
    }

    fn take_registered(&mut self, peer: &PeerId, now: MonotonicMillis) -> Vec<Multiaddr> {
        while self
            .dialed
            .front()
            .is_some_and(|at| now.since(*at) >= MINUTE)
        {
            self.dialed.pop_front();
        }
        let entry = self.registered.get(peer);
        let due = entry.filter(|entry| entry.expires > now && entry.not_before <= now);
        let Some(entry) = due.filter(|_| self.dialed.len() < MAX_DIALS_PER_MINUTE) else {
            return Vec::new();
        };
        self.dialed.push_back(now);
        entry.addresses.clone()
    }

    /// The addresses with which to replace a circuit to a peer; empty if that is not due.
    pub(crate) fn take_replacement(
        &mut self,
        peer: &PeerId,
        now: MonotonicMillis,
        random: u64,
    ) -> Vec<Multiaddr> {
        let addresses = self.take_registered(peer, now);
        if !addresses.is_empty() {
            self.failed(peer, now, random);
        }
        addresses
    }

    /// A dial failed in which these addresses took part. One of them may lead to another peer, which ends the whole dial, so
    /// the next one goes without them.
    pub(crate) fn failed(&mut self, peer: &PeerId, now: MonotonicMillis, random: u64) {
        if let Some(entry) = self.registered.get_mut(peer) {
            let wait: Duration = entry.backoff.failed(random);
            entry.not_before = now.saturating_add(millis(wait));
        }
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
        assert!(
            !kept(PageScheme::NoPage, Scope::Public, named),
            "it may lead anywhere"
        );
        for host in ["localhost", "localhost.", "0x7f.1", "2130706433"] {
            let here = format!("/dns4/{host}/tcp/443/tls/ws");
            assert!(!kept(PageScheme::Secure, Scope::Public, &here), "{host}");
        }
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
        for peer in &peers {
            table.register(*peer, vec![numbered(1)], at(3_600), 0);
        }
        assert_eq!(table.registered.len(), MAX_ADDRESSED_PEERS);
        assert!(table.registered.contains_key(&peers[MAX_ADDRESSED_PEERS]));
    }

    #[test]
    fn each_transport_is_represented() {
        let reach = Reach {
            scheme: PageScheme::Plain,
            scope: Scope::Private,
        };
        let peer = PeerId::random();
        let numbered = |host: u8| address(&format!("/ip4/192.168.1.{host}/tcp/4001/ws"));
        let mut record: Vec<Multiaddr> = (1..10).map(numbered).collect();
        let webrtc = format!("/ip4/192.168.1.1/udp/1/webrtc-direct/certhash/{CERTHASH}");
        record.push(address(&webrtc));
        let own = reach.own_addresses(peer, &record);
        assert_eq!(own.len(), MAX_OWN_ADDRESSES);
        assert_eq!(own[1], address(&webrtc));
    }

    #[test]
    fn failed_addresses_are_left_out_for_a_while() {
        let (mut table, peer) = (OwnAddresses::default(), PeerId::random());
        let own = vec![address("/ip4/10.0.0.1/tcp/1/ws")];
        let named = address("/ip4/10.0.0.2/tcp/1/ws");
        assert!(table.take(&peer, at(0)).is_empty());
        table.register(peer, own.clone(), at(3_600), 0);
        assert_eq!(table.take(&peer, at(0)), own);
        table.failed(&peer, at(0), 0);
        assert!(table.take(&peer, at(1)).is_empty());
        table.name(peer, named.clone());
        assert_eq!(
            table.take(&peer, at(1)),
            std::slice::from_ref(&named),
            "what was named stays"
        );
        assert_eq!(table.take(&peer, at(60)), [named, own[0].clone()]);
        assert_eq!(table.take_replacement(&peer, at(120), 0), own);
        assert!(table.take_replacement(&peer, at(121), 0).is_empty());
        assert_eq!(table.take_replacement(&peer, at(300), 0), own);
        assert!(
            table.take_registered(&peer, at(3_600)).is_empty(),
            "expired"
        );
    }

    #[test]
    fn registered_addresses_are_dialed_at_a_limited_rate() {
        let mut table = OwnAddresses::default();
        let own = vec![address("/ip4/10.0.0.1/tcp/1/ws")];
        for number in 0..MAX_DIALS_PER_MINUTE + 1 {
            let peer = PeerId::random();
            table.register(peer, own.clone(), at(3_600), 0);
            let is_dialed = !table.take(&peer, at(1)).is_empty();
            assert_eq!(is_dialed, number < MAX_DIALS_PER_MINUTE);
        }
        let peer = PeerId::random();
        table.register(peer, own, at(3_600), 0);
        assert!(!table.take(&peer, at(61)).is_empty());
    }
}
