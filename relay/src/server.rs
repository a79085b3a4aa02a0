//! A running relay: starts its parts, HTTP, libp2p and STUN, and stops them. It holds no state of its own but
//! where they listen.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use libp2p::{Multiaddr, PeerId};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::oneshot,
    task::{JoinHandle, JoinSet},
};

use crate::{
    Config,
    addresses::Endpoints,
    http,
    identity::{Identity, IdentityError},
    stun,
    swarm::{ListenError, Listening},
};

/// A relay that runs until it is shut down or dropped.
#[derive(Debug)]
pub struct Relay {
    endpoints: Arc<Endpoints>,
    stop_swarm: oneshot::Sender<()>,
    swarm: JoinHandle<()>,
    /// HTTP and STUN; ends them when dropped.
    servers: JoinSet<()>,
}

/// Why a relay did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another program has the port.
    #[error(
        "{transport} port {port} on {ip} is already in use: choose another with {flag}, or {flag} 0 for any free one"
    )]
    PortInUse {
        /// TCP or UDP.
        transport: &'static str,
        /// The port asked for.
        port: u16,
        /// The address asked for.
        ip: IpAddr,
        /// The flag that chooses another port.
        flag: &'static str,
    },
    /// The system refuses to listen there for another reason.
    #[error("cannot listen on {ip}, {transport} port {port} ({flag}): {source}")]
    Listen {
        /// TCP or UDP.
        transport: &'static str,
        /// The port asked for.
        port: u16,
        /// The address asked for.
        ip: IpAddr,
        /// The flag that chooses another port.
        flag: &'static str,
        /// The system's words.
        source: io::Error,
    },
    /// There is no identity.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The libraries cannot be set up.
    #[error("cannot set up libp2p: {0}")]
    Setup(#[source] Box<dyn Error + Send + Sync>),
}

impl Relay {
    /// Starts a relay. When this returns, its ports are bound and answered.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// When a port cannot be had or there is no identity.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let identity = Identity::load(&config.identity)?;
        let listen_ip = config.listen_ip;

        let refused = |transport, port, flag| {
            move |source: io::Error| listen_error(source, transport, (listen_ip, port), flag)
        };
        let page = SocketAddr::new(listen_ip, config.http_port);
        let refused_page = refused("TCP", config.http_port, "--http-port");
        let listener = TcpListener::bind(page).await.map_err(&refused_page)?;
        let page = listener.local_addr().map_err(&refused_page)?;

        let refused_stun = refused("UDP", config.stun_port, "--stun-port");
        let stun_socket = UdpSocket::bind((listen_ip, config.stun_port))
            .await
            .map_err(&refused_stun)?;
        let stun_port = stun_socket.local_addr().map_err(&refused_stun)?.port();

        let ports = (listen_ip, config.ws_port, config.webrtc_port);
        let swarm = Listening::start(&identity, &config.limits, ports)
            .await
            .map_err(|error| match error {
                ListenError::Setup(error) => StartError::Setup(error),
                ListenError::WebSocket(error) => refused("TCP", config.ws_port, "--ws-port")(error),
                ListenError::WebRtc(error) => {
                    refused("UDP", config.webrtc_port, "--webrtc-port")(error)
                }
            })?;

        let endpoints = Arc::new(Endpoints {
            listen_ip,
            http_port: page.port(),
            ws_port: swarm.ws_port,
            webrtc_port: swarm.webrtc_port,
            stun_port,
            certificate: identity.certificate.fingerprint(),
            peer_id: identity.keypair.public().to_peer_id(),
        });
        let (stop_swarm, stop) = oneshot::channel();
        let swarm = tokio::spawn(swarm.run(stop));
        let mut servers = JoinSet::new();
        servers.spawn(stun::serve(stun_socket, config.limits.stun_allowance()));
        servers.spawn(http::serve(
            listener,
            http::site(Arc::clone(&endpoints)),
            config.limits,
        ));
        Ok(Self {
            endpoints,
            stop_swarm,
            swarm,
            servers,
        })
    }

    /// The page's address on this computer, such as `http://127.0.0.1:8080/`.
    #[must_use]
    pub fn page_url(&self) -> String {
        self.page_urls().into_iter().next().unwrap_or_default()
    }

    /// The page's address at every interface that is listened on, this computer's own first; never empty.
    #[must_use]
    pub fn page_urls(&self) -> Vec<String> {
        self.endpoints.page_urls()
    }

    /// Every multiaddr that tabs can dial, with peer id and certificate hash.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.endpoints.multiaddrs()
    }

    /// Who the relay is.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.endpoints.peer_id
    }

    /// Returns when the relay no longer works, though nobody stopped it; otherwise never.
    pub async fn failed(&mut self) {
        tokio::select! {
            _ = &mut self.swarm => {}
            _ = self.servers.join_next() => {}
        }
    }

    /// Tells peers that the relay stops and ends it, within half a second. Then its ports are free.
    pub async fn shutdown(self) {
        let Self {
            stop_swarm,
            swarm,
            mut servers,
            ..
        } = self;
        // Nobody is there to be told if the swarm has ended by itself.
        let _ = stop_swarm.send(());
        servers.shutdown().await;
        let _ = swarm.await;
    }
}

fn listen_error(
    source: io::Error,
    transport: &'static str,
    (ip, port): (IpAddr, u16),
    flag: &'static str,
) -> StartError {
    if source.kind() == io::ErrorKind::AddrInUse {
        return StartError::PortInUse {
            transport,
            port,
            ip,
            flag,
        };
    }
    StartError::Listen {
        transport,
        port,
        ip,
        flag,
        source,
    }
}
