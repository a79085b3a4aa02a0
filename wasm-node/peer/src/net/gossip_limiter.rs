//! Gossipsub with a bound on what each peer may send: a peer that exceeds its budget is reported once, and what it sends
//! after that is dropped. Everything else is gossipsub's, unchanged.

use std::{
    collections::{HashSet, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    gossipsub::{
        self, DataTransform, MaxCountSubscriptionFilter, Message, MessageAuthenticity, RawMessage,
        TopicHash, WhitelistSubscriptionFilter,
    },
    swarm::{
        ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler, THandlerInEvent,
        THandlerOutEvent, ToSwarm,
    },
};

use super::{
    gossip_budget::{GossipBudgets, MESSAGE_OVERHEAD},
    rpc_size::RpcSize,
    workarounds::pass_with_hello,
};
use crate::clock;

/// Subscriptions in one RPC. An honest peer sends one for each of the three topics of the room.
const MAX_SUBSCRIPTIONS_PER_RPC: usize = 8;

/// Gossipsub for the topics of one room.
pub(crate) type RoomGossip =
    gossipsub::Behaviour<CostMeter, MaxCountSubscriptionFilter<WhitelistSubscriptionFilter>>;

/// What gossipsub reports, and which peers sent too much.
#[derive(Debug)]
pub(crate) enum Event {
    Gossip(gossipsub::Event),
    /// The peer has exceeded its budget.
    Flood(PeerId),
}

/// Counts what the messages that gossipsub reads cost in the budget of their sender.
#[derive(Debug, Default, Clone)]
pub(crate) struct CostMeter(Arc<AtomicU64>);

impl CostMeter {
    /// The cost since the last call.
    fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

impl DataTransform for CostMeter {
    fn inbound_transform(&self, message: RawMessage) -> io::Result<Message> {
        let length = u64::try_from(message.data.len()).unwrap_or(u64::MAX);
        let cost = length.saturating_add(MESSAGE_OVERHEAD);
        self.0.fetch_add(cost, Ordering::Relaxed);
        Ok(Message {
            source: message.source,
            data: message.data,
            sequence_number: message.sequence_number,
            topic: message.topic,
        })
    }

    fn outbound_transform(&self, _: &TopicHash, data: Vec<u8>) -> io::Result<Vec<u8>> {
        Ok(data)
    }
}

/// [`RoomGossip`] within the budgets.
pub(crate) struct GossipLimiter {
    gossip: RoomGossip,
    meter: CostMeter,
    budgets: GossipBudgets<PeerId>,
    /// Peers that have exceeded their budget and are yet to be reported.
    flooders: VecDeque<PeerId>,
}

impl GossipLimiter {
    /// Gossip of these topics, of which no others can be subscribed to.
    ///
    /// # Errors
    /// If gossipsub refuses its configuration.
    pub(crate) fn new(
        settings: gossipsub::Config,
        topics: HashSet<TopicHash>,
    ) -> Result<Self, &'static str> {
        let meter = CostMeter::default();
        let filter = MaxCountSubscriptionFilter {
            max_subscribed_topics: topics.len(),
            max_subscriptions_per_request: MAX_SUBSCRIPTIONS_PER_RPC,
            filter: WhitelistSubscriptionFilter(topics),
        };
        let gossip = RoomGossip::new_with_subscription_filter_and_transform(
            MessageAuthenticity::Anonymous,
            settings,
            filter,
            meter.clone(),
        )?;
        Ok(Self {
            gossip,
            meter,
            budgets: GossipBudgets::new(),
            flooders: VecDeque::new(),
        })
    }

    /// The behaviour that is limited: everything but what peers send goes to it directly.
    pub(crate) const fn gossip(&mut self) -> &mut RoomGossip {
        &mut self.gossip
    }
}

impl NetworkBehaviour for GossipLimiter {
    type ConnectionHandler = <RoomGossip as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = Event;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.gossip
            .handle_pending_inbound_connection(id, local, remote)
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.gossip
            .handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_pending_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: Option<PeerId>,
        addresses: &[Multiaddr],
        role: Endpoint,
    ) -> Result<Vec<Multiaddr>, ConnectionDenied> {
        self.gossip
            .handle_pending_outbound_connection(id, peer, addresses, role)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        address: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.gossip
            .handle_established_outbound_connection(id, peer, address, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        if let FromSwarm::ConnectionClosed(closed) = &event
            && closed.remaining_established == 0
        {
            self.budgets.forget(&closed.peer_id);
        }
        pass_with_hello(&mut self.gossip, event);
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        if self.budgets.is_exceeded(&peer) {
            return;
        }
        let rpc = RpcSize::of(&event);
        self.gossip.on_connection_handler_event(peer, id, event);
        let message_cost = self.meter.take();
        let Some(rpc) = rpc else { return };
        let control = rpc.control_cost(message_cost > 0);
        let now = clock::monotonic();
        if self.budgets.spend(peer, control, message_cost, now) {
            self.flooders.push_back(peer);
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        if let Some(peer) = self.flooders.pop_front() {
            return Poll::Ready(ToSwarm::GenerateEvent(Event::Flood(peer)));
        }
        let polled = self.gossip.poll(context);
        polled.map(|event| event.map_out(Event::Gossip))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::gossip_budget::{CONTROL_BURST, CONTROL_OVERHEAD};
    use futures::executor::block_on;
    use futures::{StreamExt as _, io::Cursor};
    use libp2p::{
        core::{ConnectedPoint, InboundUpgrade as _, UpgradeInfo as _},
        swarm::{ConnectionHandler as _, behaviour::ConnectionEstablished},
    };

    const TOPIC: &str = "readings";

    fn limiter() -> GossipLimiter {
        let topics = HashSet::from([TopicHash::from_raw(TOPIC)]);
        let settings = gossipsub::ConfigBuilder::default()
            .validation_mode(gossipsub::ValidationMode::Anonymous)
            .build();
        GossipLimiter::new(settings.expect("settings"), topics).expect("gossipsub")
    }

    /// A field of a protobuf message, with its length.
    fn field(number: u8, content: &[u8]) -> Vec<u8> {
        let length = u8::try_from(content.len()).expect("short");
        [&[number << 3 | 2, length], content].concat()
    }

    fn subscription(topic: &str) -> Vec<u8> {
        field(1, &[&[0x08, 1][..], &field(2, topic.as_bytes())].concat())
    }

    fn ihave(ids: u8) -> Vec<u8> {
        let ids = (0..ids).flat_map(|id| field(2, &[id; 2]));
        let ids: Vec<u8> = ids.collect();
        field(3, &field(1, &[field(1, TOPIC.as_bytes()), ids].concat()))
    }

    fn message(length: usize) -> Vec<u8> {
        let data = field(2, &vec![7; length]);
        field(2, &[data, field(4, TOPIC.as_bytes())].concat())
    }

    /// The limiter with one connected peer.
    fn connected() -> (GossipLimiter, PeerId, THandler<GossipLimiter>) {
        let (mut limiter, peer) = (limiter(), PeerId::random());
        let (id, nowhere) = (ConnectionId::new_unchecked(1), Multiaddr::empty());
        let handler = limiter.handle_established_inbound_connection(id, peer, &nowhere, &nowhere);
        (limiter, peer, handler.expect("gossipsub accepts it"))
    }

    /// What gossipsub's handler reports for these bytes of a peer.
    async fn received(
        handler: &THandler<GossipLimiter>,
        rpc: &[u8],
    ) -> THandlerOutEvent<GossipLimiter> {
        let (upgrade, ()) = handler.listen_protocol().into_upgrade();
        let upgrade = upgrade.left().expect("gossip is enabled");
        let protocol = upgrade.protocol_info().into_iter().next();
        let framed = [&[u8::try_from(rpc.len()).expect("short")], rpc].concat();
        let stream = Cursor::new(framed);
        let upgraded = upgrade.upgrade_inbound(stream, protocol.expect("a protocol"));
        let Ok((mut frames, _)) = upgraded.await;
        frames.next().await.expect("an RPC").expect("a valid one")
    }

    #[test]
    fn control_of_an_rpc_is_counted() {
        block_on(async {
            let (_, _, handler) = connected();
            let twice = [subscription(TOPIC), subscription("other")].concat();
            let with_message = [message(9), ihave(2)].concat();
            let forged = subscription("MessageId(");
            for (rpc, items) in [
                (vec![], 0),
                (twice, 2),
                (ihave(5), 6),
                (message(9), 0),
                (with_message, 3),
                (forged, 2),
            ] {
                let size = RpcSize::of(&received(&handler, &rpc).await).expect("an RPC");
                let with_messages = if items == 0 {
                    0
                } else {
                    CONTROL_OVERHEAD + items
                };
                assert_eq!(size.control_cost(true), with_messages, "{rpc:?}");
                assert_eq!(size.control_cost(false), CONTROL_OVERHEAD + items);
            }
            #[derive(Debug)]
            #[expect(dead_code, reason = "it is printed")]
            enum Event {
                MessageDropped(u8),
            }
            assert!(RpcSize::of(&Event::MessageDropped(1)).is_none());
        });
    }

    #[test]
    fn printing_invalid_messages_has_a_cost() {
        block_on(async {
            let (_, _, handler) = connected();
            // Anonymous messages have no key. The topic tries to begin the count again.
            let invalid = |key: usize| {
                field(
                    2,
                    &[field(6, &vec![7; key]), field(4, b"invalid_messages")].concat(),
                )
            };
            let short = RpcSize::of(&received(&handler, &invalid(1)).await).expect("an RPC");
            let long = RpcSize::of(&received(&handler, &invalid(81)).await).expect("an RPC");
            let more = long.control_cost(false) - short.control_cost(false);
            assert!(more >= 80 * 2, "{more} for 80 bytes");
        });
    }

    #[test]
    fn flooder_is_reported_once_and_ignored() {
        block_on(async {
            let (mut limiter, peer, handler) = connected();
            let id = ConnectionId::new_unchecked(1);
            let nowhere = Multiaddr::empty();
            limiter.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id: peer,
                connection_id: id,
                endpoint: &ConnectedPoint::Listener {
                    local_addr: nowhere.clone(),
                    send_back_addr: nowhere,
                },
                failed_addresses: &[],
                other_established: 0,
            }));
            for _ in 0..2 * CONTROL_BURST / CONTROL_OVERHEAD {
                let event = received(&handler, &subscription(TOPIC)).await;
                limiter.on_connection_handler_event(peer, id, event);
            }
            assert_eq!(limiter.flooders, [peer]);
            let event = received(&handler, &message(9)).await;
            limiter.on_connection_handler_event(peer, id, event);
            assert_eq!(limiter.meter.take(), 0, "it is dropped unread");
        });
    }
}
