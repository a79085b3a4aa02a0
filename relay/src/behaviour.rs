//! What the relay speaks with its peers: nothing but introductions. There is no gossip and no sync here.

use libp2p::{identify, identity::Keypair, ping, relay, swarm::NetworkBehaviour};

use crate::{Limits, places, rendezvous};

/// The protocol version that identify names.
const PROTOCOL_VERSION: &str = "heartchain/1";

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    // First: a connection that is one too many is refused before anything else is set up for it.
    places: places::Behaviour,
    relay: relay::Behaviour,
    pub(crate) rendezvous: rendezvous::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

impl Behaviour {
    pub(crate) fn new(key: &Keypair, limits: &Limits) -> Self {
        let public = key.public();
        let agent = concat!("heartchain-relay/", env!("CARGO_PKG_VERSION"));
        Self {
            places: places::Behaviour::new(limits),
            relay: relay::Behaviour::new(public.to_peer_id(), limits.relay()),
            rendezvous: rendezvous::behaviour(),
            identify: identify::Behaviour::new(
                identify::Config::new(PROTOCOL_VERSION.to_owned(), public)
                    .with_agent_version(agent.to_owned())
                    // The relay calls nobody, so it need not remember where peers are.
                    .with_cache_size(0),
            ),
            ping: ping::Behaviour::new(
                ping::Config::new()
                    .with_interval(limits.ping_interval)
                    .with_timeout(limits.silence),
            ),
        }
    }
}
