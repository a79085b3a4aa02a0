//! The protocols that the relay speaks: circuit relay v2, rendezvous, identify and ping.
//!
//! The relay takes no part in gossip or chain sync.

use std::sync::Arc;

use libp2p::{identify, identity::Keypair, ping, relay, swarm::NetworkBehaviour};

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
        key: &Keypair,
        limits: &Limits,
        hop_limits: &HopLimits,
        metrics: &Arc<Metrics>,
    ) -> Self {
        let mut relay = limits.relay();
        let limiter = hop_limits.reservation_limiter();
        relay.reservation_rate_limiters.push(limiter);
        let limiter = hop_limits.circuit_limiter();
        relay.circuit_src_rate_limiters.push(limiter);
        let public = key.public();
        let agent = concat!("heartchain-relay/", env!("CARGO_PKG_VERSION"));
        Self {
            connection_limits: connection_limits::Behaviour::new(limits, hop_limits, metrics),
            relay: relay::Behaviour::new(public.to_peer_id(), relay),
            rendezvous: rendezvous::behaviour(),
            identify: identify::Behaviour::new(
                identify::Config::new(PROTOCOL_VERSION.to_owned(), public)
                    .with_agent_version(agent.to_owned())
                    // The relay never dials, so it does not need the addresses of peers.
                    .with_cache_size(0),
            ),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(limits.ping_interval)
                    .with_timeout(limits.idle_timeout),
            ),
        }
    }
}
