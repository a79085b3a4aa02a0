//! Which datagram of a listener's socket belongs where: a decision about each datagram, without IO.
//!
//! How it can be attacked: all senders are strangers, and UDP addresses can be forged until a peer has answered a packet.
//! - A STUN request leaves an address and two numbers, for 10 s, in a table of fixed size. The answer is not longer than the
//!   request, so it amplifies nothing.
//! - Only an address in this table can begin a DTLS handshake. Beyond the limit of handshakes whose peer has not echoed the
//!   DTLS cookie, the oldest of them ends: forged addresses displace each other, and honest ones are through in one round
//!   trip.
//! - A peer that has echoed the cookie has proved its address. From there on the limits for each network hold.
//! - A forged request cannot end a connection: a new handshake from the address of an established connection replaces it
//!   only once the new peer has proved the address.

use std::collections::hash_map::{Entry, RandomState};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::BuildHasher;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use crate::config::Limits;
use crate::credentials::Username;
use crate::record::{is_client_hello, is_dtls};
use crate::stun::{BindingRequest, binding_success, is_stun};

/// Mask of a /64, the part of an IPv6 address that a subscriber cannot choose
/// ([RFC 6177](https://www.rfc-editor.org/rfc/rfc6177)).
const IPV6_SUBSCRIBER_MASK: u128 = u128::MAX << 64;

/// Identifies a connection of a listener; a later one has a larger number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(u64);

/// What to do with a datagram.
#[derive(Debug)]
pub enum Action<'a, Q> {
    /// The datagram belongs nowhere.
    Ignore,
    /// Send this datagram back, because of a correct STUN request.
    Answer(Vec<u8>),
    /// Hand the datagram to this connection.
    Forward(&'a Q),
    /// Start a connection, [`Table::insert`] it under this number, and hand it the datagram.
    Open(RouteId, Ufrag),
}

/// Stands for the user name of a client, so that two connections of one address can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ufrag(u64);

/// A connection is refused: there are too many, in total or of its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// The addresses and connections of a listener. `Q` is what hands datagrams to a connection; a connection whose `Q` is
/// dropped has to end.
#[derive(Debug)]
pub struct Table<Q> {
    limits: Limits,
    hasher: RandomState,
    next: u64,
    asked: AskedAddresses,
    routes: HashMap<SocketAddr, Route<Q>>,
    /// Handshakes from the addresses of proved connections. Each address is also in `routes`.
    challengers: HashMap<SocketAddr, Route<Q>>,
    /// Those that have not proved their address, oldest first.
    unproved: BTreeMap<RouteId, SocketAddr>,
    proved: usize,
    proved_per_network: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Route<Q> {
    id: RouteId,
    ufrag: Ufrag,
    queue: Q,
    last_stun: Instant,
    proved: bool,
}

impl<Q> Table<Q> {
    /// A table without addresses and connections.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            hasher: RandomState::new(),
            next: 0,
            asked: AskedAddresses::default(),
            routes: HashMap::new(),
            challengers: HashMap::new(),
            unproved: BTreeMap::new(),
            proved: 0,
            proved_per_network: HashMap::new(),
        }
    }

    /// Decides about one datagram. `Action::Open` must be followed by [`Self::insert`] before the next call.
    pub fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Action<'_, Q> {
        if is_stun(datagram) {
            self.on_stun(now, from, datagram)
        } else if is_dtls(datagram) {
            self.on_dtls(now, from, datagram)
        } else {
            Action::Ignore
        }
    }

    fn on_stun(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Action<'_, Q> {
        let Ok(request) = BindingRequest::parse(datagram) else {
            return Action::Ignore;
        };
        let Ok(username) = Username::parse(request.username) else {
            return Action::Ignore;
        };
        if !request.is_from(username.server) {
            return Action::Ignore;
        }
        let ufrag = Ufrag(self.hasher.hash_one(username.server));
        let mut is_known = false;
        for routes in [&mut self.routes, &mut self.challengers] {
            if let Some(route) = routes.get_mut(&from)
                && route.ufrag == ufrag
            {
                route.last_stun = now;
                is_known = true;
            }
        }
        if !is_known {
            self.asked.insert(now, from, ufrag, &self.limits);
        }
        Action::Answer(binding_success(request.transaction, from, username.server))
    }

    fn on_dtls(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Action<'_, Q> {
        if is_client_hello(datagram) {
            let asked = self.asked.get(now, &from, &self.limits);
            // An unproved handshake may be replaced at once, an established connection only after a proof.
            let current = self.routes.get(&from);
            let challenger = self.challengers.get(&from);
            let latest = challenger.or(current);
            if let Some(ufrag) = asked
                && latest.is_none_or(|route| route.ufrag != ufrag)
            {
                self.next += 1;
                return Action::Open(RouteId(self.next), ufrag);
            }
            if let Some(challenger) = self.challengers.get(&from) {
                return Action::Forward(&challenger.queue);
            }
        }
        match self.routes.get(&from) {
            Some(route) => Action::Forward(&route.queue),
            None => Action::Ignore,
        }
    }

    /// Adds a connection for which [`Self::handle`] returned [`Action::Open`]. Returns whether another one, whose peer has
    /// not proved its address, was evicted for it.
    pub fn insert(
        &mut self,
        now: Instant,
        from: SocketAddr,
        id: RouteId,
        ufrag: Ufrag,
        queue: Q,
    ) -> bool {
        let route = Route {
            id,
            ufrag,
            queue,
            last_stun: now,
            proved: false,
        };
        let replaced = if self.routes.get(&from).is_some_and(|route| route.proved) {
            self.challengers.insert(from, route)
        } else {
            self.routes.insert(from, route)
        };
        if let Some(replaced) = replaced {
            self.unproved.remove(&replaced.id);
        }
        self.unproved.insert(id, from);
        if self.unproved.len() <= self.limits.unproved {
            return false;
        }
        let Some((oldest, address)) = self.unproved.pop_first() else {
            return false;
        };
        for routes in [&mut self.routes, &mut self.challengers] {
            if routes.get(&address).is_some_and(|route| route.id == oldest) {
                routes.remove(&address);
            }
        }
        true
    }

    /// Called when the peer of a connection has proved its address by echoing the DTLS cookie. The connection then
    /// replaces an older one with the same address.
    ///
    /// # Errors
    /// If the connection is refused, or no longer in the table. It has to end.
    pub fn prove(&mut self, from: SocketAddr, id: RouteId) -> Result<(), TooMany> {
        if self.unproved.remove(&id).is_none() {
            return Err(TooMany);
        }
        if let Some(challenger) = self.challengers.remove(&from) {
            if challenger.id == id {
                if let Some(replaced) = self.routes.insert(from, challenger) {
                    self.forget(from, &replaced);
                }
            } else {
                self.challengers.insert(from, challenger);
            }
        }
        let Some(route) = self.routes.get_mut(&from).filter(|route| route.id == id) else {
            return Err(TooMany);
        };
        let network = network(from.ip());
        let of_network = network.and_then(|network| self.proved_per_network.get(&network));
        if self.proved >= self.limits.connections
            || of_network.is_some_and(|count| *count >= self.limits.connections_per_network)
        {
            self.routes.remove(&from);
            return Err(TooMany);
        }
        route.proved = true;
        self.proved += 1;
        if let Some(network) = network {
            *self.proved_per_network.entry(network).or_default() += 1;
        }
        Ok(())
    }

    /// When the peer of a connection sent its last STUN request. `None` if the connection is no longer in the table.
    #[must_use]
    pub fn last_stun(&self, from: SocketAddr, id: RouteId) -> Option<Instant> {
        [&self.routes, &self.challengers]
            .into_iter()
            .filter_map(|routes| routes.get(&from))
            .find(|route| route.id == id)
            .map(|route| route.last_stun)
    }

    /// Called when a connection has ended.
    pub fn remove(&mut self, from: SocketAddr, id: RouteId) {
        self.unproved.remove(&id);
        if let Entry::Occupied(entry) = self.challengers.entry(from)
            && entry.get().id == id
        {
            entry.remove();
        }
        if let Entry::Occupied(entry) = self.routes.entry(from)
            && entry.get().id == id
        {
            let route = entry.remove();
            self.forget(from, &route);
            // There is nothing left to replace. Otherwise a third handshake would never get past it.
            if let Some(challenger) = self.challengers.remove(&from) {
                self.routes.insert(from, challenger);
            }
        }
        if self.routes.is_empty() {
            self.routes = HashMap::new();
        }
    }

    /// Forgets addresses that asked too long ago. Call it every now and then.
    pub fn expire(&mut self, now: Instant) {
        self.asked.expire(now, &self.limits);
    }

    /// The number of addresses that may begin a handshake.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.asked.ufrags.len()
    }

    /// The number of handshakes whose peer has not proved its address.
    #[must_use]
    pub fn unproved(&self) -> usize {
        self.unproved.len()
    }

    /// The number of connections, whatever their state.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.routes.len() + self.challengers.len()
    }

    /// Drops all connections, so that they end.
    pub fn clear(&mut self) {
        self.routes.clear();
        self.challengers.clear();
        self.unproved.clear();
        self.proved = 0;
        self.proved_per_network.clear();
    }

    /// Counts a proved connection down that is no longer in the table.
    fn forget(&mut self, from: SocketAddr, route: &Route<Q>) {
        if !route.proved {
            self.unproved.remove(&route.id);
            return;
        }
        self.proved = self.proved.saturating_sub(1);
        if let Some(network) = network(from.ip())
            && let Entry::Occupied(mut count) = self.proved_per_network.entry(network)
        {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// The addresses that sent a correct STUN request, each with the user name of its latest one. First in, first out.
#[derive(Debug, Default)]
struct AskedAddresses {
    ufrags: HashMap<SocketAddr, Ufrag>,
    /// Has exactly the addresses of `ufrags`, so it is bounded like them. A repeated request does not renew an address:
    /// that would need a place in the order again, and a client begins within a second or asks again.
    order: VecDeque<(Instant, SocketAddr)>,
}

impl AskedAddresses {
    fn insert(&mut self, now: Instant, from: SocketAddr, ufrag: Ufrag, limits: &Limits) {
        self.expire(now, limits);
        if let Some(known) = self.ufrags.get_mut(&from) {
            *known = ufrag;
            return;
        }
        while self.ufrags.len() >= limits.addresses {
            let Some((_, oldest)) = self.order.pop_front() else {
                return;
            };
            self.ufrags.remove(&oldest);
        }
        self.ufrags.insert(from, ufrag);
        self.order.push_back((now, from));
    }

    fn get(&mut self, now: Instant, from: &SocketAddr, limits: &Limits) -> Option<Ufrag> {
        self.expire(now, limits);
        self.ufrags.get(from).copied()
    }

    fn expire(&mut self, now: Instant, limits: &Limits) {
        while let Some((since, oldest)) = self.order.front() {
            if now.saturating_duration_since(*since) < limits.address_lifetime {
                return;
            }
            self.ufrags.remove(oldest);
            self.order.pop_front();
        }
        // All are gone: so is the memory.
        if self.order.capacity() > 0 {
            *self = Self::default();
        }
    }
}

/// The network that counts connections together, or `None` for loopback.
fn network(ip: IpAddr) -> Option<IpAddr> {
    match ip.to_canonical() {
        ip if ip.is_loopback() => None,
        IpAddr::V4(ip) => Some(IpAddr::V4(ip)),
        IpAddr::V6(ip) => Some(IpAddr::V6(Ipv6Addr::from(
            u128::from(ip) & IPV6_SUBSCRIBER_MASK,
        ))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::client_hello;
    use crate::stun::binding_request;

    fn ip4(last: u16, port: u16) -> SocketAddr {
        let [high, low] = last.to_be_bytes();
        SocketAddr::from(([10, 0, high, low], port))
    }

    /// A user name of version 1 that differs for each number.
    fn name(number: usize) -> String {
        format!("libp2p+webrtc+v1/{number:08}")
    }

    fn request(number: usize) -> Vec<u8> {
        let name = name(number);
        binding_request([0; 12], &format!("{name}:{name}"), &name, 1)
    }

    struct Subject {
        table: Table<usize>,
        now: Instant,
    }

    impl Subject {
        fn new(change: impl FnOnce(&mut Limits)) -> Self {
            let mut limits = Limits::default();
            change(&mut limits);
            Self {
                table: Table::new(&limits),
                now: Instant::now(),
            }
        }

        fn ask(&mut self, from: SocketAddr, number: usize) {
            let action = self.table.handle(self.now, from, &request(number));
            assert!(matches!(action, Action::Answer(_)), "{action:?}");
        }

        /// Asks and says hello; returns the number of the new connection, whose queue has that number.
        fn open(&mut self, from: SocketAddr, queue: usize) -> RouteId {
            self.ask(from, queue);
            self.hello(from, queue).expect("it has asked")
        }

        fn hello(&mut self, from: SocketAddr, queue: usize) -> Option<RouteId> {
            let Action::Open(id, ufrag) = self.table.handle(self.now, from, &client_hello()) else {
                return None;
            };
            self.table.insert(self.now, from, id, ufrag, queue);
            Some(id)
        }

        /// The connection that gets a datagram.
        fn forwarded(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<usize> {
            match self.table.handle(self.now, from, datagram) {
                Action::Forward(queue) => Some(*queue),
                Action::Ignore | Action::Answer(_) | Action::Open(..) => None,
            }
        }
    }

    const RECORD: [u8; 20] = [23; 20];

    #[test]
    fn only_an_address_that_asked_may_begin() {
        let mut subject = Subject::new(|_| {});
        let from = ip4(1, 1);
        assert_eq!(subject.hello(from, 1), None);
        subject.ask(from, 1);
        assert_eq!(subject.hello(ip4(1, 2), 1), None, "another port");
        assert_eq!(subject.forwarded(from, &RECORD), None, "not a hello");
        assert!(subject.hello(from, 1).is_some());
        assert_eq!(subject.hello(from, 2), None, "the hello is repeated");
        assert_eq!(subject.forwarded(from, &client_hello()), Some(1));
        assert_eq!(subject.forwarded(from, &RECORD), Some(1));
    }

    #[test]
    fn addresses_are_forgotten_after_their_lifetime() {
        let mut subject = Subject::new(|_| {});
        let lifetime = Limits::default().address_lifetime;
        subject.ask(ip4(1, 1), 1);
        subject.now += lifetime - Duration::from_millis(1);
        assert!(subject.hello(ip4(1, 1), 1).is_some());
        subject.now += Duration::from_millis(1);
        subject.table.expire(subject.now);
        assert_eq!(subject.table.addresses(), 0);
        assert_eq!(subject.table.asked.order.capacity(), 0);
        assert_eq!(subject.table.asked.ufrags.capacity(), 0);
    }

    #[test]
    fn oldest_address_is_forgotten_first() {
        let mut subject = Subject::new(|limits| limits.addresses = 3);
        for port in 1..=5 {
            subject.ask(ip4(1, port), 1);
            subject.ask(ip4(1, port), 2);
        }
        assert_eq!(subject.table.addresses(), 3);
        assert_eq!(subject.table.asked.order.len(), 3);
        assert_eq!(subject.hello(ip4(1, 2), 1), None);
        assert!(subject.hello(ip4(1, 3), 1).is_some());
    }

    #[test]
    fn oldest_unproved_handshake_is_evicted() {
        let mut subject = Subject::new(|limits| limits.unproved = 2);
        let (first, second, third) = (ip4(1, 1), ip4(1, 2), ip4(1, 3));
        let proved = subject.open(first, 1);
        assert_eq!(subject.table.prove(first, proved), Ok(()));
        let evicted = subject.open(second, 2);
        subject.open(third, 3);
        subject.open(ip4(1, 4), 4);
        assert_eq!(subject.table.unproved(), 2);
        assert_eq!(subject.table.prove(second, evicted), Err(TooMany));
        assert_eq!(subject.forwarded(second, &RECORD), None);
        assert_eq!(subject.forwarded(first, &RECORD), Some(1), "it is proved");
        assert_eq!(subject.forwarded(third, &RECORD), Some(3));
    }

    #[test]
    fn proved_connections_are_limited_per_network() {
        let mut subject = Subject::new(|limits| {
            limits.connections = 3;
            limits.connections_per_network = 2;
        });
        let crowded = [ip4(1, 1), ip4(1, 2), ip4(1, 3)];
        let ids = crowded.map(|from| subject.open(from, 1));
        let outcomes: Vec<_> = crowded
            .into_iter()
            .zip(ids)
            .map(|(from, id)| subject.table.prove(from, id))
            .collect();
        assert_eq!(outcomes, [Ok(()), Ok(()), Err(TooMany)]);
        assert_eq!(subject.table.connections(), 2);
        let other = subject.open(ip4(2, 1), 2);
        assert_eq!(subject.table.prove(ip4(2, 1), other), Ok(()));
        let fourth = subject.open(ip4(3, 1), 2);
        assert_eq!(subject.table.prove(ip4(3, 1), fourth), Err(TooMany));
        let [from, ..] = crowded;
        let [id, ..] = ids;
        subject.table.remove(from, id);
        let fifth = subject.open(ip4(1, 4), 2);
        assert_eq!(subject.table.prove(ip4(1, 4), fifth), Ok(()));
    }

    #[test]
    fn networks_are_ipv4_addresses_or_ipv6_prefixes() {
        let of = |text: &str| network(text.parse().expect("an address"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!((of("127.0.0.1"), of("::1")), (None, None));
    }

    #[test]
    fn reused_address_needs_a_proof() {
        let mut subject = Subject::new(|_| {});
        let from = ip4(1, 1);
        let old = subject.open(from, 1);
        assert_eq!(subject.table.prove(from, old), Ok(()));
        let new = subject.open(from, 2);
        assert_eq!(subject.forwarded(from, &RECORD), Some(1), "until the proof");
        assert_eq!(subject.forwarded(from, &client_hello()), Some(2));
        assert_eq!(subject.table.prove(from, new), Ok(()));
        assert_eq!(subject.forwarded(from, &RECORD), Some(2));
        assert_eq!(subject.table.last_stun(from, old), None);
        assert_eq!(subject.table.connections(), 1);
        subject.table.remove(from, old);
        subject.table.remove(from, new);
        assert_eq!((subject.table.connections(), subject.table.proved), (0, 0));
        assert!(subject.table.proved_per_network.is_empty());
    }

    #[test]
    fn challenger_takes_the_place_of_an_ended_one() {
        let mut subject = Subject::new(|_| {});
        let from = ip4(1, 1);
        let old = subject.open(from, 1);
        assert_eq!(subject.table.prove(from, old), Ok(()));
        let challenger = subject.open(from, 2);
        subject.table.remove(from, old);
        assert_eq!(subject.forwarded(from, &RECORD), Some(2));
        let third = subject.open(from, 3);
        let connections = (subject.table.connections(), subject.table.unproved());
        assert_eq!(connections, (1, 1), "the challenger is replaced");
        assert_eq!(subject.forwarded(from, &client_hello()), Some(3));
        assert_eq!(subject.table.prove(from, challenger), Err(TooMany));
        assert_eq!(subject.table.prove(from, third), Ok(()));
        assert_eq!(subject.forwarded(from, &RECORD), Some(3));
    }

    #[test]
    fn unproved_handshake_is_replaced_at_once() {
        let mut subject = Subject::new(|_| {});
        let from = ip4(1, 1);
        let old = subject.open(from, 1);
        subject.open(from, 2);
        assert_eq!(subject.forwarded(from, &RECORD), Some(2));
        assert_eq!(subject.table.unproved(), 1);
        assert_eq!(subject.table.prove(from, old), Err(TooMany));
    }

    #[test]
    fn stun_of_a_connection_keeps_it_alive() {
        let mut subject = Subject::new(|_| {});
        let from = ip4(1, 1);
        let id = subject.open(from, 1);
        let opened = subject.now;
        subject.now += Duration::from_secs(5);
        subject.ask(from, 2);
        assert_eq!(subject.table.last_stun(from, id), Some(opened));
        subject.ask(from, 1);
        assert_eq!(subject.table.last_stun(from, id), Some(subject.now));
    }

    #[test]
    fn requests_leave_nothing_but_an_address() {
        let mut subject = Subject::new(|_| {});
        let limit = Limits::default().addresses;
        for number in 0..100_000_usize {
            let [a, b, c, ..] = number.to_le_bytes();
            subject.ask(SocketAddr::from(([10, c, b, a], 9)), number);
        }
        assert_eq!(subject.table.addresses(), limit);
        assert_eq!(subject.table.connections(), 0);
        subject.now += Limits::default().address_lifetime;
        subject.table.expire(subject.now);
        assert_eq!(subject.table.asked.ufrags.capacity(), 0);
    }

    #[test]
    fn malformed_datagrams_are_ignored() {
        let mut subject = Subject::new(|_| {});
        let from = ip4(1, 1);
        let good = request(1);
        for number in 0..10_000_usize {
            // Pseudo-random damage, the same in each run.
            let seed = number.wrapping_mul(2_654_435_761);
            let mut bad = good.clone();
            match number % 3 {
                0 => bad.truncate(seed % good.len()),
                1 => {
                    let covered = good.len() - 8;
                    if let Some(byte) = bad.get_mut(seed % covered) {
                        *byte ^= 1 << (seed % 8);
                    }
                }
                _ => bad.iter_mut().enumerate().for_each(|(at, byte)| {
                    *byte = seed.wrapping_mul(at + 1).to_le_bytes()[1];
                }),
            }
            let action = subject.table.handle(subject.now, from, &bad);
            assert!(matches!(action, Action::Ignore), "{number}: {action:?}");
        }
        assert_eq!(subject.table.addresses(), 0);
    }
}
