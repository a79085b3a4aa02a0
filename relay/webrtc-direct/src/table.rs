//! Which datagram of a listener's socket belongs where: a decision about each datagram, without IO.
//!
//! How it can be attacked: all senders are strangers, and UDP addresses can be forged until a peer has answered a packet.
//! - A STUN request leaves 24 bytes, for 10 s, and the oldest go first (see `asked`). The answer is not longer than the
//!   request, so it amplifies nothing.
//! - Only an address in this table can begin a DTLS handshake, and only by echoing a cookie, which proves that it receives
//!   what is sent to it. Until then a ClientHello leaves nothing, and the answer to it is shorter. So forged addresses cost
//!   time, but neither memory nor anyone's place.
//! - From there on the limits for each network hold.
//! - A forged request cannot end a connection: a new handshake from the address of a connection replaces it only with an
//!   echo.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::{BuildHasher, Hash};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use crate::asked::{AskedAddresses, Ufrag};
use crate::config::Limits;
use crate::cookies::Cookies;
use crate::credentials::Username;
use crate::hello::{ClientHello, hello_verify_request, is_dtls};
use crate::stun::{BindingRequest, binding_success, is_stun};

/// Mask of a /64, the part of an IPv6 address that a subscriber cannot choose
/// ([RFC 6177](https://www.rfc-editor.org/rfc/rfc6177)).
const IPV6_SUBSCRIBER_MASK: u128 = u128::MAX << 64;

/// Entries that a table may always have room for.
const SMALL: usize = 128;
/// Entries that a larger table may have room for, for each that it has. Those of the standard library never become smaller.
const ROOM_PER_ENTRY: usize = 8;

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
    /// Send this datagram back, because of a ClientHello without a valid cookie.
    Challenge(Vec<u8>),
    /// Hand the datagram to this connection.
    Forward(&'a Q),
    /// Start a connection, [`Table::insert`] it, and hand it the datagram: its peer has echoed the cookie.
    Open(Opening),
}

/// A connection to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opening {
    /// Identifies the connection.
    pub id: RouteId,
    /// The cookie, for [`Stack::accept`](crate::stack::Stack::accept).
    pub cookie: [u8; 32],
    from: SocketAddr,
    ufrag: Ufrag,
}

/// A connection is refused: there are too many, in total or of its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// The addresses and connections of a listener. `Q` is what hands datagrams to a connection; a connection whose `Q` is
/// dropped has to end.
#[derive(Debug)]
pub struct Table<Q> {
    limits: Limits,
    hasher: RandomState,
    cookies: Cookies,
    next: u64,
    asked: AskedAddresses,
    routes: HashMap<SocketAddr, Route<Q>>,
    per_network: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Route<Q> {
    id: RouteId,
    ufrag: Ufrag,
    queue: Q,
    last_stun: Instant,
}

impl<Q> Table<Q> {
    /// A table without addresses and connections.
    #[must_use]
    pub fn new(now: Instant, limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            hasher: RandomState::new(),
            cookies: Cookies::new(now),
            next: 0,
            asked: AskedAddresses::new(),
            routes: HashMap::new(),
            per_network: HashMap::new(),
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
        match self.routes.get_mut(&from) {
            Some(route) if route.ufrag == ufrag => route.last_stun = now,
            Some(_) | None => self.asked.insert(now, &from, ufrag, &self.limits),
        }
        Action::Answer(binding_success(request.transaction, from, username.server))
    }

    fn on_dtls(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Action<'_, Q> {
        if let Some(hello) = ClientHello::parse(datagram)
            && let Some(ufrag) = self.asked.get(now, &from, &self.limits)
            && !self.is_from_route(now, from, ufrag, &hello)
        {
            let Ufrag(user) = ufrag;
            let Some(cookie) = self.cookies.check(now, from, user, &hello) else {
                let cookie = self.cookies.make(now, from, user, &hello);
                return Action::Challenge(hello_verify_request(&cookie));
            };
            self.next += 1;
            return Action::Open(Opening {
                id: RouteId(self.next),
                cookie,
                from,
                ufrag,
            });
        }
        match self.routes.get(&from) {
            Some(route) => Action::Forward(&route.queue),
            None => Action::Ignore,
        }
    }

    /// Whether the ClientHello belongs to the connection of its address: there was no request with another user name since,
    /// or it repeats an echo, and that request may be forged.
    fn is_from_route(
        &self,
        now: Instant,
        from: SocketAddr,
        asked: Ufrag,
        hello: &ClientHello<'_>,
    ) -> bool {
        self.routes.get(&from).is_some_and(|route| {
            let Ufrag(user) = route.ufrag;
            route.ufrag == asked || self.cookies.check(now, from, user, hello).is_some()
        })
    }

    /// Adds a connection for which [`Self::handle`] returned [`Action::Open`]. It replaces an older one with the same
    /// address.
    ///
    /// # Errors
    /// If the connection is refused. It must not start.
    pub fn insert(&mut self, now: Instant, opening: &Opening, queue: Q) -> Result<(), TooMany> {
        let from = opening.from;
        let network = network(from.ip());
        let of_network = network.and_then(|network| self.per_network.get(&network));
        let is_full = self.routes.len() >= self.limits.connections
            || of_network.is_some_and(|count| *count >= self.limits.connections_per_network);
        // One that replaces another one needs no more room.
        if is_full && !self.routes.contains_key(&from) {
            return Err(TooMany);
        }
        let route = Route {
            id: opening.id,
            ufrag: opening.ufrag,
            queue,
            last_stun: now,
        };
        if self.routes.insert(from, route).is_none()
            && let Some(network) = network
        {
            *self.per_network.entry(network).or_default() += 1;
        }
        Ok(())
    }

    /// When the peer of a connection sent its last STUN request. `None` if the connection is no longer in the table.
    #[must_use]
    pub fn last_stun(&self, from: SocketAddr, id: RouteId) -> Option<Instant> {
        let route = self.routes.get(&from).filter(|route| route.id == id)?;
        Some(route.last_stun)
    }

    /// Called when a connection has ended.
    pub fn remove(&mut self, from: SocketAddr, id: RouteId) {
        let Entry::Occupied(entry) = self.routes.entry(from) else {
            return;
        };
        // Otherwise it has been replaced.
        if entry.get().id != id {
            return;
        }
        entry.remove();
        if let Some(network) = network(from.ip())
            && let Entry::Occupied(mut count) = self.per_network.entry(network)
        {
            *count.get_mut() = count.get().saturating_sub(1);
            if *count.get() == 0 {
                count.remove();
            }
        }
        shrink(&mut self.routes);
        shrink(&mut self.per_network);
    }

    /// Forgets addresses that asked too long ago. Call it every now and then.
    pub fn expire(&mut self, now: Instant) {
        self.asked.expire(now, &self.limits);
    }

    /// The number of addresses that may begin a handshake.
    #[must_use]
    pub fn addresses(&self) -> usize {
        self.asked.len()
    }

    /// The number of connections, in progress or established.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.routes.len()
    }

    /// Drops all connections, so that they end.
    pub fn clear(&mut self) {
        self.routes.clear();
        self.per_network.clear();
    }
}

/// Gives back what a table needs no longer.
fn shrink<K: Eq + Hash, V>(table: &mut HashMap<K, V>) {
    let entries = table.len();
    if table.capacity() > entries.saturating_mul(ROOM_PER_ENTRY).max(SMALL) {
        table.shrink_to(entries.saturating_mul(2));
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
    use crate::hello::client_hello;
    use crate::stun::binding_request;

    /// Position of the cookie in a HelloVerifyRequest.
    const COOKIE_AT: usize = 28;
    /// Bytes for as many addresses as may ask, 24 for each and 64 KiB for their chains.
    const MAX_ASKED_BYTES: usize = 1_700_000;
    /// The same for a few addresses.
    const MAX_IDLE_BYTES: usize = 120_000;

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
            let now = Instant::now();
            Self {
                table: Table::new(now, &limits),
                now,
            }
        }

        fn ask(&mut self, from: SocketAddr, number: usize) {
            let action = self.table.handle(self.now, from, &request(number));
            assert!(matches!(action, Action::Answer(_)), "{action:?}");
        }

        /// Asks and begins; returns the number of the new connection, whose queue has that number.
        fn open(&mut self, from: SocketAddr, queue: usize) -> RouteId {
            self.ask(from, queue);
            let opening = self.begin(from).expect("it has asked");
            let outcome = self.table.insert(self.now, &opening, queue);
            outcome.expect("there is room");
            opening.id
        }

        /// Sends a ClientHello, and another one with the cookie that it gets.
        fn begin(&mut self, from: SocketAddr) -> Option<Opening> {
            let cookie = self.challenged(from, &client_hello(&[]))?;
            let action = self.table.handle(self.now, from, &client_hello(&cookie));
            let Action::Open(opening) = action else {
                panic!("{action:?}");
            };
            Some(opening)
        }

        /// The cookie that is asked for.
        fn challenged(&mut self, from: SocketAddr, hello: &[u8]) -> Option<Vec<u8>> {
            let Action::Challenge(answer) = self.table.handle(self.now, from, hello) else {
                return None;
            };
            Some(answer.get(COOKIE_AT..).expect("a cookie").to_vec())
        }

        /// The connection that gets a datagram.
        fn forwarded(&mut self, from: SocketAddr, datagram: &[u8]) -> Option<usize> {
            match self.table.handle(self.now, from, datagram) {
                Action::Forward(queue) => Some(*queue),
                Action::Ignore | Action::Answer(_) | Action::Challenge(_) | Action::Open(_) => None,
            }
        }
    }

    const RECORD: [u8; 20] = [23; 20];

    #[test]
    fn only_an_address_that_asked_may_begin() {
        let mut subject = Subject::new(|_| {});
        let from = ip4(1, 1);
        assert_eq!(subject.begin(from), None);
        subject.ask(from, 1);
        assert_eq!(subject.begin(ip4(1, 2)), None, "another port");
        assert_eq!(subject.forwarded(from, &RECORD), None, "not a hello");
        subject.open(from, 1);
        assert_eq!(subject.begin(from), None, "the hello is repeated");
        assert_eq!(subject.forwarded(from, &client_hello(&[])), Some(1));
        assert_eq!(subject.forwarded(from, &RECORD), Some(1));
    }

    #[test]
    fn hello_leaves_nothing_until_its_cookie_is_echoed() {
        let mut subject = Subject::new(|_| {});
        let (from, other) = (ip4(1, 1), ip4(1, 2));
        subject.ask(from, 1);
        subject.ask(other, 1);
        let hello = client_hello(&[]);
        let cookie = subject.challenged(from, &hello).expect("a cookie");
        assert_eq!(subject.challenged(from, &hello).as_ref(), Some(&cookie));
        assert_eq!(subject.table.connections(), 0);
        let echo = client_hello(&cookie);
        assert!(subject.challenged(other, &echo).is_some(), "not its own");
        assert_eq!(subject.forwarded(from, &RECORD), None);
        let action = subject.table.handle(subject.now, from, &echo);
        assert!(matches!(action, Action::Open(_)), "{action:?}");
    }

    /// As many as it takes: none of them displaces the first.
    #[test]
    fn echo_opens_after_any_number_of_others() {
        let mut subject = Subject::new(|_| {});
        let from = ip4(1, 1);
        subject.ask(from, 1);
        let cookie = subject.challenged(from, &client_hello(&[]));
        for port in 2..10_000 {
            subject.ask(ip4(1, port), 1);
            assert!(
                subject
                    .challenged(ip4(1, port), &client_hello(&[]))
                    .is_some()
            );
        }
        let echo = client_hello(&cookie.expect("a cookie"));
        let action = subject.table.handle(subject.now, from, &echo);
        assert!(matches!(action, Action::Open(_)), "{action:?}");
    }

    #[test]
    fn addresses_are_forgotten_after_their_lifetime() {
        let mut subject = Subject::new(|_| {});
        let lifetime = Limits::default().address_lifetime;
        subject.ask(ip4(1, 1), 1);
        subject.now += lifetime - Duration::from_millis(1);
        assert!(subject.begin(ip4(1, 1)).is_some());
        subject.now += Duration::from_millis(1);
        subject.table.expire(subject.now);
        assert_eq!(subject.table.addresses(), 0);
    }

    #[test]
    fn oldest_address_is_forgotten_first() {
        let mut subject = Subject::new(|limits| limits.addresses = 3);
        for port in 1..=5 {
            subject.ask(ip4(1, port), 1);
            subject.ask(ip4(1, port), 2);
        }
        assert_eq!(subject.table.addresses(), 3);
        assert_eq!(subject.begin(ip4(1, 2)), None);
        assert!(subject.begin(ip4(1, 3)).is_some());
    }

    #[test]
    fn connections_are_limited_per_network() {
        let mut subject = Subject::new(|limits| {
            limits.connections = 3;
            limits.connections_per_network = 2;
        });
        let first = subject.open(ip4(1, 1), 1);
        subject.open(ip4(1, 2), 2);
        let refused = |subject: &mut Subject, from| {
            subject.ask(from, 9);
            let opening = subject.begin(from).expect("it has asked");
            subject.table.insert(subject.now, &opening, 9) == Err(TooMany)
        };
        assert!(refused(&mut subject, ip4(1, 3)), "of its network");
        assert_eq!(subject.table.connections(), 2);
        subject.open(ip4(2, 1), 3);
        assert!(refused(&mut subject, ip4(3, 1)), "in total");
        subject.open(ip4(1, 2), 4);
        assert_eq!(subject.forwarded(ip4(1, 2), &RECORD), Some(4), "replaced");
        subject.table.remove(ip4(1, 1), first);
        subject.open(ip4(1, 4), 5);
        assert_eq!(subject.table.connections(), 3);
    }

    #[test]
    fn memory_follows_the_connections() {
        let mut subject = Subject::new(|_| {});
        let opened: Vec<_> = (0..1_000)
            .map(|host| (ip4(host, 1), subject.open(ip4(host, 1), 1)))
            .collect();
        assert!(subject.table.routes.capacity() >= opened.len());
        for (from, id) in opened.into_iter().skip(10) {
            subject.table.remove(from, id);
        }
        assert!(subject.table.routes.capacity() <= SMALL);
        assert!(subject.table.per_network.capacity() <= SMALL);
        assert_eq!(subject.table.connections(), 10);
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
    fn reused_address_needs_an_echo() {
        let mut subject = Subject::new(|_| {});
        let from = ip4(1, 1);
        let old = subject.open(from, 1);
        subject.ask(from, 2);
        let hello = client_hello(&[]);
        assert!(subject.challenged(from, &hello).is_some());
        assert_eq!(subject.forwarded(from, &RECORD), Some(1), "until the echo");
        let new = subject.open(from, 2);
        assert_eq!(subject.forwarded(from, &RECORD), Some(2));
        assert_eq!(subject.forwarded(from, &hello), Some(2));
        assert_eq!(subject.table.last_stun(from, old), None);
        subject.table.remove(from, old);
        assert_eq!(subject.table.connections(), 1);
        subject.table.remove(from, new);
        assert_eq!(subject.table.connections(), 0);
        assert!(subject.table.per_network.is_empty());
    }

    /// A forged request must not let a repeated echo open another connection, nor keep it from its own.
    #[test]
    fn repeated_echo_belongs_to_its_connection() {
        let mut subject = Subject::new(|_| {});
        let from = ip4(1, 1);
        subject.ask(from, 1);
        let cookie = subject.challenged(from, &client_hello(&[]));
        let echo = client_hello(&cookie.expect("a cookie"));
        let Action::Open(opening) = subject.table.handle(subject.now, from, &echo) else {
            panic!("it is valid");
        };
        assert_eq!(subject.table.insert(subject.now, &opening, 1), Ok(()));
        subject.ask(from, 2);
        assert_eq!(subject.forwarded(from, &echo), Some(1));
        assert!(subject.challenged(from, &client_hello(&[])).is_some());
        assert_eq!(subject.forwarded(from, &RECORD), Some(1));
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

    /// Asks from as many addresses.
    fn flood(subject: &mut Subject, count: usize) {
        for number in 0..count {
            let [a, b, c, ..] = number.to_le_bytes();
            subject.ask(SocketAddr::from(([10, c, b, a], 9)), number);
        }
    }

    #[test]
    fn requests_leave_nothing_but_an_address() {
        let mut subject = Subject::new(|_| {});
        let limit = Limits::default().addresses;
        flood(&mut subject, 100_000);
        assert_eq!(subject.table.addresses(), limit);
        assert_eq!(subject.table.connections(), 0);
        let bytes = subject.table.asked.bytes();
        assert!(bytes <= MAX_ASKED_BYTES, "{bytes}");
        subject.now += Limits::default().address_lifetime;
        subject.table.expire(subject.now);
        assert_eq!(subject.table.addresses(), 0);
        let bytes = subject.table.asked.bytes();
        assert!(bytes <= MAX_IDLE_BYTES, "{bytes}");
    }

    /// The table is never empty, which must not be what frees memory.
    #[test]
    fn memory_shrinks_while_others_keep_asking() {
        let mut subject = Subject::new(|_| {});
        flood(&mut subject, 100_000);
        for port in 1..=10 {
            subject.now += Duration::from_secs(1);
            subject.table.expire(subject.now);
            subject.ask(ip4(1, port), 1);
        }
        assert_eq!(subject.table.addresses(), 10);
        let bytes = subject.table.asked.bytes();
        assert!(bytes <= MAX_IDLE_BYTES, "{bytes}");
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
