//! A running relay: starts and stops its HTTP, libp2p and STUN servers.
//!
//! Its only own state is where they listen.

use std::{
    error::Error,
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::Arc,
    time::Duration,
};

use axum::Extension;
use libp2p::{Multiaddr, PeerId};
use tokio::{
    net::{TcpListener, UdpSocket},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use crate::{
    accept::Acceptor,
    addresses::{self, Endpoints},
    announce::{Announced, PageUrl},
    authority::Host,
    client::TrustedProxies,
    config::Config,
    data_lock::{DataLock, LockError},
    deployment::Deployment,
    fair_slots::FairSlots,
    hop_limits::HopLimits,
    http::{self, Heartbeat},
    identity::{Identity, IdentityError},
    limits::Limits,
    list_check::compare_lists,
    listeners::{self, BindError},
    metrics::Metrics,
    metrics_server::{self, Reported},
    origins::Origins,
    page_folder::PageFolder,
    ports::{PortKind, TakenPorts, WantedPort},
    site::Site,
    stun,
    swarm::{ListenError, ListeningSwarm},
    tls::{Subject, Tls, TlsError, install_router},
    websocket,
};

/// How long a shutdown waits for the connections of HTTP and of metrics, which are aborted and only have to notice.
const SERVERS_TIMEOUT: Duration = Duration::from_secs(1);

/// A relay that runs until it is shut down or dropped.
#[derive(Debug)]
pub struct Relay {
    endpoints: Arc<Endpoints>,
    /// Whether devices must install the certificate of the relay's own authority.
    has_authority: bool,
    metrics_address: Option<SocketAddr>,
    /// The current limits, for the servers.
    limits: watch::Sender<Limits>,
    handshakes: FairSlots,
    http_slots: FairSlots,
    /// Held as long as the relay runs.
    lock: Option<DataLock>,
    /// Dropped to stop the swarm and the servers.
    stop: watch::Sender<()>,
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
    /// The certificate could not be loaded or created.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
        Self::try_start(config).await.map_err(|error| {
            if let StartError::Listen { source, .. } = &error
                && source.kind() == io::ErrorKind::AddrInUse
            {
                // All that are taken, not only the first.
                return TakenPorts::among(&ports).map_or(error, StartError::PortsInUse);
            }
            error
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
        let announced = Announced::new(config.announce.clone());
        let own_names = own_names();
        let (tls, renewal) = match &config.tls {
            Some(source) => {
                let announced_hosts = announced.urls().map(|url| &url.authority.host);
                let subject = Subject {
                    ips: interface_ips,
                    listen_ips: listeners::expand(&config.listen_ips),
                    own_names: own_names.clone(),
                    announced_names: announced_hosts.filter_map(Host::name).collect(),
                };
                let folder = config.identity.folder().map(Path::to_owned);
                let (tls, renewal) = Tls::start(source, folder, subject)?;
                (Some(Arc::new(tls)), Some(renewal))
            }
            None => (None, None),
        };

        let bind_error = |transport, port, flag| {
            move |BindError { ip, source }| listen_error(source, transport, (ip, port), flag)
        };
        let ips = listeners::expand(&config.listen_ips);
        let (http_listeners, http_port) = listeners::bind_tcp(&ips, config.http_port)
            .map_err(bind_error("TCP", config.http_port, "--http-port"))?;
        let (stun_sockets, stun_port) = bind_stun(&ips, config.stun_port).map_err(bind_error(
            "UDP",
            config.stun_port,
            "--stun-port",
        ))?;
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
        let hop_limits = HopLimits::new(&config.limits, &metrics);
        let (websockets, sockets) =
            websocket::Transport::new(config.limits.websocket_message_bytes);
        let webrtc = (ips.as_slice(), config.webrtc_port);
        let swarm = ListeningSwarm::start(
            &identity,
            &config.limits,
            (&handshakes, &hop_limits, &metrics),
            websockets,
            webrtc,
        )
        .await
        .map_err(|error| match error {
            ListenError::Setup(error) => StartError::Setup(error),
            ListenError::WebRtc(ip, source) => {
                let error = BindError { ip, source };
                bind_error("UDP", config.webrtc_port, "--webrtc-port")(error)
            }
        })?;

        let endpoints = Arc::new(Endpoints {
            listen_ips: ips,
            http_port,
            webrtc_port: swarm.webrtc_port,
            stun_port,
            tls: tls.is_some(),
            certified: tls.as_ref().map_or_else(Vec::new, |tls| tls.public_names()),
            announced: announced.clone(),
            certificate: identity.certificate.fingerprint(),
            peer_id: identity.keypair.public().to_peer_id(),
        });
        let own_url = endpoints.page_urls().into_iter().next().unwrap_or_default();
        // Only the URL of a loopback address may be one by http.
        let deployment = PageUrl::parse_local(&own_url)
            .ok()
            .and_then(|own| Deployment::new(own, &config.with))
            .map(Arc::new);
        let (limits, changed_limits) = watch::channel(config.limits.clone());
        let reported = Reported {
            metrics: Arc::clone(&metrics),
            limits: changed_limits.clone(),
            handshakes: handshakes.clone(),
            http: http_slots.clone(),
            webrtc: Arc::clone(&swarm.webrtc_counters),
        };
        let authority = tls.as_ref().and_then(|tls| tls.authority.clone());
        let has_authority = authority.is_some();
        let heartbeat = Heartbeat::new();
        let (stop, stopped) = watch::channel(());
        let running = swarm.run(
            Arc::clone(&endpoints),
            heartbeat.clone(),
            changed_limits.clone(),
            stopped.clone(),
        );
        let swarm = tokio::spawn(running);
        let site = Site {
            origins: Origins::new(
                announced
                    .urls()
                    .chain(deployment.iter().flat_map(|all| all.others())),
                &config.allowed_origins,
                own_names,
            ),
            announced,
            proxies: TrustedProxies::new(config.trusted_proxies),
            tls,
            sockets,
            plain_routes: authority.clone().map(install_router),
            routes: http::router(
                Arc::clone(&endpoints),
                page,
                heartbeat,
                authority,
                deployment.clone(),
            )
            .layer(Extension(hop_limits)),
        };
        let mut servers = JoinSet::new();
        let rates = Arc::new(stun::Rates::new(changed_limits));
        for socket in stun_sockets {
            let serving = stun::serve(socket, Arc::clone(&rates), Arc::clone(&metrics));
            servers.spawn(until(stopped.clone(), serving));
        }
        let acceptor = Acceptor::new(site, config.limits, http_slots.clone());
        for listener in http_listeners {
            servers.spawn(acceptor.clone().serve(listener, stopped.clone()));
        }
        if let Some(listener) = metrics_listener {
            servers.spawn(metrics_server::serve(listener, reported, stopped.clone()));
        }
        if let Some(deployment) = deployment {
            let comparing = compare_lists(deployment, endpoints.peer_id);
            servers.spawn(until(stopped.clone(), comparing));
        }
        if let Some(renewal) = renewal {
            servers.spawn(until(stopped, renewal));
        }
        Ok(Self {
            endpoints,
            has_authority,
            metrics_address,
            limits,
            handshakes,
            http_slots,
            lock,
            stop,
            swarm,
            servers,
        })
    }

    /// The page's URL on this computer, such as `http://127.0.0.1:8080/`.
    #[must_use]
    pub fn page_url(&self) -> String {
        self.page_urls().into_iter().next().unwrap_or_default()
    }

    /// The announced URLs of the page, then one for every interface that the relay listens on, loopback first; never
    /// empty.
    #[must_use]
    pub fn page_urls(&self) -> Vec<String> {
        self.endpoints.page_urls()
    }

    /// The URLs at which devices get the certificate of the relay's own authority, if it has one.
    #[must_use]
    pub fn install_urls(&self) -> Vec<String> {
        if !self.has_authority {
            return Vec::new();
        }
        let urls = self.page_urls().into_iter();
        let plain = urls.filter_map(|url| Some(format!("http{}", url.strip_prefix("https")?)));
        plain.collect()
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

    /// Disconnects all peers and stops the servers, which takes at most some seconds. Afterwards the ports are free: no
    /// task of the relay has a socket any longer.
    pub async fn shutdown(self) {
        let Self {
            stop,
            swarm,
            mut servers,
            lock,
            ..
        } = self;
        drop(stop);
        let _ = swarm.await;
        let ended = async { while servers.join_next().await.is_some() {} };
        if timeout(SERVERS_TIMEOUT, ended).await.is_err() {
            tracing::warn!("connections did not end in time");
            servers.shutdown().await;
        }
        drop(lock);
    }
}

/// Runs a server that has no connections until `stop` is closed.
async fn until(mut stop: watch::Receiver<()>, server: impl Future<Output = ()>) {
    tokio::select! {
        _ = stop.changed() => {}
        () = server => {}
    }
}

async fn bind_metrics(address: SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| StartError::Metrics { address, source })
}

/// Binds the port for STUN. On loopback alone STUN is not offered, so there any other port will do.
fn bind_stun(ips: &[IpAddr], port: u16) -> Result<(Vec<UdpSocket>, u16), BindError> {
    listeners::bind_udp(ips, port).or_else(|error| {
        let is_in_use = error.source.kind() == io::ErrorKind::AddrInUse;
        if is_in_use && is_loopback_only(ips) {
            return listeners::bind_udp(ips, 0);
        }
        Err(error)
    })
}

fn is_loopback_only(ips: &[IpAddr]) -> bool {
    ips.iter().all(IpAddr::is_loopback)
}

/// All ports that were requested.
fn wanted_ports(config: &Config) -> Vec<WantedPort> {
    let ips = listeners::expand(&config.listen_ips);
    let mut wanted = Vec::new();
    for (kind, port, flag) in [
        (PortKind::Tcp, config.http_port, "--http-port"),
        (PortKind::Udp, config.webrtc_port, "--webrtc-port"),
        (PortKind::Udp, config.stun_port, "--stun-port"),
    ] {
        if flag == "--stun-port" && is_loopback_only(&ips) {
            continue;
        }
        wanted.extend(ips.iter().map(|ip| WantedPort {
            kind,
            ip: *ip,
            port,
            flag,
        }));
    }
    wanted
}

/// The names of this computer, also by multicast DNS, in lower case.
fn own_names() -> Vec<String> {
    let full = gethostname::gethostname();
    let full = full.to_string_lossy();
    let short = full.split('.').next().unwrap_or_default();
    let names = [full.to_string(), short.to_owned(), format!("{short}.local")];
    let mut names: Vec<String> = names
        .iter()
        .filter_map(|name| Host::parse_name(name)?.name())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// The current addresses behind the ones to listen on.
fn interface_ips(listen_ips: &[IpAddr]) -> Vec<IpAddr> {
    addresses::listening_ips(listen_ips)
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
