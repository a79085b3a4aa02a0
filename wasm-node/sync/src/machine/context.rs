//! What all parts of the machine share. A part reads and changes it directly; everything else belongs to one part.

use alloc::vec::Vec;
use core::{cmp::Reverse, fmt::Debug};

use heartchain_chain::{
    hash::{BlockHash, ReadingId, RoomId},
    key::Author,
    mempool::{Mempool, MempoolError},
    reading::Reading,
    room::Room,
    time::MonotonicMillis,
    tree::{IdPrefix, Tree},
};
use rand_chacha::ChaCha12Rng;
use rand_core::{Rng, SeedableRng};

use super::{
    clock::Clock, follow_up::FollowUp, identity::OwnIdentity, lost_bodies::LostBodies,
    peers::Peers, requests::RequestKind, writes::Writes,
};
use crate::{
    config::{Config, Millis},
    io::{Batch, DisconnectReason, Event, Now, Output, ReadId, StoreOperation, WriteId},
    message::{Request, StatusMessage},
    verification::VerifiedBodies,
};

/// The shared state: clocks, randomness, the chain, the peers, the state of the disk, and what to do next.
#[derive(Clone, Debug)]
pub(crate) struct Context<P> {
    pub(super) config: Config,
    pub(crate) clock: Clock,
    pub(super) rng: ChaCha12Rng,
    pub(crate) tree: Tree,
    pub(crate) mempool: Mempool,
    pub(crate) peers: Peers<P>,
    pub(crate) writes: Writes,
    pub(crate) lost_bodies: LostBodies,
    /// The bodies in the current input whose signatures another thread has verified.
    pub(super) verified: Option<VerifiedBodies>,
    /// `None` in a machine whose driver gives it no ID.
    pub(super) identity: Option<OwnIdentity<P>>,
    /// Changes whenever headers or bodies joined or left the tree.
    tree_revision: u64,
    last_id: u64,
    outputs: Vec<Output<P>>,
    follow_ups: Vec<FollowUp<P>>,
}

impl<P: Copy + Ord + Debug> Context<P> {
    pub(super) fn new(config: Config, room: Room, own: Author, seed: [u8; 32], now: Now) -> Self {
        let mut rng = ChaCha12Rng::from_seed(seed);
        Self {
            config,
            clock: Clock::new(now),
            tree: Tree::new(room),
            mempool: Mempool::new(own, rng.next_u64()),
            rng,
            peers: Peers::new(),
            writes: Writes::default(),
            lost_bodies: LostBodies::default(),
            verified: None,
            identity: None,
            tree_revision: 0,
            last_id: 0,
            outputs: Vec::new(),
            follow_ups: Vec::new(),
        }
    }

    /// The monotonic time of the current input.
    pub(crate) const fn now(&self) -> MonotonicMillis {
        self.clock.now()
    }

    pub(crate) const fn room(&self) -> RoomId {
        self.tree.room().id()
    }

    /// Adds an action for the driver.
    pub(super) fn output(&mut self, output: Output<P>) {
        self.outputs.push(output);
    }

    pub(super) fn emit(&mut self, event: Event) {
        self.outputs.push(Output::Emit(event));
    }

    pub(super) fn take_outputs(&mut self) -> Vec<Output<P>> {
        core::mem::take(&mut self.outputs)
    }

    /// Leaves something that concerns other parts. It is passed on when the part returns.
    pub(super) fn follow_up(&mut self, follow_up: FollowUp<P>) {
        self.follow_ups.push(follow_up);
    }

    /// What parts left and was not passed on yet.
    pub(super) fn follow_ups(&self) -> &[FollowUp<P>] {
        &self.follow_ups
    }

    pub(super) fn take_follow_ups(&mut self) -> Vec<FollowUp<P>> {
        core::mem::take(&mut self.follow_ups)
    }

    /// Headers or bodies joined or left the tree, so plans that follow from it may be out of date.
    pub(super) fn tree_changed(&mut self) {
        self.tree_revision += 1;
    }

    /// A number that is different after each change of the tree.
    pub(super) const fn tree_revision(&self) -> u64 {
        self.tree_revision
    }

    /// Returns a number that this machine has not used as an ID before.
    pub(super) fn next_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Returns a random number below `bound`, or 0 if `bound` is 0.
    pub(super) fn random_below(&mut self, bound: Millis) -> Millis {
        match bound {
            0 => 0,
            bound => self.rng.next_u64() % bound,
        }
    }

    /// Writes a batch, and retries its changes if that fails.
    pub(crate) fn write(&mut self, operations: Vec<StoreOperation>) -> WriteId {
        let id = WriteId(self.next_id());
        self.writes.begin(id, operations.clone());
        self.output_write(id, operations, false);
        id
    }

    /// Writes a batch whose caller waits for the result and handles a failure.
    pub(super) fn write_strictly(&mut self, operations: Vec<StoreOperation>) -> WriteId {
        let id = WriteId(self.next_id());
        self.output_write(id, operations, true);
        id
    }

    fn output_write(&mut self, id: WriteId, operations: Vec<StoreOperation>, strict: bool) {
        let batch = Batch { operations, strict };
        self.output(Output::Write { id, batch });
    }

    pub(super) fn read_bodies(&mut self, hashes: Vec<BlockHash>) -> ReadId {
        let id = ReadId(self.next_id());
        self.output(Output::Read { id, hashes });
        id
    }

    /// Sends a request to a tracked peer. The caller checks that the peer has a free request slot.
    pub(super) fn request(&mut self, peer: P, request: Request, kind: RequestKind) {
        let id = crate::io::RequestId(self.next_id());
        let Some(deadline) = self.peers.open_request(peer, id, kind, &self.clock) else {
            return;
        };
        self.output(Output::Request {
            peer,
            id,
            request,
            deadline,
        });
    }

    /// Bans a peer that provably lied, and disconnects it.
    pub(super) fn ban(&mut self, peer: P, reason: DisconnectReason) {
        let until = self.peers.ban(peer, self.now());
        self.disconnect(peer, reason, Some(until));
    }

    /// Disconnects a peer that is of no use, without a ban.
    pub(super) fn drop_peer(&mut self, peer: P, reason: DisconnectReason) {
        self.disconnect(peer, reason, None);
    }

    fn disconnect(&mut self, peer: P, reason: DisconnectReason, until: Option<MonotonicMillis>) {
        self.forget_peer(peer);
        self.output(Output::Disconnect {
            peer,
            reason,
            until,
        });
    }

    /// Removes a peer. Its work is given to others when the part returns.
    pub(super) fn forget_peer(&mut self, peer: P) {
        if let Some(requests) = self.peers.remove(&peer) {
            self.follow_up(FollowUp::PeerGone { peer, requests });
        }
    }

    /// Whether a peer with this status has a better branch than ours.
    pub(crate) fn is_better(&self, status: &StatusMessage) -> bool {
        let tip = self.tree.tip();
        (status.total_work, Reverse(status.tip)) > (tip.total_work, Reverse(tip.hash))
    }

    pub(super) fn own_status(&self) -> StatusMessage {
        let tip = self.tree.tip();
        StatusMessage {
            tip: tip.hash,
            index: tip.index,
            total_work: tip.total_work,
            now: self.clock.wall(),
            binding: self.own_binding(),
        }
    }

    /// Whether unconfirmed readings with this content are kept, forwarded and mined. A member of a private room keeps only
    /// what it can read. No peer is blamed for others: only members can tell them apart.
    pub(crate) fn is_readable(&self, reading: &Reading) -> bool {
        let room = self.tree.room();
        !room.is_member() || room.open(reading).is_ok()
    }

    /// Puts a reading of a verified body back into the mempool. Returns `false` if there is no room for it now.
    pub(super) fn return_to_mempool(&mut self, reading: &Reading) -> bool {
        let id = reading.id(self.room());
        let next = self.tree.next_seq(&reading.author);
        match self.mempool.insert(reading, id, next, self.clock.now()) {
            Ok(()) => {
                self.emit(Event::Reading(*reading));
                true
            }
            Err(MempoolError::Known | MempoolError::Equivocation { .. }) => true,
            Err(MempoolError::Past { .. }) => {
                let linked = self.tree.best_prefix(&reading.author, reading.seq);
                let tip = self.tree.tip().index;
                linked == Some(IdPrefix::from(&id)) || self.mempool.keep_displaced(reading, id, tip)
            }
            Err(_) => false,
        }
    }

    /// Whether a reading's fate is final: it is confirmed, or another reading has its sequence number at a
    /// depth at which that will not change.
    pub(crate) fn is_final(&self, reading: &Reading, id: &ReadingId) -> bool {
        let author = &reading.author;
        let linked = self.tree.best_prefix(author, reading.seq);
        let deep_enough = if linked == Some(IdPrefix::from(id)) {
            self.tree.confirmed_seq(author)
        } else {
            self.tree.buried_seq(author)
        };
        reading.seq < deep_enough
    }

    /// Whether this reading is pending or on the best branch.
    pub(crate) fn contains_reading(&self, reading: &Reading) -> bool {
        let linked = self.tree.best_prefix(&reading.author, reading.seq);
        if linked.is_none() && !self.mempool.contains_seq(&reading.author, reading.seq) {
            // Most readings of an import are new, and need no id here.
            return false;
        }
        let id = reading.id(self.room());
        self.mempool.contains(&id) || linked == Some(IdPrefix::from(&id))
    }
}
