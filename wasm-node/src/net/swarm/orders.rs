//! What the machine wants done on the network. Never on its own account, and never twice.

use chain::time::MonotonicMillis;
use libp2p::{PeerId, gossipsub};
use sync::seam::{GossipId, InboundId, RequestFailure, RequestId, Topic, Verdict};

use super::{Event, Network};
use crate::{
    clock::{self, millis},
    config,
};

impl Network {
    /// Asks a peer.
    pub(crate) fn request(
        &mut self,
        peer: PeerId,
        id: RequestId,
        data: Vec<u8>,
        deadline: MonotonicMillis,
    ) {
        // Asking somebody who is gone would call them.
        if self.swarm.is_connected(&peer) {
            let sent = self.swarm.behaviour_mut().sync.send_request(&peer, data);
            self.asked.insert(sent, peer, id, deadline);
            self.set_alarm();
        } else {
            self.events.push_back(Event::RequestFailed {
                peer,
                id,
                failure: RequestFailure::Closed,
            });
        }
    }

    /// Answers a peer.
    pub(crate) fn respond(&mut self, id: InboundId, data: Vec<u8>) {
        if let Some(channel) = self.unanswered.take(id) {
            // It fails if the peer is gone or has given up, and then nobody misses the answer.
            let _ = self.swarm.behaviour_mut().sync.send_response(channel, data);
        }
    }

    /// Closes a peer's request without an answer.
    pub(crate) fn refuse(&mut self, id: InboundId) {
        drop(self.unanswered.take(id));
    }

    /// Publishes to the room.
    pub(crate) fn publish(&mut self, topic: Topic, data: Vec<u8>) {
        let topic = match topic {
            Topic::Readings => &self.names.readings,
            Topic::Blocks => &self.names.blocks,
        };
        // It fails when nobody listens, or when it was published before. Either way there is nothing to do:
        // whoever connects later asks.
        let _ = self
            .swarm
            .behaviour_mut()
            .gossip
            .publish(topic.clone(), data);
    }

    /// The verdict on a gossip item: whether it is forwarded, and whether it is held against who sent it. One that comes
    /// too late changes nothing.
    pub(crate) fn judge(&mut self, id: GossipId, from: &PeerId, verdict: Verdict) {
        let Some((message, _)) = self.unjudged.take(id) else {
            return;
        };
        let acceptance = match verdict {
            Verdict::Accept => gossipsub::MessageAcceptance::Accept,
            Verdict::Reject => gossipsub::MessageAcceptance::Reject,
            Verdict::Ignore => gossipsub::MessageAcceptance::Ignore,
        };
        self.answer_gossip(&message, from, acceptance);
    }

    /// Takes a gossip item as if it had not come: it is not forwarded, and held against no peer.
    pub(super) fn ignore_gossip(&mut self, message: &gossipsub::MessageId, from: &PeerId) {
        self.answer_gossip(message, from, gossipsub::MessageAcceptance::Ignore);
    }

    fn answer_gossip(
        &mut self,
        message: &gossipsub::MessageId,
        from: &PeerId,
        acceptance: gossipsub::MessageAcceptance,
    ) {
        self.swarm
            .behaviour_mut()
            .gossip
            .report_message_validation_result(message, from, acceptance);
    }

    /// Closes every connection and opens none, or joins again at once.
    pub(crate) fn isolate(&mut self, on: bool) {
        if self.isolated == on {
            return;
        }
        self.isolated = on;
        if on {
            let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
            for peer in peers {
                // It fails if there is no connection left.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        } else {
            self.woke();
        }
        self.events.push_back(Event::Changed);
    }

    /// Closes all connections to a peer; lets it in again only at `until`, if that is named.
    pub(crate) fn drop_peer(&mut self, peer: PeerId, until: Option<MonotonicMillis>) {
        let now = clock::monotonic();
        if let Some(until) = until {
            self.swarm.behaviour_mut().banned.block_peer(peer);
            if let Some(freed) = self.bans.add(peer, until) {
                self.swarm.behaviour_mut().banned.unblock_peer(freed);
            }
        }
        let rest = now.saturating_add(millis(config::STRANGER_REST));
        self.candidates
            .rest(peer, until.map_or(rest, |until| until.max(rest)));
        // It fails if there is no connection left.
        let _ = self.swarm.disconnect_peer_id(peer);
    }
}
