//! The server of `/metrics` for Prometheus, on an address of its own, so that it can be kept private.

use std::{fmt, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{HeaderValue, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::get,
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use libp2p_webrtc_direct::Counters;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, text},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
    registry::Registry,
};
use tokio::{
    net::TcpListener,
    sync::watch,
    task::JoinSet,
    time::{Duration, sleep, timeout},
};

use crate::{
    fair_slots::FairSlots, fair_table::Share, limits::Limits, metrics::Metrics,
    network::network_of_ip,
};

/// Connections at a time: several collectors, which may keep theirs open.
const CONNECTIONS: Share = Share {
    total: 32,
    per_network: 8,
};
/// How long the head of a request may take, and how long a connection may wait for the next request: longer than the
/// usual minute between two collections.
const HEADER_TIMEOUT: Duration = Duration::from_secs(90);
/// Lifetime of a connection.
const CONNECTION_DURATION: Duration = Duration::from_secs(60 * 60);
/// Pause after a failed `accept`.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// The format that Prometheus asks for.
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What the server reports.
#[derive(Clone, Debug)]
pub(crate) struct Reported {
    pub(crate) metrics: Arc<Metrics>,
    /// The current limits.
    pub(crate) limits: watch::Receiver<Limits>,
    /// Handshakes in progress.
    pub(crate) handshakes: FairSlots,
    /// HTTP connections that are open.
    pub(crate) http: FairSlots,
    /// What the listeners for WebRTC-direct have done.
    pub(crate) webrtc: Arc<Counters>,
}

/// Accepts and serves connections until `stop` is closed. Then it closes all of them, and returns when they no longer hold
/// a socket.
pub(crate) async fn serve(
    listener: TcpListener,
    reported: Reported,
    mut stop: watch::Receiver<()>,
) {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .with_state(reported);
    let slots = FairSlots::new(CONNECTIONS);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            _ = stop.changed() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(%error, "cannot accept a connection for metrics");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let slot = slots.take(network_of_ip(from.ip()));
        let service = TowerToHyperService::new(router.clone());
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        let connection = timeout(CONNECTION_DURATION, connection);
        while connections.try_join_next().is_some() {}
        connections.spawn(async move { drop(slot.run(connection).await) });
    }
    drop(listener);
    connections.shutdown().await;
}

async fn metrics(State(reported): State<Reported>) -> Response {
    let mut body = String::new();
    let encoded = reported
        .metrics
        .encode(&mut body)
        .and_then(|()| text::encode_registry(&mut body, &process_registry(&reported)))
        .and_then(|()| text::encode_eof(&mut body));
    match encoded {
        Ok(()) => ([(CONTENT_TYPE, OPEN_METRICS)], body).into_response(),
        Err(error) => {
            tracing::error!(%error, "cannot encode the metrics");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// What is read at the time of the request.
fn process_registry(reported: &Reported) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Process::read(reported)));
    registry
}

/// The state of the process, and of the slots.
#[derive(Debug)]
struct Process {
    /// Current values, each with its name and help.
    values: Vec<(&'static str, &'static str, u64)>,
    /// Counts since the start.
    totals: Vec<(&'static str, &'static str, u64)>,
}

impl Process {
    fn read(reported: &Reported) -> Self {
        let mut values = vec![
            (
                "heartchain_relay_max_tabs",
                "Tabs that the relay serves at the same time",
                count(reported.limits.borrow().reservations),
            ),
            (
                "heartchain_relay_handshakes",
                "Handshakes in progress",
                count(reported.handshakes.len()),
            ),
            (
                "heartchain_relay_http_connections",
                "Open HTTP connections",
                count(reported.http.len()),
            ),
        ];
        let totals = vec![
            (
                "heartchain_relay_handshakes_evicted",
                "Handshakes that newcomers evicted",
                reported.handshakes.evictions(),
            ),
            (
                "heartchain_relay_http_connections_evicted",
                "HTTP connections that newcomers evicted",
                reported.http.evictions(),
            ),
            (
                "heartchain_relay_webrtc_refused",
                "WebRTC connections that a listener refused",
                reported.webrtc.refused.get(),
            ),
            (
                "heartchain_relay_webrtc_panicked",
                "WebRTC connections whose task panicked",
                reported.webrtc.panicked.get(),
            ),
        ];
        let (memory, files) = memory_and_files();
        if let Some(memory) = memory {
            let help = "Resident memory of the relay in bytes";
            values.push(("process_resident_memory_bytes", help, memory));
        }
        if let Some(files) = files {
            values.push(("process_open_fds", "Open files and sockets", files));
        }
        if let Some(max) = max_files() {
            values.push(("process_max_fds", "Files that may be open", max));
        }
        Self { values, totals }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for (name, help, value) in &self.values {
            let gauge = ConstGauge::new(i64::try_from(*value).unwrap_or(i64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        for (name, help, total) in &self.totals {
            let counter = ConstCounter::new(*total);
            let metric = encoder.encode_descriptor(name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

/// Resident memory in bytes and the number of open files, where the system tells.
fn memory_and_files() -> (Option<u64>, Option<u64>) {
    use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

    let (Ok(id), Ok(mut system)) = (sysinfo::get_current_pid(), System::new()) else {
        return (None, None);
    };
    let what = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[id]), false, what);
    let process = system.process(id);
    let memory = process.map(sysinfo::Process::memory);
    let files = process.and_then(sysinfo::Process::open_files);
    (memory, files.map(count))
}

#[cfg(unix)]
fn max_files() -> Option<u64> {
    rlimit::Resource::NOFILE.get_soft().ok()
}

#[cfg(not(unix))]
fn max_files() -> Option<u64> {
    None
}

fn count(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
