//! Workaround: subscriptions reach a peer that came back while its earlier connection still stood.
//!
//! - **Fault**: gossipsub tells a peer its subscriptions only on the first connection to it. A peer that restarts under the same ID
//!   and connects before its dead connection was noticed has forgotten them, so it publishes nothing to this peer until all
//!   connections between the two end. What is written on a connection before it turns out to be dead is lost as well.
//! - **Upstream**: libp2p-gossipsub 0.50.1 (`on_connection_established`), <https://github.com/libp2p/rust-libp2p/issues/5097>.
//! - **Remove** once gossipsub sends its subscriptions on each connection, and again when one of several ends.
//!
//! A repeated subscription changes nothing at its receiver, and is counted in its budget.

use libp2p::{
    Multiaddr,
    core::ConnectedPoint,
    swarm::{FromSwarm, NetworkBehaviour, behaviour::ConnectionEstablished},
};

/// Passes an event of the swarm to gossipsub, so that each new connection, and each that is left when another one ended, gets the
/// subscriptions.
pub(crate) fn pass_with_hello(gossip: &mut impl NetworkBehaviour, event: FromSwarm<'_>) {
    if let FromSwarm::ConnectionEstablished(established) = event {
        let is_new = ConnectionEstablished {
            other_established: 0,
            ..established
        };
        return gossip.on_swarm_event(FromSwarm::ConnectionEstablished(is_new));
    }
    gossip.on_swarm_event(event);
    if let FromSwarm::ConnectionClosed(closed) = event
        && closed.remaining_established > 0
    {
        // Without an IP address, because the peer's score must not keep that of a closed connection.
        let endpoint = ConnectedPoint::Listener {
            local_addr: Multiaddr::empty(),
            send_back_addr: Multiaddr::empty(),
        };
        gossip.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: closed.peer_id,
            connection_id: closed.connection_id,
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
    }
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use std::{collections::HashSet, time::Duration};

    use futures::{
        StreamExt as _,
        executor::block_on,
        future::{Either, select},
    };
    use futures_timer::Delay;
    use libp2p::{
        Swarm, Transport as _,
        core::{transport::MemoryTransport, upgrade::Version},
        gossipsub::{self, IdentTopic},
        identity::Keypair,
        noise,
        swarm::{Config, SwarmEvent},
        yamux,
    };

    use crate::net::gossip_limiter::{Event, GossipLimiter};

    type Gossip = Swarm<GossipLimiter>;

    fn peer(key: &Keypair) -> Gossip {
        let transport = MemoryTransport::default()
            .upgrade(Version::V1Lazy)
            .authenticate(noise::Config::new(key).expect("an Ed25519 key"))
            .multiplex(yamux::Config::default())
            .boxed();
        let topic = IdentTopic::new("readings");
        let settings = gossipsub::ConfigBuilder::default()
            .validation_mode(gossipsub::ValidationMode::Anonymous)
            .build();
        let topics = HashSet::from([topic.hash()]);
        let limiter = GossipLimiter::new(settings.expect("settings"), topics);
        let mut limiter = limiter.expect("gossipsub");
        limiter.gossip().subscribe(&topic).expect("subscribed");
        let us = key.public().to_peer_id();
        let config = Config::without_executor().with_idle_connection_timeout(Duration::MAX);
        Swarm::new(transport, limiter, us, config)
    }

    /// Runs two peers until the first one reports what is wanted; `false` if it does not within some seconds.
    async fn until(
        peer: &mut Gossip,
        other: &mut Gossip,
        is_wanted: impl Fn(&SwarmEvent<Event>) -> bool,
    ) -> bool {
        let mut patience = Delay::new(Duration::from_secs(5));
        loop {
            let both = select(peer.select_next_some(), other.select_next_some());
            match select(both, &mut patience).await {
                Either::Left((Either::Left((event, _)), _)) if is_wanted(&event) => return true,
                Either::Left(_) => {}
                Either::Right(_) => return false,
            }
        }
    }

    const fn is_subscribed(event: &SwarmEvent<Event>) -> bool {
        let SwarmEvent::Behaviour(Event::Gossip(event)) = event else {
            return false;
        };
        matches!(event, gossipsub::Event::Subscribed { .. })
    }

    const fn is_connected(event: &SwarmEvent<Event>) -> bool {
        matches!(event, SwarmEvent::ConnectionEstablished { .. })
    }

    #[test]
    fn peer_that_came_back_gets_the_subscriptions() {
        block_on(async {
            let mut survivor = peer(&Keypair::generate_ed25519());
            survivor
                .listen_on("/memory/0".parse().expect("an address"))
                .expect("listens");
            let address = loop {
                if let SwarmEvent::NewListenAddr { address, .. } = survivor.select_next_some().await
                {
                    break address;
                }
            };
            let key = Keypair::generate_ed25519();
            let mut killed = peer(&key);
            killed.dial(address.clone()).expect("dials");
            assert!(until(&mut survivor, &mut killed, is_subscribed).await);

            // The first one is not polled any more, so its connection stands and is dead.
            let mut back = peer(&key);
            back.dial(address).expect("dials");
            assert!(until(&mut back, &mut survivor, is_connected).await);
            let learned = until(&mut back, &mut survivor, is_subscribed);
            let learned_early = select(Box::pin(learned), Delay::new(Duration::from_millis(500)));
            let learned_early = matches!(learned_early.await, Either::Left((true, _)));
            drop(killed);
            let learned = learned_early || until(&mut back, &mut survivor, is_subscribed).await;
            assert!(learned, "it publishes nothing to the other one");
        });
    }
}
