//! The libp2p network of a keeper.

use std::net::{IpAddr, TcpListener};

use heartchain_chain::room::Room;
use heartchain_peer::net::{
    self, AddressError, NamedPeer, Network as PeerNetwork, NetworkConfig, NetworkError,
    NetworkEvent as PeerEvent, PageScheme, PeerId, RelayAddress, Scope,
};
use heartchain_sync::Machine;
use libp2p::swarm::dummy;
use libp2p_webrtc_direct::Certificate;
use tokio::sync::mpsc;

use super::{
    interface::{Network, NetworkEvent},
    relay_document::document_reader,
    transports::{TransportError, all_transports},
};

/// The page of the relay that `cargo run -p relay` starts.
pub const DEFAULT_RELAY: &str = "http://127.0.0.1:8080/";
/// Where a keeper listens by default: on this computer, at ports that the system chooses.
pub const DEFAULT_LISTEN: [&str; 3] = [
    "/ip4/127.0.0.1/tcp/0/ws",
    "/ip4/127.0.0.1/udp/0/webrtc-direct",
    "/ip4/127.0.0.1/tcp/0",
];
/// Peers that can be named.
pub const MAX_NAMED_PEERS: usize = 8;
/// Sentences about relays that wait to be printed.
const MAX_FAULTS: usize = 4;

/// How a keeper finds others and is found.
#[derive(Clone, Debug, Default)]
pub struct NetworkOptions {
    /// URLs of the pages of relays, of which the first that answers is used, with those that its document lists.
    pub relay_pages: Vec<String>,
    /// Relays by address, in place of pages.
    pub relays: Vec<RelayAddress>,
    /// Peers to dial in any case.
    pub peers: Vec<NamedPeer>,
    /// The multiaddrs to listen at.
    pub listen: Vec<String>,
    /// Addresses that strangers register are not dialed if they are closer than this, or than the relays.
    pub scope: Option<Scope>,
}

/// Why the network could not be set up.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnlineError {
    /// A transport could not be set up.
    #[error(transparent)]
    Transport(#[from] TransportError),
    /// The network could not be set up, or an address cannot be listened on.
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// What names a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum RelayName {
    /// The URL of the folder of its page.
    Page(String),
    /// The multiaddr of the relay itself.
    Address(RelayAddress),
}

/// What a text given with `--relay` is.
///
/// # Errors
/// If it is neither a URL nor the address of a relay that can be dialed.
pub(crate) fn parse_relay(text: &str) -> Result<RelayName, AddressError> {
    if text.starts_with("http://") || text.starts_with("https://") {
        let page = text.split(['#', '?']).next().unwrap_or_default();
        let folder = match page.strip_suffix("index.html") {
            Some(folder) => folder.to_owned(),
            None if page.ends_with('/') => page.to_owned(),
            None => format!("{page}/"),
        };
        return Ok(RelayName::Page(folder));
    }
    RelayAddress::parse(text, PageScheme::NoPage).map(RelayName::Address)
}

impl NetworkOptions {
    /// Where this keeper is, as far as its relays tell, who may know strangers: it is not led to addresses that are closer.
    fn scope(&self) -> Scope {
        let pages = self.relay_pages.iter().map(|page| Scope::of_url(page));
        let pages = pages.map(|scope| scope.unwrap_or(Scope::Public));
        let addresses = self.relays.iter().map(RelayAddress::scope);
        let relays = pages.chain(addresses).max().unwrap_or(Scope::Loopback);
        relays.max(self.scope.unwrap_or(Scope::Loopback))
    }
}

/// Checks that no other program listens at a TCP address: libp2p would share the port with it, and each of the two would get
/// some of the connections.
fn check_free(address: &str) -> Result<(), NetworkError> {
    let mut parts = address.split('/').skip(2);
    let (ip, transport, port) = (parts.next(), parts.next(), parts.next());
    let socket = ip.and_then(|ip| ip.parse::<IpAddr>().ok());
    let socket = socket.zip(port.and_then(|port| port.parse::<u16>().ok()));
    let Some(socket) = socket.filter(|(_, port)| transport == Some("tcp") && *port > 0) else {
        return Ok(());
    };
    let bound = TcpListener::bind(socket).map(drop);
    bound.map_err(|error| NetworkError::Listen {
        address: address.to_owned(),
        reason: error.to_string(),
    })
}

/// A keeper among peers.
#[derive(Debug)]
pub struct Online {
    network: PeerNetwork<dummy::Behaviour>,
    faults: mpsc::Receiver<String>,
}

impl Online {
    /// Sets up the network of a room. `seed` is that of the author's key; `certificate` is shown to browsers that dial
    /// WebRTC-direct.
    ///
    /// # Errors
    /// If a transport cannot be set up, or an address cannot be listened on.
    pub fn new(
        room: &Room,
        seed: &[u8; 32],
        certificate: Certificate,
        options: NetworkOptions,
    ) -> Result<Self, OnlineError> {
        let key = net::network_key(room.id(), seed)?;
        let transports = all_transports(&key, certificate)?;
        let (fault, faults) = mpsc::channel(MAX_FAULTS);
        let scope = options.scope();
        let config = NetworkConfig {
            key,
            room,
            relays: options.relays,
            named: options.peers,
            // There is no direct transport that would use one.
            ice_servers: Some(Vec::new()),
            scheme: PageScheme::NoPage,
            scope,
            read_document: document_reader(options.relay_pages, scope, fault),
        };
        let mut network = PeerNetwork::new(config, transports)?;
        for address in &options.listen {
            check_free(address)?;
            network.listen_on(address)?;
        }
        Ok(Self { network, faults })
    }
}

impl Network for Online {
    type Peer = PeerId;
    type Outputs = PeerNetwork<dummy::Behaviour>;

    fn identify(&self, machine: &mut Machine<PeerId>) {
        machine.identify(self.network.local_peer_id(), net::peer_id_bytes);
    }

    async fn next(&mut self) -> NetworkEvent<PeerId> {
        tokio::select! {
            biased;
            event = self.network.next() => match event {
                PeerEvent::Input(input) => NetworkEvent::Input(input),
                PeerEvent::Changed => NetworkEvent::Changed,
                PeerEvent::Listening(address) => NetworkEvent::Listening(address),
                PeerEvent::ListeningFailed(reason) => {
                    NetworkEvent::Fault(format!("cannot listen any more: {reason}"))
                }
            },
            // The network has the other end, so the channel stays open.
            Some(sentence) = self.faults.recv() => NetworkEvent::Fault(sentence),
        }
    }

    fn outputs(&mut self) -> &mut Self::Outputs {
        &mut self.network
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relay_is_a_page_or_an_address() {
        for (text, page) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/"),
            (
                "https://relay.example/a/#room=x",
                "https://relay.example/a/",
            ),
            (
                "https://relay.example/index.html?x",
                "https://relay.example/",
            ),
        ] {
            assert_eq!(parse_relay(text), Ok(RelayName::Page(page.to_owned())));
        }
        let address = parse_relay("/ip4/127.0.0.1/tcp/8080/ws");
        assert!(matches!(address, Ok(RelayName::Address(_))));
        assert!(parse_relay("relay.example").is_err());
    }

    #[test]
    fn keeper_is_where_its_relays_are() {
        for (page, scope) in [
            ("http://127.0.0.1:8080/", Scope::Loopback),
            ("http://[::1]:8080/", Scope::Loopback),
            ("http://teacher.local/", Scope::Private),
            ("http://192.168.1.5:8080/", Scope::Private),
            ("https://relay.example/a:b/", Scope::Public),
            ("http://0x5db8d822/", Scope::Public),
            ("http:///", Scope::Public),
        ] {
            let options = NetworkOptions {
                relay_pages: vec![page.to_owned()],
                ..NetworkOptions::default()
            };
            assert_eq!(options.scope(), scope, "{page}");
        }
        let relay = RelayAddress::parse("/ip4/93.184.216.34/tcp/443/ws", PageScheme::NoPage);
        let options = NetworkOptions {
            relays: vec![relay.expect("an address")],
            ..NetworkOptions::default()
        };
        assert_eq!(options.scope(), Scope::Public);
        assert_eq!(NetworkOptions::default().scope(), Scope::Loopback);
        let mixed = ["http://127.0.0.1:8080/", "https://relay.example/"];
        let options = NetworkOptions {
            relay_pages: mixed.map(str::to_owned).to_vec(),
            ..NetworkOptions::default()
        };
        assert_eq!(options.scope(), Scope::Public, "one knows strangers");
        let options = NetworkOptions {
            scope: Some(Scope::Private),
            ..NetworkOptions::default()
        };
        assert_eq!(options.scope(), Scope::Private);
    }
}
