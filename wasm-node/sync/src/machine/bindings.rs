//! Which author each peer acts for. A peer's ID does not tell, because its network key is not the key that signs its
//! readings; the binding in its Status does. In a private room only members can make and open one, so a peer without a
//! binding is a stranger, and strangers get few of the connections. Specified in docs/protocols.md,
//! "Status".

use alloc::vec::Vec;
use core::fmt::Debug;

use heartchain_chain::{binding::Binding, compact_sort, key::SecretKey, time::MonotonicMillis};

use super::{
    context::Context,
    identity::{OwnIdentity, PeerIdentity},
};
use crate::{
    config::{MAX_STRANGERS, STRANGER_PATIENCE},
    io::{DisconnectReason, Output},
};

impl<P: Copy + Ord + Debug> Context<P> {
    /// Sets the ID of this peer. `key` signs what is recorded here.
    pub(super) fn identify(&mut self, own: P, to_bytes: fn(&P) -> Vec<u8>, key: &SecretKey) {
        self.identity = Some(OwnIdentity {
            own,
            to_bytes,
            binding: None,
        });
        self.bind(key);
    }

    /// The key that signs what is recorded here is another one.
    pub(super) fn bind(&mut self, key: &SecretKey) {
        let room = self.tree.room();
        if let Some(identity) = &mut self.identity {
            identity.binding = room.bind(key, &(identity.to_bytes)(&identity.own));
        }
    }

    /// The proof for others that this peer acts for its author.
    pub(super) fn own_binding(&self) -> Option<Binding> {
        self.identity.as_ref()?.binding
    }

    /// Checks the binding in a peer's Status. Returns whether the peer now acts for another author.
    pub(super) fn on_binding(&mut self, peer: P, binding: Option<Binding>) -> bool {
        let now = self.now();
        let Some(before) = self.peers.identity(&peer) else {
            return false;
        };
        if !before.must_check(binding, now) {
            return false;
        }
        let to_bytes = self.identity.as_ref().map(|identity| identity.to_bytes);
        let author = binding.zip(to_bytes).and_then(|(binding, to_bytes)| {
            let room = self.tree.room();
            room.bound_author(&binding, &to_bytes(&peer))
        });
        let was_stranger = self.is_stranger(&peer);
        let identity = PeerIdentity::new(binding, now, author);
        self.peers.set_identity(&peer, identity);
        if was_stranger && author.is_some() {
            self.output(Output::ProvedMember { peer });
        }
        before.author() != author
    }

    /// Whether peers have to prove that they have the room's key. They cannot to a peer without an ID, which checks no binding.
    fn requires_proof(&self) -> bool {
        self.tree.room().requires_proof() && self.identity.is_some()
    }

    /// Whether this peer must prove that it has the room's key, and has not.
    pub(super) fn is_stranger(&self, peer: &P) -> bool {
        let identity = self.peers.identity(peer);
        self.requires_proof() && identity.is_some_and(|identity| identity.author().is_none())
    }

    /// Disconnects strangers in a private room if there are too many, the latest first. They may come back.
    pub(super) fn drop_strangers(&mut self) {
        let limit = self.now().saturating_sub(STRANGER_PATIENCE);
        let strangers = self.strangers();
        let late = strangers.into_iter().filter(|(since, _)| *since <= limit);
        let late: Vec<P> = late.map(|(_, peer)| peer).collect();
        for peer in late.into_iter().skip(MAX_STRANGERS) {
            self.drop_peer(peer, DisconnectReason::Stranger);
        }
    }

    /// When the next stranger is due.
    pub(super) fn strangers_due(&self) -> Option<MonotonicMillis> {
        let next = self.strangers().into_iter().nth(MAX_STRANGERS);
        next.map(|(since, _)| since.saturating_add(STRANGER_PATIENCE))
    }

    /// Peers that have not proved that they are members of this private room, by when they connected.
    fn strangers(&self) -> Vec<(MonotonicMillis, P)> {
        if !self.requires_proof() {
            return Vec::new();
        }
        let strangers = self.peers.iter();
        let strangers = strangers.filter(|(_, state)| state.identity().author().is_none());
        let mut strangers: Vec<(MonotonicMillis, P)> = strangers
            .map(|(peer, state)| (state.connected_at(), peer))
            .collect();
        compact_sort::sort(&mut strangers);
        strangers
    }
}
