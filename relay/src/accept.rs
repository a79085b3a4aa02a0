//! Accepts connections of the HTTP server: limits their number, reads the PROXY protocol from trusted proxies, performs
//! the TLS handshake, and speaks HTTP/1.1 or HTTP/2. What a request means is decided in `site`.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use axum::extract::Request;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ppp::v2::{Addresses, Command, Header};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
    time::{Duration, sleep, timeout},
};

use crate::{
    client::Connection,
    fair_slots::{FairSlots, SlotHandle},
    limits::Limits,
    network::{Network, network_of_ip},
    site::Site,
    tls,
};

/// Pause after a failed `accept`, for example because the process has no file descriptors left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// First byte of a TLS handshake (RFC 8446, 5.1).
const TLS_HANDSHAKE: u8 = 0x16;
/// First byte of the PROXY protocol, version 2. No request begins with it.
const PROXY_SIGNATURE: u8 = b'\r';
/// Bytes of the fixed part of a PROXY header.
const PROXY_FIXED_BYTES: usize = 16;
/// Bytes of the variable part of a PROXY header: addresses of 216 bytes at most, and notes about TLS.
const MAX_PROXY_BYTES: usize = 2 * 1024;
/// Requests of one HTTP/2 connection at the same time: the modules of the page at once.
const HTTP2_STREAMS: u32 = 128;
/// Bytes that one HTTP/2 stream may buffer before the client reads them.
const HTTP2_SEND_BUFFER: usize = 64 * 1024;

/// What all listeners share.
#[derive(Clone)]
pub(crate) struct Acceptor {
    site: Arc<Site>,
    limits: Arc<Limits>,
    slots: FairSlots,
}

impl Acceptor {
    pub(crate) fn new(site: Site, limits: Limits, slots: FairSlots) -> Self {
        Self {
            site: Arc::new(site),
            limits: Arc::new(limits),
            slots,
        }
    }

    /// Accepts and serves the connections of one listener until `stop` is closed. Then it closes all of them, and returns
    /// when they no longer hold a socket.
    ///
    /// A newcomer always gets a slot: when all are taken, the oldest connection of the network that holds the most is
    /// dropped.
    pub(crate) async fn serve(self, listener: TcpListener, mut stop: watch::Receiver<()>) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                _ = stop.changed() => break,
                accepted = listener.accept() => accepted,
            };
            let (stream, remote) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "cannot accept an HTTP connection");
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let Ok(local) = stream.local_addr() else {
                continue;
            };
            // Some systems refuse this if the client is gone already. Then reading fails as well.
            let _ = stream.set_nodelay(true);
            let connection = Connection {
                local,
                remote,
                tls: false,
            };
            while connections.try_join_next().is_some() {}
            let acceptor = self.clone();
            let slot = self.slots.take(self.network_of(remote.ip()));
            let handle = slot.handle();
            connections.spawn(async move {
                let lifetime = acceptor.limits.http_connection_duration;
                let work = timeout(lifetime, acceptor.connect(stream, connection, handle));
                // A connection that fails, takes too long or is evicted is dropped. The browser will reconnect.
                match slot.run(work).await {
                    Ok(Ok(Ok(()))) => {}
                    Ok(Ok(Err(error))) => {
                        tracing::debug!(%error, %remote, "an HTTP connection failed");
                    }
                    Ok(Err(_)) => tracing::debug!(%remote, "an HTTP connection took too long"),
                    Err(evicted) => tracing::debug!(%remote, %evicted, "an HTTP connection ended"),
                }
            });
        }
        drop(listener);
        connections.shutdown().await;
    }

    /// The network whose share a connection uses. A proxy forwards the connections of many clients.
    fn network_of(&self, ip: IpAddr) -> Network {
        if self.site.proxies.contains(ip) {
            return None;
        }
        network_of_ip(ip)
    }

    async fn connect(
        self,
        mut stream: TcpStream,
        mut connection: Connection,
        slot: SlotHandle,
    ) -> io::Result<()> {
        let patience = self.limits.http_header_timeout;
        let is_proxy = self.site.proxies.contains(connection.remote.ip());
        let mut first = timeout(patience, first_byte(&stream)).await??;
        if is_proxy && first == Some(PROXY_SIGNATURE) {
            if let Some((client, local)) = timeout(patience, proxied(&mut stream)).await?? {
                connection.remote = client;
                connection.local = local;
                slot.move_to(self.network_of(client.ip()));
            }
            first = timeout(patience, first_byte(&stream)).await??;
        }
        match (&self.site.tls, first) {
            (_, None) => {}
            (Some(tls), Some(TLS_HANDSHAKE)) => {
                connection.tls = true;
                if let Some(stream) = timeout(patience, tls.accept(stream)).await?? {
                    if tls::speaks_http2(&stream) {
                        self.serve_http2(stream, connection).await?;
                    } else {
                        self.serve_http1(stream, connection).await?;
                    }
                }
            }
            (_, Some(_)) => self.serve_http1(stream, connection).await?,
        }
        Ok(())
    }

    /// Serves HTTP/1.1 until the client closes the connection, or upgrades it.
    async fn serve_http1<S>(&self, stream: S, connection: Connection) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let site = Arc::clone(&self.site);
        let service = service_fn(move |request: Request<Incoming>| {
            Arc::clone(&site).respond(request, connection)
        });
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.http_header_timeout)
            .max_headers(self.limits.http_headers)
            .max_buf_size(self.limits.http_header_bytes)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await
            .map_err(io::Error::other)
    }

    /// Serves HTTP/2 until the client closes the connection, or sends no request for as long as one may take to arrive.
    async fn serve_http2<S>(&self, stream: S, connection: Connection) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let site = Arc::clone(&self.site);
        let activity = Arc::new(Activity::default());
        let counted = Arc::clone(&activity);
        let service = service_fn(move |request: Request<Incoming>| {
            let running = Activity::start(&counted);
            let response = Arc::clone(&site).respond(request, connection);
            async move {
                let response = response.await;
                drop(running);
                response
            }
        });
        let header_bytes = u32::try_from(self.limits.http_header_bytes).unwrap_or(u32::MAX);
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_header_list_size(header_bytes)
            .max_send_buf_size(HTTP2_SEND_BUFFER)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let mut closing = false;
        loop {
            tokio::select! {
                ended = &mut connection => return ended.map_err(io::Error::other),
                () = sleep(self.limits.http_header_timeout) => {
                    match (activity.is_idle(), closing) {
                        (true, true) => return Ok(()),
                        (true, false) => {
                            // Requests that are on their way are still answered.
                            connection.as_mut().graceful_shutdown();
                            closing = true;
                        }
                        (false, _) => {}
                    }
                }
            }
        }
    }
}

/// Counts the requests of an HTTP/2 connection.
#[derive(Debug, Default)]
struct Activity {
    running: AtomicUsize,
    /// Whether a request has arrived since the last look.
    recent: AtomicBool,
}

/// A request that is being answered.
struct Running(Arc<Activity>);

impl Activity {
    fn start(activity: &Arc<Self>) -> Running {
        activity.recent.store(true, Ordering::Relaxed);
        activity.running.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(activity))
    }

    /// Whether there is no request, and has been none since the last call.
    fn is_idle(&self) -> bool {
        let recent = self.recent.swap(false, Ordering::Relaxed);
        self.running.load(Ordering::Relaxed) == 0 && !recent
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The first byte that the client sends, which stays unread; `None` if it sends nothing.
async fn first_byte(stream: &TcpStream) -> io::Result<Option<u8>> {
    let mut byte = [0];
    let count = stream.peek(&mut byte).await?;
    Ok(byte.first().copied().filter(|_| count > 0))
}

/// Reads a header of the PROXY protocol, version 2. Returns the addresses of the client and of the proxy that it
/// connected to, unless the proxy itself is the client.
async fn proxied(stream: &mut TcpStream) -> io::Result<Option<(SocketAddr, SocketAddr)>> {
    let malformed = |reason: String| io::Error::new(io::ErrorKind::InvalidData, reason);
    let mut header = vec![0; PROXY_FIXED_BYTES];
    stream.read_exact(&mut header).await?;
    let length = match header.last_chunk() {
        Some(length) => usize::from(u16::from_be_bytes(*length)),
        None => 0,
    };
    if length > MAX_PROXY_BYTES {
        return Err(malformed(format!("a PROXY header of {length} bytes")));
    }
    let mut rest = vec![0; length];
    stream.read_exact(&mut rest).await?;
    header.extend(rest);
    let header =
        Header::try_from(header.as_slice()).map_err(|error| malformed(error.to_string()))?;
    match (header.command, header.addresses) {
        (Command::Proxy, Addresses::IPv4(found)) => Ok(Some((
            (found.source_address, found.source_port).into(),
            (found.destination_address, found.destination_port).into(),
        ))),
        (Command::Proxy, Addresses::IPv6(found)) => Ok(Some((
            (found.source_address, found.source_port).into(),
            (found.destination_address, found.destination_port).into(),
        ))),
        (Command::Proxy | Command::Local, _) => Ok(None),
    }
}
