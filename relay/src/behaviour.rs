//! The protocols that the relay speaks: circuit relay v2, rendezvous, identify and ping.
//!
//! The relay takes no part in gossip or chain sync.

use std::sync::Arc;

use libp2p::{PeerId, identify, identity::PublicKey, ping, relay, swarm::NetworkBehaviour};

use crate::{
    connection_limits, hop_limits::HopLimits, limits::Limits, metrics::Metrics, rendezvous,
};

/// The protocol version announced by identify.
const PROTOCOL_VERSION: &str = "heartchain/2";

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // First, so that a connection over the limit is refused before the other behaviours set anything up for it.
    pub(crate) connection_limits: connection_limits::Behaviour,
    relay: relay::Behaviour,
    pub(crate) rendezvous: rendezvous::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

impl Behaviour {
    pub(crate) fn new(
        public: &PublicKey,
        limits: &Limits,
        hop_limits: &HopLimits,
        metrics: &Arc<Metrics>,
    ) -> Self {
        Self {
            connection_limits: connection_limits::Behaviour::new(limits, hop_limits, metrics),
            relay: circuit_relay(public.to_peer_id(), limits, hop_limits),
            rendezvous: rendezvous::behaviour(),
            identify: identify(public.clone()),
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
