//! The room's gossip: publishes to its topics, and gives gossipsub exactly one validation result for each message that
//! arrives. It encodes and decodes items, but never validates them: the sync state machine does, and it judges those that do
//! not decode, too.

use heartchain_chain::{content::ReadingForm, time::MonotonicMillis};
use heartchain_sync::{
    Input,
    io::{GossipId, Verdict},
    message::{GossipItem, Topic},
};
use libp2p::{
    PeerId,
    gossipsub::{Event, IdentTopic, Message, MessageAcceptance, MessageId},
};

use super::{
    behaviour::RoomNames, gossip_limiter::RoomGossip, pending_validation::PendingValidation,
};

/// A message of the room that arrived.
#[derive(Debug)]
pub(crate) struct Arrived {
    /// The peer that forwarded it.
    pub(crate) from: PeerId,
    id: MessageId,
    topic: Topic,
    data: Vec<u8>,
}

/// The topics, and the messages that wait for a verdict.
pub(crate) struct Gossip {
    /// The form of the room's readings.
    form: ReadingForm,
    readings: IdentTopic,
    blocks: IdentTopic,
    profiles: IdentTopic,
    pending: PendingValidation<MessageId, PeerId>,
}

impl Gossip {
    /// No message has arrived.
    pub(crate) fn new(form: ReadingForm, names: &RoomNames) -> Self {
        Self {
            form,
            readings: names.readings.clone(),
            blocks: names.blocks.clone(),
            profiles: names.profiles.clone(),
            pending: PendingValidation::new(),
        }
    }

    /// Publishes an item to its topic of the room.
    pub(crate) fn publish(&self, gossipsub: &mut RoomGossip, item: &GossipItem) {
        let topic = match item.topic() {
            Topic::Readings => &self.readings,
            Topic::Blocks => &self.blocks,
            Topic::Profiles => &self.profiles,
        };
        // This fails if no peer is subscribed, or if the item was published before. There is nothing to do in either
        // case: peers that connect later sync.
        let _ = gossipsub.publish(topic.clone(), item.encode());
    }

    /// The message of an event, if it is one of the room.
    pub(crate) fn arrived(&self, event: Event) -> Option<Arrived> {
        let Event::Message {
            propagation_source: from,
            message_id: id,
            message: Message { topic, data, .. },
        } = event
        else {
            return None;
        };
        let topic = if topic == self.readings.hash() {
            Topic::Readings
        } else if topic == self.blocks.hash() {
            Topic::Blocks
        } else if topic == self.profiles.hash() {
            Topic::Profiles
        } else {
            return None;
        };
        Some(Arrived {
            from,
            id,
            topic,
            data,
        })
    }

    /// Passes a member's message on to the state machine. If too many wait, the message is not forwarded, but reported
    /// all the same: it can still be of use here.
    pub(crate) fn accept(
        &mut self,
        gossipsub: &mut RoomGossip,
        message: Arrived,
        now: MonotonicMillis,
    ) -> Input<PeerId> {
        let Arrived {
            from,
            id,
            topic,
            data,
        } = message;
        self.poll(gossipsub, now);
        let (gossip_id, kept) = self.pending.insert(id, from, now);
        if let Err(id) = kept {
            ignore(gossipsub, &id, &from);
        }
        Input::Gossip {
            from,
            id: gossip_id,
            item: GossipItem::decode(topic, self.form, &data),
        }
    }

    /// Does not forward the message of a peer that is no member.
    pub(crate) fn refuse(gossipsub: &mut RoomGossip, message: &Arrived) {
        ignore(gossipsub, &message.id, &message.from);
    }

    /// Applies the verdict on a message: whether it is forwarded, and whether the sender's score drops. A verdict that
    /// comes too late changes nothing.
    pub(crate) fn apply(
        &mut self,
        gossipsub: &mut RoomGossip,
        id: GossipId,
        from: &PeerId,
        verdict: Verdict,
    ) {
        let Some((message, _)) = self.pending.take(id) else {
            return;
        };
        let acceptance = match verdict {
            Verdict::Accept => MessageAcceptance::Accept,
            Verdict::Reject => MessageAcceptance::Reject,
            Verdict::Ignore => MessageAcceptance::Ignore,
        };
        gossipsub.report_message_validation_result(&message, from, acceptance);
    }

    /// Reports Ignore for messages that got no verdict in time.
    pub(crate) fn poll(&mut self, gossipsub: &mut RoomGossip, now: MonotonicMillis) {
        for (message, from) in self.pending.expired(now) {
            ignore(gossipsub, &message, &from);
        }
    }

    /// When [`Self::poll`] is next due.
    pub(crate) fn next_deadline(&self) -> Option<MonotonicMillis> {
        self.pending.due()
    }
}

/// A message that is ignored is not forwarded, and no score changes.
fn ignore(gossipsub: &mut RoomGossip, message: &MessageId, from: &PeerId) {
    gossipsub.report_message_validation_result(message, from, MessageAcceptance::Ignore);
}
