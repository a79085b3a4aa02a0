//! Dials a server: a STUN request from a new socket, then the same task as a listener's.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::address::{ServerAddress, multiaddr};
use crate::channels::Shared;
use crate::config::Config;
use crate::connection::{Connection, Fingerprints};
use crate::counters::Counters;
use crate::credentials::DialCredentials;
use crate::driver::{Driver, Host, Times};
use crate::error::{ConnectionError, Error};
use crate::hello::is_dtls;
use crate::queue::{QueueSender, queue};
use crate::socket::{self, MAX_DATAGRAM};
use crate::stack::Stack;
use crate::stun::{
    BindingRequest, BindingSuccess, TransactionId, binding_request, binding_success, is_stun,
};
use libp2p_identity::PeerId;

/// Time between two STUN requests until the first answer.
const ASK_INTERVAL: Duration = Duration::from_millis(250);
/// Time between two STUN requests of a connection: they show the server that this side is alive.
const CONSENT_INTERVAL: Duration = Duration::from_secs(4);

/// Connects to `server` and authenticates both sides. Dropping the future ends the connection.
pub(crate) async fn dial(
    server: ServerAddress,
    config: Config,
    counters: Arc<Counters>,
) -> Result<(PeerId, Connection), Error> {
    let limit = config.limits.handshake;
    let address = multiaddr(server.socket, Some(server.fingerprint));
    timeout(limit, connect(server, config, counters))
        .await
        .unwrap_or(Err(Error::Unreachable(address)))
}

async fn connect(
    server: ServerAddress,
    config: Config,
    counters: Arc<Counters>,
) -> Result<(PeerId, Connection), Error> {
    let any: SocketAddr = if server.socket.is_ipv4() {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let socket = Arc::new(socket::bind(any)?);
    let ice = Ice {
        socket: Arc::clone(&socket),
        server: server.socket,
        credentials: DialCredentials::random(config.dial_version),
        tie_breaker: rand::random(),
        transaction: rand::random(),
    };
    ice.reach().await?;

    let (queue, datagrams) = queue(config.limits.queued_datagrams);
    let shared = Shared::new(config.streams, config.limits.channels, true);
    shared.open_handshake();
    let connection = Connection::new(Arc::clone(&shared));
    let (send, connected) = oneshot::channel();
    let answered = Arc::new(Mutex::new(Instant::now()));
    let driver = Box::new(Driver {
        socket,
        peer: server.socket,
        queue: datagrams,
        shared,
        connected: Some(send),
        host: Dialling {
            answered: Arc::clone(&answered),
        },
        counters,
        times: Times {
            handshake: config.limits.handshake,
            silence: config.limits.silence,
        },
    });
    let certificate = config.certificate.clone();
    tokio::spawn(driver.run(move || Ok(Stack::dial(&certificate, Instant::now())?)));
    tokio::spawn(ice.receive(queue, answered));

    let found = connected.await.map_err(|_| ConnectionError::Dropped)?;
    if found != server.fingerprint {
        return Err(ConnectionError::WrongCertificate.into());
    }
    let fingerprints = Fingerprints {
        client: config.certificate.fingerprint(),
        server: found,
    };
    let found = connection
        .authenticate(&config.keypair, fingerprints, true)
        .await?;
    match server.peer {
        Some(expected) if expected != found => Err(Error::WrongPeer { expected, found }),
        Some(_) | None => Ok((found, connection)),
    }
}

/// The STUN side of a dialled connection, and its socket.
struct Ice {
    socket: Arc<UdpSocket>,
    server: SocketAddr,
    credentials: DialCredentials,
    tie_breaker: u64,
    transaction: TransactionId,
}

impl Ice {
    /// Asks until the server answers.
    async fn reach(&self) -> io::Result<()> {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut ask = interval(ASK_INTERVAL);
        loop {
            tokio::select! {
                _ = ask.tick() => self.ask().await?,
                received = self.socket.recv_from(&mut buffer) => {
                    let Ok((length, from)) = received else { continue };
                    let (datagram, _) = buffer.split_at(length.min(buffer.len()));
                    if from == self.server && self.on_stun(datagram).await {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Hands datagrams to the connection until it has ended.
    async fn receive(self, queue: QueueSender, answered: Arc<Mutex<Instant>>) {
        let mut buffer = vec![0; MAX_DATAGRAM];
        let mut ask = interval(CONSENT_INTERVAL);
        ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = queue.closed() => return,
                _ = ask.tick() => {
                    if let Err(error) = self.ask().await {
                        tracing::debug!(%error, "request not sent");
                    }
                }
                received = self.socket.recv_from(&mut buffer) => {
                    let Ok((length, from)) = received else { continue };
                    let (datagram, _) = buffer.split_at(length.min(buffer.len()));
                    if from != self.server {
                        continue;
                    }
                    if is_dtls(datagram) {
                        // A datagram that finds no room is lost, as in a network.
                        let _ = queue.try_send(datagram);
                    } else if self.on_stun(datagram).await {
                        *answered.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
                    }
                }
            }
        }
    }

    async fn ask(&self) -> io::Result<()> {
        let request = binding_request(
            self.transaction,
            &self.credentials.username(),
            &self.credentials.server,
            self.tie_breaker,
        );
        self.socket.send_to(&request, self.server).await?;
        Ok(())
    }

    /// Returns whether the datagram is an answer of the server. Answers the checks of servers that are not ICE-lite.
    async fn on_stun(&self, datagram: &[u8]) -> bool {
        if !is_stun(datagram) {
            return false;
        }
        if let Ok(request) = BindingRequest::parse(datagram)
            && request.username == self.credentials.username_of_server()
            && request.is_from(&self.credentials.password)
        {
            let password = &self.credentials.password;
            let answer = binding_success(request.transaction, self.server, password);
            // An answer that is lost is asked for again.
            let _ = self.socket.send_to(&answer, self.server).await;
        }
        BindingSuccess::parse(datagram).is_ok_and(|answer| {
            answer.transaction == self.transaction && answer.is_from(&self.credentials.server)
        })
    }
}

/// The dialer's side of a connection.
struct Dialling {
    answered: Arc<Mutex<Instant>>,
}

impl Host for Dialling {
    fn last_sign_of_life(&self) -> Option<Instant> {
        Some(*self.answered.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn on_ended(&mut self) {}
}
