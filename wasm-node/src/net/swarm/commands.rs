//! Commands of the sync state machine to the network. Each is carried out once, and none on this module's own
//! initiative.

use heartchain_chain::time::MonotonicMillis;
use heartchain_sync::{
    Input,
    io::{GossipId, InboundId, RequestFailure, RequestId, Topic, Verdict},
};
use libp2p::{PeerId, gossipsub};

use super::{Network, NetworkEvent};
use crate::{
    clock::{self, millis},
    net::candidates::NON_MEMBER_BACKOFF,
};

impl Network {
    /// Sends a request to a peer. It fails at once if the peer is not connected.
    pub(crate) fn request(
        &mut self,
        peer: PeerId,
        id: RequestId,
        data: Vec<u8>,
        deadline: MonotonicMillis,
    ) {
        // libp2p would dial a peer that is not connected.
        if self.swarm.is_connected(&peer) {
            let sent = self.swarm.behaviour_mut().sync.send_request(&peer, data);
            self.outbound_requests.insert(sent, peer, id, deadline);
            self.set_alarm();
        } else {
            self.emit_input(Input::RequestFailed {
                peer,
                id,
                failure: RequestFailure::Closed,
            });
        }
    }

    /// Responds to a peer's request.
    pub(crate) fn respond(&mut self, id: InboundId, data: Vec<u8>) {
        if let Some(channel) = self.inbound_requests.take(id) {
            // This fails only if the peer is gone or has given up, and then the response is not missed.
            let _ = self.swarm.behaviour_mut().sync.send_response(channel, data);
        }
    }

    /// Closes the stream of a peer's request without a response.
    pub(crate) fn refuse(&mut self, id: InboundId) {
        drop(self.inbound_requests.take(id));
    }

    /// Publishes data to a gossip topic of the room.
    pub(crate) fn publish(&mut self, topic: Topic, data: Vec<u8>) {
        let topic = match topic {
            Topic::Readings => &self.names.readings,
            Topic::Blocks => &self.names.blocks,
        };
        // This fails if no peer is subscribed, or if the data was published before. There is nothing to do in either
        // case: peers that connect later sync.
        let _ = self
            .swarm
            .behaviour_mut()
            .gossip
            .publish(topic.clone(), data);
    }

    /// Applies the verdict on a gossip message: whether it is forwarded, and whether the sender's score drops. A
    /// verdict that comes too late changes nothing.
    pub(crate) fn report_verdict(&mut self, id: GossipId, from: &PeerId, verdict: Verdict) {
        let Some((message, _)) = self.pending_validation.take(id) else {
            return;
        };
        let acceptance = match verdict {
            Verdict::Accept => gossipsub::MessageAcceptance::Accept,
            Verdict::Reject => gossipsub::MessageAcceptance::Reject,
            Verdict::Ignore => gossipsub::MessageAcceptance::Ignore,
        };
        self.report_validation(&message, from, acceptance);
    }

    /// Reports Ignore for a gossip message: it is not forwarded, and no score changes.
    pub(super) fn ignore_gossip(&mut self, message: &gossipsub::MessageId, from: &PeerId) {
        self.report_validation(message, from, gossipsub::MessageAcceptance::Ignore);
    }

    fn report_validation(
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

    /// Closes all connections and opens no more (`on`), or rejoins the network at once.
    pub(crate) fn isolate(&mut self, on: bool) {
        if self.isolated == on {
            return;
        }
        self.isolated = on;
        if on {
            let peers: Vec<PeerId> = self.swarm.connected_peers().copied().collect();
            for peer in peers {
                // This fails only if there is no connection left.
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        } else {
            self.resumed();
        }
        self.events.push_back(NetworkEvent::Changed);
    }

    /// Closes all connections to a peer. With `until`, bans the peer until then.
    pub(crate) fn disconnect(&mut self, peer: PeerId, until: Option<MonotonicMillis>) {
        let now = clock::monotonic();
        if let Some(until) = until {
            self.swarm.behaviour_mut().banned.block_peer(peer);
            if let Some(unbanned) = self.bans.add(peer, until) {
                self.swarm.behaviour_mut().banned.unblock_peer(unbanned);
            }
        }
        let rest = now.saturating_add(millis(NON_MEMBER_BACKOFF));
        self.candidates
            .hold_off(peer, until.map_or(rest, |until| until.max(rest)));
        // This fails only if there is no connection left.
        let _ = self.swarm.disconnect_peer_id(peer);
    }
}
