//! Limits the reservations and circuits of each network. libp2p's relay limits them in total and for each peer, but peer
//! IDs are free: one computer could take all of them.
//!
//! libp2p's relay asks before it grants a reservation or a circuit, and this answers. When all are taken, the network
//! that holds the most loses one. For that its connection must be closed: the caller asks for these with
//! [`HopLimits::take_evicted`].

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use libp2p::{Multiaddr, PeerId, relay::RateLimiter};

use crate::{
    fair_table::FairTable,
    limits::Limits,
    metrics::{Limit, Metrics, Resource},
    network::{Network, network_of_address},
    network_buckets::NetworkBuckets,
    table_memory::shrink,
};

/// Shared by the relay's behaviour, which asks, and by the behaviour that closes connections.
#[derive(Clone, Debug)]
pub(crate) struct HopLimits(Arc<Mutex<State>>);

/// A peer that has to be disconnected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EvictedPeer {
    /// On the connection from this address.
    From(PeerId, Multiaddr),
    /// On all its connections.
    Everywhere(PeerId),
}

/// The ends of a circuit, and a number that makes it unique.
type Circuit = (PeerId, PeerId, u64);

#[derive(Debug)]
struct State {
    metrics: Arc<Metrics>,
    /// One for each connection of a peer that has a reservation.
    reservations: FairTable<(PeerId, Multiaddr)>,
    reservation_rate: NetworkBuckets,
    circuits: FairTable<Circuit>,
    /// The numbers of the open circuits between two peers.
    numbers: HashMap<(PeerId, PeerId), Vec<u64>>,
    next_number: u64,
    circuit_rate: NetworkBuckets,
    evicted: Vec<EvictedPeer>,
}

impl HopLimits {
    pub(crate) fn new(limits: &Limits, metrics: &Arc<Metrics>) -> Self {
        let now = Instant::now();
        Self(Arc::new(Mutex::new(State {
            metrics: Arc::clone(metrics),
            reservations: FairTable::new(limits.reservation_share()),
            reservation_rate: NetworkBuckets::new(limits.reservation_bucket(), now),
            circuits: FairTable::new(limits.circuit_share()),
            numbers: HashMap::new(),
            next_number: 0,
            circuit_rate: NetworkBuckets::new(limits.circuit_bucket(), now),
            evicted: Vec::new(),
        })))
    }

    /// The last question that the relay asks before it grants a reservation.
    pub(crate) fn reservation_limiter(&self) -> Box<dyn RateLimiter> {
        let limits = self.clone();
        Box::new(move |peer: PeerId, from: &Multiaddr, now: Instant| {
            limits.state().admit_reservation(peer, from, now)
        })
    }

    /// The last question that the relay asks before it opens a circuit.
    pub(crate) fn circuit_limiter(&self) -> Box<dyn RateLimiter> {
        let limits = self.clone();
        Box::new(move |_: PeerId, from: &Multiaddr, now: Instant| {
            limits.state().admit_circuit(network_of_address(from), now)
        })
    }

    /// Whether a new client of this network would get a reservation.
    pub(crate) fn has_room(&self, network: Network) -> bool {
        self.state().reservations.victim(network).is_ok()
    }

    pub(crate) fn set_limits(&self, limits: &Limits) {
        let now = Instant::now();
        let mut state = self.state();
        state.reservations.set_share(limits.reservation_share());
        state.reservation_rate = NetworkBuckets::new(limits.reservation_bucket(), now);
        state.circuits.set_share(limits.circuit_share());
        state.circuit_rate = NetworkBuckets::new(limits.circuit_bucket(), now);
    }

    pub(crate) fn on_circuit_opened(&self, (from, to): (PeerId, PeerId), network: Network) {
        self.state().add_circuit((from, to), network);
    }

    pub(crate) fn on_circuit_closed(&self, (from, to): (PeerId, PeerId)) {
        self.state().remove_circuit((from, to));
    }

    /// A connection closed, and its reservation with it.
    pub(crate) fn on_connection_closed(&self, peer: PeerId, from: &Multiaddr) {
        let mut state = self.state();
        state.reservations.remove(&(peer, from.clone()));
        state.update_metrics();
    }

    /// The peers that lose their connections to others. Each is returned once.
    pub(crate) fn take_evicted(&self) -> Vec<EvictedPeer> {
        std::mem::take(&mut self.state().evicted)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic can at most leave an entry that ends with its connection, so a poisoned lock is safe to use.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn admit_reservation(&mut self, peer: PeerId, from: &Multiaddr, now: Instant) -> bool {
        let network = network_of_address(from);
        if !self.reservation_rate.try_take(network, now) {
            self.metrics.refused(Resource::Reservations, Limit::Rate);
            return false;
        }
        let key = (peer, from.clone());
        if self.reservations.contains(&key) {
            return true;
        }
        let admitted = match self.reservations.try_insert(key, network) {
            Ok(evicted) => {
                if let Some((peer, from)) = evicted {
                    self.metrics.evicted(Resource::Reservations);
                    self.evicted.push(EvictedPeer::From(peer, from));
                }
                true
            }
            Err(full) => {
                self.metrics.refused(Resource::Reservations, full.into());
                false
            }
        };
        self.update_metrics();
        admitted
    }

    /// Decides, and evicts no circuit yet: libp2p's relay or the other peer may still refuse the request.
    fn admit_circuit(&mut self, network: Network, now: Instant) -> bool {
        if !self.circuit_rate.try_take(network, now) {
            self.metrics.refused(Resource::Circuits, Limit::Rate);
            return false;
        }
        match self.circuits.victim(network) {
            Ok(_) => true,
            Err(full) => {
                self.metrics.refused(Resource::Circuits, full.into());
                false
            }
        }
    }

    /// Adds a circuit that is open, and evicts one for it if there are too many.
    ///
    /// Circuits that were requested at the same time may all open, so a network may exceed its share by what its rate
    /// allows at once.
    fn add_circuit(&mut self, (from, to): (PeerId, PeerId), network: Network) {
        if let Ok(Some(evicted)) = self.circuits.victim(network) {
            self.circuits.remove(&evicted);
            let (from, to, number) = evicted;
            self.metrics.evicted(Resource::Circuits);
            self.evicted.push(EvictedPeer::Everywhere(from));
            self.remove_number((from, to), Some(number));
        }
        let number = self.next_number;
        self.next_number = number.saturating_add(1);
        self.circuits.add((from, to, number), network);
        self.numbers.entry((from, to)).or_default().push(number);
        self.metrics.circuits_opened.inc();
        self.update_metrics();
    }

    fn remove_circuit(&mut self, ends: (PeerId, PeerId)) {
        if let Some(number) = self.remove_number(ends, None) {
            self.circuits.remove(&(ends.0, ends.1, number));
        }
        self.update_metrics();
    }

    /// Forgets the given circuit between two peers, or any of them.
    fn remove_number(&mut self, ends: (PeerId, PeerId), wanted: Option<u64>) -> Option<u64> {
        let numbers = self.numbers.get_mut(&ends)?;
        let removed = match wanted {
            Some(wanted) => {
                numbers.retain(|number| *number != wanted);
                Some(wanted)
            }
            None => numbers.pop(),
        };
        if numbers.is_empty() {
            self.numbers.remove(&ends);
            shrink(&mut self.numbers);
        }
        removed
    }

    fn update_metrics(&self) {
        let gauge = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let Metrics {
            reservations,
            circuits,
            ..
        } = &*self.metrics;
        reservations.set(gauge(self.reservations.len()));
        circuits.set(gauge(self.circuits.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table_memory::max_capacity;

    fn hop_limits(change: impl FnOnce(&mut Limits)) -> HopLimits {
        let mut limits = Limits::default();
        change(&mut limits);
        HopLimits::new(&limits, &Arc::new(Metrics::new()))
    }

    fn from(host: u8, port: u16) -> Multiaddr {
        let address = format!("/ip4/192.0.2.{host}/tcp/{port}/ws");
        address.parse().expect("an address")
    }

    #[test]
    fn keys_of_one_network_cannot_take_all_reservations() {
        let limits = hop_limits(|limits| {
            limits.reservations = 4;
            limits.reservations_per_network = 3;
        });
        let mut limiter = limits.reservation_limiter();
        let now = Instant::now();
        let attackers: Vec<_> = (1..=4)
            .map(|port| (PeerId::random(), from(1, port)))
            .collect();
        for (peer, address) in &attackers[..3] {
            assert!(limiter.try_next(*peer, address, now));
        }
        let (one_too_many, address) = &attackers[3];
        assert!(!limiter.try_next(*one_too_many, address, now));
        assert!(!limits.has_room(network_of_address(address)));
        // Renewing is always possible, and takes nothing.
        let (renewing, address) = &attackers[0];
        assert!(limiter.try_next(*renewing, address, now));

        assert!(limiter.try_next(PeerId::random(), &from(2, 1), now));
        assert_eq!(limits.take_evicted(), []);
        // The relay is full: the network that holds the most loses its newest.
        assert!(limiter.try_next(PeerId::random(), &from(3, 1), now));
        let (newest, address) = attackers[2].clone();
        assert_eq!(limits.take_evicted(), [EvictedPeer::From(newest, address)]);
        assert_eq!(limits.take_evicted(), []);

        limits.on_connection_closed(attackers[0].0, &attackers[0].1);
        assert!(limiter.try_next(PeerId::random(), &from(2, 2), now));
        assert_eq!(limits.take_evicted(), []);
        assert_eq!(limits.state().metrics.reservations.get(), 4);
    }

    #[test]
    fn memory_follows_the_circuits() {
        let limits = hop_limits(|limits| limits.circuits = 5_000);
        let target = PeerId::random();
        let opened: Vec<_> = (0..5_000).map(|_| (PeerId::random(), target)).collect();
        for ends in &opened {
            limits.on_circuit_opened(*ends, None);
        }
        assert!(limits.state().numbers.capacity() >= 5_000);
        for ends in opened {
            limits.on_circuit_closed(ends);
        }
        assert!(limits.state().numbers.capacity() <= max_capacity(0));
    }

    #[test]
    fn reservations_of_one_network_are_rate_limited() {
        let limits = hop_limits(|limits| limits.reservation_burst_per_network = 2);
        let mut limiter = limits.reservation_limiter();
        let (peer, now) = (PeerId::random(), Instant::now());
        assert!(limiter.try_next(peer, &from(1, 1), now));
        assert!(limiter.try_next(peer, &from(1, 1), now));
        assert!(!limiter.try_next(peer, &from(1, 1), now));
        let later = now + Limits::NETWORK_REFILL;
        assert!(limiter.try_next(peer, &from(1, 1), later));
    }

    #[test]
    fn changed_limits_apply_at_once() {
        let limits = hop_limits(|limits| {
            (limits.reservations, limits.circuits) = (1, 1);
            limits.reservation_burst_per_network = 1;
            limits.circuit_burst_per_network = 1;
        });
        let now = Instant::now();
        let admits = |host| {
            let reservation = &mut limits.reservation_limiter();
            let circuit = &mut limits.circuit_limiter();
            let (peer, address) = (PeerId::random(), from(host, 1));
            let reserved = reservation.try_next(peer, &address, now);
            let opened = circuit.try_next(peer, &address, now);
            if opened {
                let network = network_of_address(&address);
                limits.on_circuit_opened((peer, peer), network);
            }
            (reserved, opened)
        };
        assert_eq!(admits(1), (true, true));
        // Both are full, and no network holds more than another.
        assert_eq!(admits(2), (false, false));
        let more = Limits {
            reservations: 3,
            circuits: 3,
            ..Limits::default()
        };
        limits.set_limits(&more);
        // Neither is full, and those that were over their rate begin again.
        assert_eq!(admits(1), (true, true));
        assert_eq!(admits(2), (true, true));
        assert_eq!(limits.state().metrics.circuits.get(), 3);
    }

    #[test]
    fn evicted_circuit_leaves_others_of_its_ends() {
        let limits = hop_limits(|limits| limits.circuits = 2);
        let ends @ (attacker, _) = (PeerId::random(), PeerId::random());
        let network = |host| network_of_address(&from(host, 1));
        limits.on_circuit_opened(ends, network(1));
        limits.on_circuit_opened(ends, network(1));
        let other = (PeerId::random(), PeerId::random());
        limits.on_circuit_opened(other, network(2));
        assert_eq!(limits.take_evicted(), [EvictedPeer::Everywhere(attacker)]);
        assert_eq!(limits.state().circuits.len(), 2);
        limits.on_circuit_closed(ends);
        limits.on_circuit_closed(other);
        let state = limits.state();
        assert_eq!((state.circuits.len(), state.numbers.len()), (0, 0));
        assert_eq!(state.metrics.circuits.get(), 0);
    }

    #[test]
    fn circuits_of_one_network_leave_room_for_others() {
        let limits = hop_limits(|limits| {
            limits.circuits = 3;
            limits.circuits_per_network = 2;
        });
        let mut limiter = limits.circuit_limiter();
        let now = Instant::now();
        let [attacker, other, target] = std::array::from_fn(|_| PeerId::random());
        let mut open = |peer, host| {
            let admitted = limiter.try_next(peer, &from(host, 1), now);
            if admitted {
                let network = network_of_address(&from(host, 1));
                limits.on_circuit_opened((peer, target), network);
            }
            admitted
        };
        assert!(open(attacker, 1) && open(attacker, 1) && !open(attacker, 1));
        assert!(open(other, 2));
        // A request that never leads to a circuit costs the others nothing.
        let stranger = PeerId::random();
        assert!(
            limits
                .circuit_limiter()
                .try_next(stranger, &from(4, 1), now)
        );
        assert_eq!(limits.take_evicted(), []);
        assert!(open(other, 3));
        assert_eq!(limits.take_evicted(), [EvictedPeer::Everywhere(attacker)]);

        for ends in [(attacker, target), (other, target), (other, target)] {
            limits.on_circuit_closed(ends);
        }
        // The end of a circuit that was evicted is reported too.
        limits.on_circuit_closed((attacker, target));
        let state = limits.state();
        assert_eq!((state.circuits.len(), state.numbers.len()), (0, 0));
        assert_eq!(state.metrics.circuits_opened.get(), 4);
    }
}
