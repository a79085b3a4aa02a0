//! The protocols that the relay speaks: circuit relay v2, rendezvous, identify and ping.
//!
//! The relay takes no part in gossip or chain sync.

use std::sync::Arc;

use libp2p::{
    PeerId, identify,
    identity::{Keypair, PublicKey},
    ping, relay,
    swarm::NetworkBehaviour,
};

use crate::{
    connection_limits, hop_limits::HopLimits, limits::Limits, metrics::Metrics,
    rebuilt_when_empty::RebuiltWhenEmpty, rendezvous,
};

/// The protocol version announced by identify.
const PROTOCOL_VERSION: &str = "heartchain/2";

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // First, so that a connection over the limit is refused before the other behaviours set anything up for it.
    pub(crate) connection_limits: connection_limits::Behaviour,
    relay: RebuiltWhenEmpty<relay::Behaviour>,
    pub(crate) rendezvous: RebuiltWhenEmpty<rendezvous::Behaviour>,
    identify: RebuiltWhenEmpty<identify::Behaviour>,
    // Has no tables.
    ping: ping::Behaviour,
}

impl Behaviour {
    pub(crate) fn new(
        key: &Keypair,
        limits: &Limits,
        hop_limits: &HopLimits,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let public = key.public();
        let (relay_limits, relay_hop_limits) = (limits.clone(), hop_limits.clone());
        let relay_peer = public.to_peer_id();
        Self {
            connection_limits: connection_limits::Behaviour::new(limits, hop_limits, metrics),
            relay: RebuiltWhenEmpty::new(move || {
                circuit_relay(relay_peer, &relay_limits, &relay_hop_limits)
            }),
            rendezvous: RebuiltWhenEmpty::new(rendezvous::behaviour),
            identify: RebuiltWhenEmpty::new(move || identify(public.clone())),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(limits.ping_interval)
                    .with_timeout(limits.idle_timeout),
            ),
        }
    }
}

fn circuit_relay(peer: PeerId, limits: &Limits, hop_limits: &HopLimits) -> relay::Behaviour {
    let mut config = limits.relay();
    let limiter = hop_limits.reservation_limiter();
    config.reservation_rate_limiters.push(limiter);
    let limiter = hop_limits.circuit_limiter();
    config.circuit_src_rate_limiters.push(limiter);
    relay::Behaviour::new(peer, config)
}

fn identify(public: PublicKey) -> identify::Behaviour {
    let agent = concat!("heartchain-relay/", env!("CARGO_PKG_VERSION"));
    identify::Behaviour::new(
        identify::Config::new(PROTOCOL_VERSION.to_owned(), public)
            .with_agent_version(agent.to_owned())
            // The relay never dials, so it does not need the addresses of peers.
            .with_cache_size(0),
    )
}
