//! Slots for peers: how many may be connected, and how many of them may be inbound. Peer IDs are free, so inbound peers
//! get only part of the slots; the rest is for peers that this tab picks itself, so that an attacker who dials a tab
//! cannot become all of its peers. This module never opens or closes a connection: it decides whether one more may be
//! established.
//!
//! Slots are counted per peer, not per connection, and a peer keeps its slot for as long as any connection to it is
//! open. A direct connection that replaces a circuit takes no second slot. When two tabs dial each other, each has an
//! outbound slot for the other, whichever connection is kept. A peer that dialed this tab keeps its inbound slot, also
//! when this side dials to replace the connection.
//!
//! In a private room peers prove that they have the room's key. One that has not yet is a stranger: it gives its slot to
//! a newcomer when no other is free, so that strangers cannot keep members out, and it does not count among the peers
//! that a tab looks for.

use heartchain_chain::time::MonotonicMillis;
use heartchain_sync::config::STRANGER_PATIENCE;
use litemap::LiteMap;

use super::connections::Path;

/// Peers that a tab is connected to, not counting relays. Each costs pings, a gossip queue and a share of the relay.
const MAX_PEERS: usize = 24;
/// Slots for peers that the tab did not choose itself: they dialed it, or it dialed them for another reason. Peer IDs
/// are free, so inbound peers must not fill all slots; the rest is kept for the [`WANTED_PEERS`] that the tab looks
/// for.
pub(crate) const MAX_INBOUND_PEERS: usize = MAX_PEERS - WANTED_PEERS;
/// Connections to one peer: a relayed and a direct one, each twice while two tabs dial each other at the same time.
pub const MAX_CONNECTIONS_PER_PEER: u32 = 4;
/// Circuits among the connections to one peer: a relay limits the circuits of a tab, and a few peers must not use them
/// all.
pub const MAX_CIRCUITS_PER_PEER: u32 = 2;
/// Dials in progress at one time.
pub(crate) const MAX_PENDING_DIALS: usize = 16;
/// Inbound connections that are being set up at one time. A circuit whose peer never speaks ends after 5 s (see `transport`), so it takes
/// about a dozen a second to keep others out.
pub(crate) const MAX_PENDING_INBOUND: usize = 64;
/// Peers that a tab looks for on its own: gossip needs about six neighbours.
pub const WANTED_PEERS: usize = 8;
/// Of [`WANTED_PEERS`], those that a tab chooses at random among all peers it knows of, however many have dialed it.
/// With more, a class that arrives at the same time would open twice as many connections as it needs.
pub(crate) const MIN_OUTBOUND_PEERS: usize = WANTED_PEERS / 2;

/// The kind of slot that a peer occupies. A peer with connections of several kinds has the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SlotKind {
    /// The peer dialed this tab, or this tab dialed it for another reason than picking it from its candidates.
    Inbound,
    /// This tab picked the peer from its candidates and dialed it.
    Outbound,
    /// The peer is a relay of this tab, and occupies no slot.
    Relay,
}

/// Why a connection or a dial is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum SlotError {
    /// The peer has [`MAX_CONNECTIONS_PER_PEER`] connections.
    #[error("{0} connections to this peer")]
    ConnectionsToPeer(u32),
    /// The peer has [`MAX_CIRCUITS_PER_PEER`] circuits.
    #[error("{0} circuits to this peer")]
    CircuitsToPeer(u32),
    /// All slots are taken.
    #[error("connected to {0} peers")]
    Peers(usize),
    /// All inbound slots are taken.
    #[error("connected to {0} inbound peers")]
    Inbound(usize),
    /// Too many connections in this direction are being set up.
    #[error("{0} pending connections")]
    Pending(usize),
}

/// The slots in use, keyed by peer `P`, and pending connections, keyed by connection `C`.
#[derive(Debug)]
pub(crate) struct PeerSlots<P, C> {
    /// Whether peers have to prove that they are members.
    requires_proof: bool,
    peers: LiteMap<P, PeerConnections>,
    /// Dials that are announced or in progress, and the slots that they are for.
    pending_dials: LiteMap<C, SlotKind>,
    /// Inbound connections that are being set up.
    pending_inbound: Vec<C>,
}

#[derive(Clone, Copy, Debug)]
struct PeerConnections {
    slot: SlotKind,
    connections: u32,
    circuits: u32,
    /// When its first connection was established.
    since: MonotonicMillis,
    is_proved: bool,
}

impl<P: Copy + Ord, C: Copy + Ord> PeerSlots<P, C> {
    /// A set of slots, all of them free. `requires_proof` says whether peers have to prove that they are members.
    pub(crate) const fn new(requires_proof: bool) -> Self {
        Self {
            requires_proof,
            peers: LiteMap::new(),
            pending_dials: LiteMap::new(),
            pending_inbound: Vec::new(),
        }
    }

    /// Announces a dial and the kind of slot it is for.
    pub(crate) fn expect_dial(&mut self, id: C, kind: SlotKind) {
        self.pending_dials.insert(id, kind);
    }

    /// A dial begins. Dials to relays are not limited.
    ///
    /// # Errors
    /// If too many dials are in progress.
    pub(crate) fn begin_dial(&mut self, id: C) -> Result<(), SlotError> {
        let kind = *self.pending_dials.entry(id).or_insert(SlotKind::Inbound);
        let counted = self
            .pending_dials
            .values()
            .filter(|kind| **kind != SlotKind::Relay);
        let pending = counted.count();
        if kind != SlotKind::Relay && pending > MAX_PENDING_DIALS {
            return Err(SlotError::Pending(pending - 1));
        }
        Ok(())
    }

    /// An inbound connection begins.
    ///
    /// # Errors
    /// If too many are being set up.
    pub(crate) fn begin_inbound(&mut self, id: C) -> Result<(), SlotError> {
        if self.pending_inbound.len() >= MAX_PENDING_INBOUND {
            return Err(SlotError::Pending(self.pending_inbound.len()));
        }
        self.pending_inbound.push(id);
        Ok(())
    }

    /// Decides whether a connection to or from this peer may be established.
    ///
    /// # Errors
    /// If there is no slot for it.
    pub(crate) fn admit(&self, peer: &P, id: C, path: Path) -> Result<(), SlotError> {
        let kind = self.kind_of(id);
        if kind == SlotKind::Relay {
            return Ok(());
        }
        if let Some(entry) = self.peers.get(peer) {
            return if entry.connections >= MAX_CONNECTIONS_PER_PEER {
                Err(SlotError::ConnectionsToPeer(entry.connections))
            } else if path == Path::Relayed && entry.circuits >= MAX_CIRCUITS_PER_PEER {
                Err(SlotError::CircuitsToPeer(entry.circuits))
            } else {
                Ok(())
            };
        }
        let full = self.shortage(kind, 1);
        full.filter(|_| self.oldest_stranger(kind, peer).is_none())
            .map_or(Ok(()), Err)
    }

    /// A connection was established. Returns the stranger whose slot it takes: all its connections must be closed.
    pub(crate) fn opened(&mut self, peer: P, id: C, path: Path, now: MonotonicMillis) -> Option<P> {
        let kind = self.kind_of(id);
        self.end_pending(id);
        let entry = self.peers.entry(peer).or_insert(PeerConnections {
            slot: kind,
            connections: 0,
            circuits: 0,
            since: now,
            is_proved: !self.requires_proof,
        });
        let is_new = entry.connections == 0;
        entry.slot = entry.slot.max(kind);
        entry.connections = entry.connections.saturating_add(1);
        entry.circuits = entry.circuits.saturating_add(circuits(path));
        let is_full = is_new && self.shortage(kind, 0).is_some();
        is_full.then(|| self.oldest_stranger(kind, &peer)).flatten()
    }

    /// A peer proved that it is a member.
    pub(crate) fn proved(&mut self, peer: &P) {
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.is_proved = true;
        }
    }

    /// What there is too much of once this many more peers get a slot of this kind.
    fn shortage(&self, kind: SlotKind, more: usize) -> Option<SlotError> {
        let inbound = self.count_of(SlotKind::Inbound);
        let peers = inbound + self.count_of(SlotKind::Outbound);
        match kind {
            SlotKind::Relay => None,
            SlotKind::Inbound | SlotKind::Outbound if peers + more > MAX_PEERS => {
                Some(SlotError::Peers(peers))
            }
            SlotKind::Inbound if inbound + more > MAX_INBOUND_PEERS => {
                Some(SlotError::Inbound(inbound))
            }
            SlotKind::Inbound | SlotKind::Outbound => None,
        }
    }

    /// The stranger that gives its slot to this newcomer. A peer that dialed this tab takes no slot of one that the tab
    /// chose.
    fn oldest_stranger(&self, kind: SlotKind, newcomer: &P) -> Option<P> {
        let strangers = self
            .peers
            .iter()
            .filter(|(peer, entry)| !entry.is_proved && entry.slot <= kind && *peer != newcomer);
        let oldest = strangers.min_by_key(|(_, entry)| (entry.slot, entry.since));
        oldest.map(|(peer, _)| *peer)
    }

    /// A connection was closed.
    pub(crate) fn closed(&mut self, peer: &P, path: Path) {
        let Some(entry) = self.peers.get_mut(peer) else {
            return;
        };
        entry.connections = entry.connections.saturating_sub(1);
        entry.circuits = entry.circuits.saturating_sub(circuits(path));
        if entry.connections == 0 {
            self.peers.remove(peer);
        }
    }

    /// A pending connection failed or was established.
    pub(crate) fn end_pending(&mut self, id: C) {
        self.pending_dials.remove(&id);
        self.pending_inbound.retain(|other| *other != id);
    }

    /// Whether a connected peer has an outbound slot.
    pub(crate) fn is_outbound(&self, peer: &P) -> bool {
        let entry = self.peers.get(peer);
        entry.is_some_and(|entry| entry.slot == SlotKind::Outbound)
    }

    /// How many peers have an outbound slot, without strangers that have had the time to prove that they are members.
    pub(crate) fn outbound(&self, now: MonotonicMillis) -> usize {
        let entries = self.peers.values();
        let counted = entries.filter(|entry| {
            let is_recent = now.since(entry.since) < STRANGER_PATIENCE;
            entry.slot == SlotKind::Outbound && (entry.is_proved || is_recent)
        });
        counted.count()
    }

    /// Whether a connected peer has proved that it is a member, or does not have to.
    pub(crate) fn is_proved(&self, peer: &P) -> bool {
        self.peers.get(peer).is_some_and(|entry| entry.is_proved)
    }

    /// How many of the peers have proved that they are members. `None` if they do not have to.
    pub(crate) fn proved_members(&self) -> Option<usize> {
        let proved = self.peers.values().filter(|entry| entry.is_proved);
        self.requires_proof.then(|| proved.count())
    }

    fn count_of(&self, kind: SlotKind) -> usize {
        let entries = self.peers.values();
        entries.filter(|entry| entry.slot == kind).count()
    }

    fn kind_of(&self, id: C) -> SlotKind {
        self.pending_dials
            .get(&id)
            .copied()
            .unwrap_or(SlotKind::Inbound)
    }
}

fn circuits(path: Path) -> u32 {
    u32::from(path == Path::Relayed)
}

/// How many more peers a tab should dial, given its connected members and its outbound peers: enough for
/// [`WANTED_PEERS`] in all, and for a minimum of outbound peers however many have dialed it.
pub(crate) fn wanted(members: usize, outbound: usize) -> usize {
    let in_all = WANTED_PEERS.saturating_sub(members.max(outbound));
    in_all.max(MIN_OUTBOUND_PEERS.saturating_sub(outbound))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first ID of inbound peers. Those of outbound peers and relays are smaller.
    const INBOUND: u32 = 1_000;
    const NOW: MonotonicMillis = MonotonicMillis::new(50_000);

    fn inbound(count: usize) -> PeerSlots<u32, u32> {
        let mut slots = PeerSlots::new(false);
        for number in (0..).take(count) {
            let (peer, id) = (INBOUND + number, INBOUND + number);
            slots.begin_inbound(id).expect("few pending connections");
            slots.admit(&peer, id, Path::Direct).expect("a free slot");
            slots.opened(peer, id, Path::Direct, NOW);
        }
        slots
    }

    fn dial(slots: &mut PeerSlots<u32, u32>, peer: u32, id: u32, kind: SlotKind) {
        slots.expect_dial(id, kind);
        slots.begin_dial(id).expect("few dials");
        slots.admit(&peer, id, Path::Direct).expect("a free slot");
        slots.opened(peer, id, Path::Direct, NOW);
    }

    #[test]
    fn inbound_peers_leave_outbound_slots_free() {
        let mut slots = inbound(MAX_INBOUND_PEERS);
        slots.begin_inbound(1).expect("few pending connections");
        assert_eq!(
            slots.admit(&1, 1, Path::Direct),
            Err(SlotError::Inbound(MAX_INBOUND_PEERS))
        );
        slots.end_pending(1);
        let kept = u32::try_from(MAX_PEERS - MAX_INBOUND_PEERS).expect("small");
        for peer in 1..=kept {
            dial(&mut slots, peer, peer, SlotKind::Outbound);
        }
        assert_eq!(slots.outbound(NOW), MAX_PEERS - MAX_INBOUND_PEERS);
        slots.expect_dial(99, SlotKind::Outbound);
        assert_eq!(
            slots.admit(&99, 99, Path::Direct),
            Err(SlotError::Peers(MAX_PEERS))
        );
        slots.closed(&1, Path::Direct);
        assert_eq!(slots.admit(&99, 99, Path::Direct), Ok(()));
        assert_eq!(
            slots.admit(&98, 98, Path::Direct),
            Err(SlotError::Inbound(MAX_INBOUND_PEERS)),
            "the slot is for an outbound peer"
        );
    }

    #[test]
    fn tab_wants_outbound_peers_despite_inbound_ones() {
        assert_eq!(wanted(0, 0), WANTED_PEERS);
        assert_eq!(wanted(MAX_INBOUND_PEERS, 0), MIN_OUTBOUND_PEERS);
        assert_eq!(wanted(MAX_INBOUND_PEERS + 3, 3), MIN_OUTBOUND_PEERS - 3);
        assert_eq!(wanted(MAX_PEERS, MIN_OUTBOUND_PEERS), 0);
        assert_eq!(
            wanted(3, 5),
            WANTED_PEERS - 5,
            "two of the outbound peers are not known as members yet"
        );
    }

    #[test]
    fn peer_has_one_slot_for_all_its_connections() {
        let mut slots = inbound(MAX_INBOUND_PEERS);
        for another in 1..MAX_CONNECTIONS_PER_PEER {
            assert_eq!(
                slots.admit(&INBOUND, another, Path::Direct),
                Ok(()),
                "{another}"
            );
            slots.opened(INBOUND, another, Path::Direct, NOW);
        }
        let max = MAX_CONNECTIONS_PER_PEER;
        assert_eq!(
            slots.admit(&INBOUND, 9, Path::Direct),
            Err(SlotError::ConnectionsToPeer(max))
        );
        slots.closed(&INBOUND, Path::Direct);
        assert_eq!(
            slots.admit(&INBOUND, 9, Path::Direct),
            Ok(()),
            "one connection fewer"
        );
        assert!(
            slots.admit(&1, 1, Path::Direct).is_err(),
            "the peer keeps its slot"
        );
        for _ in 1..max {
            slots.closed(&INBOUND, Path::Direct);
        }
        assert_eq!(
            slots.admit(&1, 1, Path::Direct),
            Ok(()),
            "and frees it with its last connection"
        );
    }

    #[test]
    fn circuits_to_one_peer_are_limited() {
        let mut slots = inbound(1);
        let max = MAX_CIRCUITS_PER_PEER;
        for circuit in 0..max {
            assert_eq!(slots.admit(&INBOUND, circuit, Path::Relayed), Ok(()));
            slots.opened(INBOUND, circuit, Path::Relayed, NOW);
        }
        let one_more = slots.admit(&INBOUND, 9, Path::Relayed);
        assert_eq!(one_more, Err(SlotError::CircuitsToPeer(max)));
        assert_eq!(slots.admit(&INBOUND, 9, Path::Direct), Ok(()));
        slots.closed(&INBOUND, Path::Direct);
        assert!(slots.admit(&INBOUND, 9, Path::Relayed).is_err());
        slots.closed(&INBOUND, Path::Relayed);
        assert_eq!(slots.admit(&INBOUND, 9, Path::Relayed), Ok(()));
    }

    #[test]
    fn outbound_peer_stays_outbound() {
        let mut slots = inbound(MAX_INBOUND_PEERS);
        dial(&mut slots, INBOUND, 1, SlotKind::Outbound);
        assert_eq!(slots.outbound(NOW), 1);
        assert!(slots.is_outbound(&INBOUND) && !slots.is_outbound(&(INBOUND + 1)));
        // Both sides dialed, and the circuit that this side dialed is closed.
        slots.closed(&INBOUND, Path::Direct);
        assert_eq!(slots.outbound(NOW), 1);
        assert_eq!(
            slots.admit(&2, 2, Path::Direct),
            Ok(()),
            "an inbound slot is free"
        );
    }

    #[test]
    fn redialed_inbound_peer_stays_inbound() {
        let mut slots = inbound(1);
        slots.begin_dial(1).expect("few dials");
        slots.opened(INBOUND, 1, Path::Direct, NOW);
        // The connection that the peer dialed closes first, then the one that this side dialed to replace it.
        slots.closed(&INBOUND, Path::Direct);
        assert_eq!(slots.outbound(NOW), 0);
        slots.closed(&INBOUND, Path::Direct);
        let mut full = inbound(MAX_INBOUND_PEERS);
        full.begin_dial(1).expect("few dials");
        assert!(
            full.admit(&1, 1, Path::Direct).is_err(),
            "an unannounced dial takes an inbound slot"
        );
    }

    #[test]
    fn dialed_relays_are_admitted_and_take_no_slot() {
        let mut slots = inbound(MAX_INBOUND_PEERS);
        for relay in 1..=100 {
            dial(&mut slots, relay, relay, SlotKind::Relay);
            dial(&mut slots, 1, relay + 100, SlotKind::Relay);
        }
        assert_eq!(slots.outbound(NOW), 0);
        dial(&mut slots, 500, 500, SlotKind::Outbound);
        assert!(
            slots.admit(&1, 9_999, Path::Direct).is_err(),
            "unless they dial this tab"
        );
    }

    #[test]
    fn pending_connections_are_limited_per_direction() {
        let mut slots: PeerSlots<u32, u32> = PeerSlots::new(false);
        let max = MAX_PENDING_DIALS;
        let one_too_many = u32::try_from(max).expect("small");
        for id in 0..one_too_many {
            assert_eq!(slots.begin_dial(id), Ok(()));
        }
        for id in (100..).take(MAX_PENDING_INBOUND) {
            assert_eq!(slots.begin_inbound(id), Ok(()));
        }
        let most = Err(SlotError::Pending(MAX_PENDING_INBOUND));
        assert_eq!(slots.begin_inbound(200), most);
        assert_eq!(slots.begin_dial(one_too_many), Err(SlotError::Pending(max)));
        slots.expect_dial(300, SlotKind::Relay);
        assert_eq!(slots.begin_dial(300), Ok(()));
        slots.end_pending(one_too_many);
        slots.end_pending(0);
        slots.end_pending(100);
        assert_eq!(slots.begin_dial(400), Ok(()));
        assert_eq!(slots.begin_inbound(200), Ok(()));
        slots.opened(7, 400, Path::Direct, NOW);
        assert_eq!(
            slots.begin_dial(401),
            Ok(()),
            "the dial is no longer pending"
        );
    }

    /// Slots of a private room whose inbound peers are strangers that connected one millisecond after the other.
    fn strangers(count: usize) -> PeerSlots<u32, u32> {
        let mut slots = PeerSlots::new(true);
        for number in (0..).take(count) {
            let peer = INBOUND + number;
            slots.admit(&peer, peer, Path::Direct).expect("a free slot");
            let now = NOW.saturating_add(number.into());
            assert_eq!(slots.opened(peer, peer, Path::Direct, now), None);
        }
        slots
    }

    #[test]
    fn newcomer_gets_the_slot_of_the_oldest_stranger() {
        let mut slots = strangers(MAX_INBOUND_PEERS);
        slots.proved(&INBOUND);
        assert_eq!(slots.admit(&1, 1, Path::Direct), Ok(()));
        let evicted = slots.opened(1, 1, Path::Direct, NOW.saturating_add(99));
        assert_eq!(evicted, Some(INBOUND + 1), "the oldest is a member");
        assert_eq!(
            slots.opened(1, 2, Path::Direct, NOW.saturating_add(99)),
            None,
            "another connection of the same peer takes no slot"
        );
        for stranger in (1..).take(MAX_INBOUND_PEERS) {
            slots.closed(&(INBOUND + stranger), Path::Direct);
        }
        assert_eq!(slots.proved_members(), Some(1));
    }

    #[test]
    fn only_proved_peers_are_members() {
        let mut slots = strangers(2);
        slots.proved(&INBOUND);
        assert!(slots.is_proved(&INBOUND) && !slots.is_proved(&(INBOUND + 1)));
        assert!(!slots.is_proved(&7), "it is not connected");
        assert!(inbound(1).is_proved(&INBOUND), "no one has to");
    }

    #[test]
    fn members_keep_their_slots() {
        let mut slots = strangers(MAX_INBOUND_PEERS);
        for number in (0..).take(MAX_INBOUND_PEERS) {
            slots.proved(&(INBOUND + number));
        }
        assert_eq!(
            slots.admit(&1, 1, Path::Direct),
            Err(SlotError::Inbound(MAX_INBOUND_PEERS))
        );
        dial(&mut slots, 2, 2, SlotKind::Outbound);
        assert_eq!(
            slots.admit(&1, 1, Path::Direct),
            Err(SlotError::Inbound(MAX_INBOUND_PEERS)),
            "a stranger that this tab chose keeps its slot"
        );
        let open = inbound(MAX_INBOUND_PEERS);
        assert_eq!(open.proved_members(), None);
        assert!(
            open.admit(&1, 1, Path::Direct).is_err(),
            "an open room has no strangers"
        );
    }

    #[test]
    fn chosen_peer_takes_the_slot_of_a_stranger() {
        let mut slots = strangers(MAX_INBOUND_PEERS);
        for peer in (1..).take(WANTED_PEERS) {
            dial(&mut slots, peer, peer, SlotKind::Outbound);
        }
        slots.expect_dial(99, SlotKind::Outbound);
        assert_eq!(slots.admit(&99, 99, Path::Direct), Ok(()));
        let evicted = slots.opened(99, 99, Path::Direct, NOW);
        assert_eq!(evicted, Some(INBOUND), "an inbound one first");
    }

    #[test]
    fn strangers_do_not_count_among_wanted_peers() {
        let mut slots = strangers(0);
        for peer in (1..).take(WANTED_PEERS) {
            dial(&mut slots, peer, peer, SlotKind::Outbound);
        }
        slots.proved(&1);
        assert_eq!(slots.outbound(NOW), WANTED_PEERS, "they may prove it yet");
        let later = NOW.saturating_add(STRANGER_PATIENCE);
        assert_eq!(slots.outbound(later), 1);
        let members = slots.proved_members().expect("a private room");
        assert_eq!(wanted(members, slots.outbound(later)), WANTED_PEERS - 1);
    }
}
