//! A proxy in front of a relay that can serve a newer build of the page: with another version and a changed module. One
//! relay binary can thus play an upgrade of the page. It can also serve a relay document that never ends. All other
//! requests pass through unchanged.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

use super::{patience::PATIENCE, relay::Relay};

/// The module that the newer build changes. The page loads it when a person turns the lessons on.
const CHANGED: &str = "lessons/lesson-mode.js";
/// The code that the newer build appends to it.
const CHANGE: &str = "\nglobalThis.lessonsOfNewerVersion = true;\n";
/// The module that an incomplete page lacks.
const LACKING: &str = "components/chart.js";
/// The longest request head, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The build of the page that the proxy serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// The relay's own page.
    Older,
    /// A newer build of the page.
    Newer,
    /// A newer build with one file missing: the proxy still serves the older build's file.
    HalfNewer,
    /// The relay's own page, but the server fails to deliver one of its modules.
    Incomplete,
    /// The relay's own page, with a relay document that never ends.
    EndlessDocument,
}

/// The running proxy. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct UpgradeProxy {
    address: SocketAddr,
    build: Arc<Mutex<Build>>,
    document_bytes: Arc<AtomicU64>,
    serving: JoinHandle<()>,
}

impl UpgradeProxy {
    /// Starts a proxy for this relay's page.
    pub(crate) async fn start(relay: &Relay) -> Result<Self> {
        let host = relay.page().strip_prefix("http://");
        let host = host.context("a page without TLS")?.trim_end_matches('/');
        let relay: SocketAddr = host.parse()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let build = Arc::new(Mutex::new(Build::Older));
        let current = Arc::clone(&build);
        let document_bytes = Arc::new(AtomicU64::new(0));
        let sent = Arc::clone(&document_bytes);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let build = *current.lock().unwrap_or_else(PoisonError::into_inner);
                // The browser reports a failed request itself.
                let sent = Arc::clone(&sent);
                tokio::spawn(timeout(PATIENCE, respond(stream, relay, build, sent)));
            }
        });
        Ok(Self {
            address,
            build,
            document_bytes,
            serving,
        })
    }

    /// The URL of the page behind the proxy.
    pub(crate) fn page(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// The largest number of bytes that a browser has accepted of one endless relay document.
    pub(crate) fn document_bytes(&self) -> u64 {
        self.document_bytes.load(Ordering::Relaxed)
    }

    /// Switches to this build.
    pub(crate) fn serve(&self, build: Build) {
        *self.build.lock().unwrap_or_else(PoisonError::into_inner) = build;
    }
}

impl Drop for UpgradeProxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn respond(
    mut stream: TcpStream,
    relay: SocketAddr,
    build: Build,
    document_bytes: Arc<AtomicU64>,
) -> Result<()> {
    let head = read_head(&mut stream).await?;
    let mut words = head.split_whitespace();
    let (method, path) = words.next().zip(words.next()).context("a request")?;
    let response = match build {
        Build::Incomplete if path.ends_with(LACKING) => {
            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                .into()
        }
        Build::EndlessDocument if path.starts_with("/relay.json") => {
            return send_endless_document(stream, &document_bytes).await;
        }
        Build::Older | Build::Incomplete | Build::EndlessDocument => {
            forward(relay, method, path).await?
        }
        Build::Newer | Build::HalfNewer => newer_response(relay, method, path, build).await?,
    };
    stream.write_all(&response).await?;
    stream.shutdown().await?;
    Ok(())
}

/// Sends a document until the browser closes the connection.
async fn send_endless_document(mut stream: TcpStream, most: &AtomicU64) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{\"addresses\":[\"";
    stream.write_all(head.as_bytes()).await?;
    let part = [b'x'; 64 * 1024];
    for sent in (0..).step_by(part.len()) {
        most.fetch_max(sent, Ordering::Relaxed);
        stream.write_all(&part).await?;
    }
    Ok(())
}

async fn read_head(stream: &mut TcpStream) -> Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head)?)
}

/// Forwards a request to the relay and returns the whole response.
async fn forward(relay: SocketAddr, method: &str, path: &str) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(relay).await?;
    let request = format!("{method} {path} HTTP/1.1\r\nHost: {relay}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut response = Vec::new();
    stream.read_to_end(&mut response).await?;
    Ok(response)
}

/// The response as a newer build would give it.
async fn newer_response(
    relay: SocketAddr,
    method: &str,
    path: &str,
    build: Build,
) -> Result<Vec<u8>> {
    let versions = Versions::read(relay).await?;
    let older = format!("/v/{}/", versions.older);
    if path.starts_with(&older) {
        let gone = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        return Ok(gone.into());
    }
    let there = path.replace(&format!("/v/{}/", versions.newer), &older);
    let response = forward(relay, method, &there).await?;
    let is_changed = path.ends_with(CHANGED) && build == Build::Newer;
    let is_page = ["/", "/index.html"].contains(&path);
    if method != "GET" || !(is_changed || is_page || path.starts_with("/service-worker.js")) {
        return Ok(response);
    }
    let (head, body) = split(&response)?;
    let body = if is_changed {
        changed(body)
    } else if is_page {
        versions.with_newer_version(body)
    } else {
        versions.worker_with_newer_version(relay, body).await?
    };
    let mut response: String = head
        .lines()
        .filter(|line| {
            let name = line.split(':').next().unwrap_or_default();
            !["content-length", "etag"].contains(&name.to_ascii_lowercase().as_str())
        })
        .map(|line| format!("{line}\r\n"))
        .collect();
    response.push_str(&format!("Content-Length: {}\r\n", body.len()));
    response.push_str(&format!("ETag: \"{}\"\r\n\r\n{body}", sha256(&body)));
    Ok(response.into_bytes())
}

/// The version names of the two builds.
struct Versions {
    older: String,
    newer: String,
}

impl Versions {
    async fn read(relay: SocketAddr) -> Result<Self> {
        let worker = forward(relay, "GET", "/service-worker.js").await?;
        let (_, worker) = split(&worker)?;
        let (_, rest) = worker
            .split_once("\"version\":\"")
            .context("a worker with a version")?;
        let older = rest.split('"').next().context("a version")?.to_owned();
        let newer = older.chars().rev().collect();
        Ok(Self { older, newer })
    }

    fn with_newer_version(&self, text: &str) -> String {
        text.replace(&self.older, &self.newer)
    }

    /// The service worker with the newer build's version and file hashes.
    async fn worker_with_newer_version(&self, relay: SocketAddr, worker: &str) -> Result<String> {
        let page = forward(relay, "GET", "/").await?;
        let (_, page) = split(&page)?;
        let mut module = forward(relay, "GET", &format!("/v/{}/{CHANGED}", self.older)).await?;
        if !module.starts_with(b"HTTP/1.1 200") {
            module = forward(relay, "GET", &format!("/{CHANGED}")).await?;
        }
        let (_, module) = split(&module)?;
        Ok(self
            .with_newer_version(worker)
            .replace(&sha256(page), &sha256(&self.with_newer_version(page)))
            .replace(&sha256(module), &sha256(&changed(module))))
    }
}

fn changed(module: &str) -> String {
    format!("{module}{CHANGE}")
}

/// Splits a text response into head and body.
fn split(response: &[u8]) -> Result<(&str, &str)> {
    std::str::from_utf8(response)?
        .split_once("\r\n\r\n")
        .context("a head")
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text))
}
