//! A running relay: starts and stops its HTTP, libp2p and STUN servers.
//!
//! Its only own state is where they listen.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
};

use libp2p::{Multiaddr, PeerId};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::{oneshot, watch},
    task::{JoinHandle, JoinSet},
};

use crate::{
    addresses::Endpoints,
    config::Config,
    data_lock::{DataLock, LockError},
    fair_slots::FairSlots,
    http,
    identity::{Identity, IdentityError},
    limits::Limits,
    metrics::Metrics,
    metrics_server::{self, Reported},
    page_folder::PageFolder,
    ports::{PortKind, TakenPorts, WantedPort},
    stun,
    swarm::{ListenError, ListeningSwarm},
};

/// A relay that runs until it is shut down or dropped.
#[derive(Debug)]
pub struct Relay {
    endpoints: Arc<Endpoints>,
    metrics_address: Option<SocketAddr>,
    /// The current limits, for the servers.
    limits: watch::Sender<Limits>,
    handshakes: FairSlots,
    http_slots: FairSlots,
    /// Held as long as the relay runs.
    lock: Option<DataLock>,
    stop_swarm: oneshot::Sender<()>,
    swarm: JoinHandle<()>,
    /// The HTTP and STUN tasks, aborted on drop.
    servers: JoinSet<()>,
}

/// Why a relay did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Other programs use ports that the relay needs.
    #[error("{0}")]
    PortsInUse(TakenPorts),
    /// The system refuses to listen on the port for another reason.
    #[error("cannot listen on {ip}, {transport} port {port} ({flag})")]
    Listen {
        /// The transport protocol: `TCP` or `UDP`.
        transport: &'static str,
        /// The port that was requested.
        port: u16,
        /// The IP address that was requested.
        ip: IpAddr,
        /// The command-line flag for this port.
        flag: &'static str,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The page cannot be served from the requested folder.
    #[error("cannot serve the page from {folder} (--page)")]
    Page {
        /// The folder that was requested.
        folder: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The data folder could not be locked.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The address for metrics cannot be used.
    #[error("cannot serve metrics on {address} (--metrics-listen)")]
    Metrics {
        /// The address that was requested.
        address: SocketAddr,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The identity could not be loaded.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The libp2p transports could not be set up.
    #[error("cannot set up libp2p")]
    Setup(#[source] Box<dyn Error + Send + Sync>),
}

impl Relay {
    /// Starts a relay. When this returns, all ports are bound and accept connections.
    ///
    /// Must be called within a tokio runtime.
    ///
    /// # Errors
    ///
    /// Fails if a port cannot be bound, the identity cannot be loaded, or the page's folder cannot be read.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let ports = wanted_ports(&config);
        Self::try_start(config).await.map_err(|error| match error {
            // All that are taken, not only the first.
            StartError::Listen { ref source, .. } if source.kind() == io::ErrorKind::AddrInUse => {
                TakenPorts::among(&ports).map_or(error, StartError::PortsInUse)
            }
            error => error,
        })
    }

    async fn try_start(config: Config) -> Result<Self, StartError> {
        let identity = Identity::load(&config.identity)?;
        let lock = config
            .identity
            .folder()
            .map(DataLock::acquire)
            .transpose()?;
        let page = config.page.as_deref().map(open_page).transpose()?;
        let listen_ip = config.listen_ip;

        let bind_error = |transport, port, flag| {
            move |source: io::Error| listen_error(source, transport, (listen_ip, port), flag)
        };
        let http_address = SocketAddr::new(listen_ip, config.http_port);
        let http_bind_error = bind_error("TCP", config.http_port, "--http-port");
        let listener = TcpListener::bind(http_address)
            .await
            .map_err(&http_bind_error)?;
        let http_address = listener.local_addr().map_err(&http_bind_error)?;

        let stun_bind_error = bind_error("UDP", config.stun_port, "--stun-port");
        let stun_socket = UdpSocket::bind((listen_ip, config.stun_port))
            .await
            .map_err(&stun_bind_error)?;
        let stun_port = stun_socket.local_addr().map_err(&stun_bind_error)?.port();

        let metrics_listener = match config.metrics_listen {
            Some(address) => Some(bind_metrics(address).await?),
            None => None,
        };
        let metrics_address = metrics_listener
            .as_ref()
            .and_then(|listener| listener.local_addr().ok());
        let metrics = Arc::new(Metrics::new());
        let http_slots = FairSlots::new(config.limits.http_share());
        let handshakes = FairSlots::new(config.limits.handshake_share());
        let ports = (listen_ip, config.ws_port, config.webrtc_port);
        let swarm =
            ListeningSwarm::start(&identity, &config.limits, (&handshakes, &metrics), ports)
                .await
                .map_err(|error| match error {
                    ListenError::Setup(error) => StartError::Setup(error),
                    ListenError::WebSocket(error) => {
                        bind_error("TCP", config.ws_port, "--ws-port")(error)
                    }
                    ListenError::WebRtc(error) => {
                        bind_error("UDP", config.webrtc_port, "--webrtc-port")(error)
                    }
                })?;

        let endpoints = Arc::new(Endpoints {
            listen_ip,
            http_port: http_address.port(),
            ws_port: swarm.ws_port,
            webrtc_port: swarm.webrtc_port,
            stun_port,
            certificate: identity.certificate.fingerprint(),
            peer_id: identity.keypair.public().to_peer_id(),
        });
        let (limits, changed_limits) = watch::channel(config.limits.clone());
        let reported = Reported {
            metrics: Arc::clone(&metrics),
            limits: changed_limits.clone(),
            handshakes: handshakes.clone(),
            http: http_slots.clone(),
        };
        let (stop_swarm, stop) = oneshot::channel();
        let swarm = tokio::spawn(swarm.run(stop, changed_limits.clone()));
        let mut servers = JoinSet::new();
        if let Some(listener) = metrics_listener {
            servers.spawn(metrics_server::serve(listener, reported));
        }
        servers.spawn(stun::serve(
            stun_socket,
            changed_limits,
            Arc::clone(&metrics),
        ));
        servers.spawn(http::serve(
            listener,
            http::router(Arc::clone(&endpoints), page),
            http_slots.clone(),
            config.limits,
        ));
        Ok(Self {
            endpoints,
            metrics_address,
            limits,
            handshakes,
            http_slots,
            lock,
            stop_swarm,
            swarm,
            servers,
        })
    }

    /// The page's URL on this computer, such as `http://127.0.0.1:8080/`.
    #[must_use]
    pub fn page_url(&self) -> String {
        self.page_urls().into_iter().next().unwrap_or_default()
    }

    /// The page's URL for every interface that the relay listens on, loopback first; never empty.
    #[must_use]
    pub fn page_urls(&self) -> Vec<String> {
        self.endpoints.page_urls()
    }

    /// Every multiaddr that tabs can dial, with the peer ID and, for WebRTC-direct, the certificate hash.
    #[must_use]
    pub fn addresses(&self) -> Vec<Multiaddr> {
        self.endpoints.multiaddrs()
    }

    /// Where metrics are served, if they are.
    #[must_use]
    pub fn metrics_url(&self) -> Option<String> {
        let address = self.metrics_address?;
        Some(format!("http://{address}/metrics"))
    }

    /// Applies other limits while the relay runs. Who holds more than allowed keeps it, and gets no more.
    ///
    /// What was agreed with a connection when it was established stays as it is: the rates of its streams and reads, and
    /// the limits of each peer.
    pub fn set_limits(&self, limits: Limits) {
        self.handshakes.set_share(limits.handshake_share());
        self.http_slots.set_share(limits.http_share());
        // Fails only if all servers have ended.
        let _ = self.limits.send(limits);
    }

    /// The peer ID of the relay.
    #[must_use]
    pub fn peer_id(&self) -> PeerId {
        self.endpoints.peer_id
    }

    /// Waits until one of the servers stops unexpectedly. Pending as long as the relay works.
    pub async fn failed(&mut self) {
        tokio::select! {
            _ = &mut self.swarm => {}
            _ = self.servers.join_next() => {}
        }
    }

    /// Disconnects all peers and stops the servers, within half a second. Afterwards the ports are free.
    pub async fn shutdown(self) {
        let Self {
            stop_swarm,
            swarm,
            mut servers,
            lock,
            ..
        } = self;
        // Fails only if the swarm has already ended.
        let _ = stop_swarm.send(());
        servers.shutdown().await;
        let _ = swarm.await;
        drop(lock);
    }
}

async fn bind_metrics(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Metrics { address, source })
}

/// All ports that were requested.
fn wanted_ports(config: &Config) -> Vec<WantedPort> {
    [
        (PortKind::Tcp, config.http_port, "--http-port"),
        (PortKind::Tcp, config.ws_port, "--ws-port"),
        (PortKind::Udp, config.webrtc_port, "--webrtc-port"),
        (PortKind::Udp, config.stun_port, "--stun-port"),
    ]
    .into_iter()
    .map(|(kind, port, flag)| WantedPort {
        kind,
        ip: config.listen_ip,
        port,
        flag,
    })
    .collect()
}

fn open_page(folder: &Path) -> Result<PageFolder, StartError> {
    PageFolder::open(folder).map_err(|source| StartError::Page {
        folder: folder.display().to_string(),
        source,
    })
}

fn listen_error(
    source: io::Error,
    transport: &'static str,
    (ip, port): (IpAddr, u16),
    flag: &'static str,
) -> StartError {
    StartError::Listen {
        transport,
        port,
        ip,
        flag,
        source,
    }
}
